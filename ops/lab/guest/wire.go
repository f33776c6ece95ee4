// Package guest gives tests a host of its own for programs that need a real
// kernel with PPP: a User-Mode Linux guest where the machine's kernel has none, else a
// network namespace. Either way the same agent (package agent below) runs in it and does
// what the test asks; tests see a Host and need not know which it is.
//
// The guest sees the machine's files and may change any of them: its changes are its own and end with it.
package guest

// Op is what the agent is asked to do.
type Op string

// The operations of the agent.
const (
	// OpRun runs Text with /bin/sh and answers with its output and exit status.
	OpRun Op = "run"
	// OpPut writes Text to the file Path, with permission bits Mode; behind what is there if
	// Append is set.
	OpPut Op = "put"
	// OpGet answers with the contents of the file Path.
	OpGet Op = "get"
	// OpWait waits until the file Path exists and, when Text is set, contains it.
	OpWait Op = "wait"
	// OpOff ends a User-Mode Linux guest, without an answer.
	OpOff Op = "off"
)

// Request is one line of JSON to the agent.
type Request struct {
	// ID comes back in the reply. Requests are worked on side by side.
	ID   uint64 `json:"id"`
	Op   Op     `json:"op"`
	Path string `json:"path,omitempty"`
	Text string `json:"text,omitempty"`
	Mode uint32 `json:"mode,omitempty"`
	// Append is for OpPut.
	Append bool `json:"append,omitempty"`
	// Millis bounds OpRun and OpWait, in milliseconds; it is always set.
	Millis int64 `json:"ms"`
}

// Reply is one line of JSON from the agent. The agent begins with a reply
// whose ID is 0, once the guest is ready.
type Reply struct {
	ID uint64 `json:"id"`
	// Output is what the script printed (both streams), or the file's contents.
	Output string `json:"output,omitempty"`
	// Code is the script's exit status, 128 and the signal's number when one ended it.
	Code int `json:"code,omitempty"`
	// Error is set when the operation itself failed.
	Error string `json:"error,omitempty"`
}
