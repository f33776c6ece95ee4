package guest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"
)

// Host is a running guest. Its methods may be called from any goroutine.
type Host struct {
	// Kind is "uml" or "native".
	Kind string

	cmd   *exec.Cmd
	in    io.WriteCloser
	ready bool // the agent has said so

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan Reply
	gone    error // why the agent no longer answers
	scripts atomic.Uint64
	done    chan struct{}
}

// PID is the guest's process on this machine; of a User-Mode Linux guest all its processes are children of it.
func (h *Host) PID() int { return h.cmd.Process.Pid }

// startTime bounds the start of a guest; one takes 2 to 4 seconds on an idle machine.
const startTime = 90 * time.Second

// ErrGone is what calls wrap when the guest has ended.
var ErrGone = errors.New("guest: the guest has ended")

// start starts cmd by launch, whose agent reads from in and writes to out, and waits until it is ready.
func start(kind string, cmd *exec.Cmd, launch func() error, in io.WriteCloser, out io.Reader, inherited ...*os.File) (*Host, error) {
	h := &Host{Kind: kind, cmd: cmd, in: in, waiting: map[uint64]chan Reply{}, done: make(chan struct{})}
	hello := make(chan Reply, 1)
	h.waiting[0] = hello
	err := launch()
	for _, f := range inherited {
		f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	go h.read(out)
	select {
	case <-hello:
		h.ready = true
		return h, nil
	case <-h.done:
		err = h.gone
	case <-time.After(startTime):
		err = fmt.Errorf("guest: not ready after %v", startTime)
	}
	return nil, errors.Join(err, h.Close())
}

// read hands replies to those who wait for them, until out ends.
func (h *Host) read(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			h.fail(err)
			return
		}
		var reply Reply
		if err := json.Unmarshal(line, &reply); err != nil {
			h.fail(fmt.Errorf("unreadable reply %q: %w", line, err))
			return
		}
		h.mu.Lock()
		c := h.waiting[reply.ID]
		delete(h.waiting, reply.ID)
		h.mu.Unlock()
		if c != nil {
			c <- reply
		}
	}
}

func (h *Host) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone == nil {
		h.gone = fmt.Errorf("%w: %w", ErrGone, err)
		close(h.done)
	}
}

// do sends one request and waits for its reply.
func (h *Host) do(req Request) (Reply, error) {
	c := make(chan Reply, 1)
	h.mu.Lock()
	h.next++
	req.ID = h.next
	h.waiting[req.ID] = c
	b, err := json.Marshal(req)
	if err == nil {
		_, err = h.in.Write(append(b, '\n'))
	}
	h.mu.Unlock()
	if err != nil {
		return Reply{}, fmt.Errorf("guest: %w", err)
	}
	// The agent keeps to the request's own limit; this is for an agent that hangs.
	slack := time.Duration(req.Millis)*time.Millisecond + 30*time.Second
	select {
	case reply := <-c:
		if reply.Error != "" {
			return reply, fmt.Errorf("guest: %s: %s", req.Op, reply.Error)
		}
		return reply, nil
	case <-h.done:
		return Reply{}, h.gone
	case <-time.After(slack):
		return Reply{}, fmt.Errorf("guest: no answer in %v", slack)
	}
}

// Run runs a shell script for at most limit. The error is set when it could
// not be run or ended with another status than 0; the output is given either way.
func (h *Host) Run(limit time.Duration, script string) (string, error) {
	text := script
	if len(text) > maxPiece {
		path := fmt.Sprintf("/run/agent-script-%d", h.scripts.Add(1))
		if err := h.Put(path, script, 0o600); err != nil {
			return "", err
		}
		text = ". " + path
	}
	reply, err := h.do(Request{Op: OpRun, Text: text, Millis: limit.Milliseconds()})
	if err == nil && reply.Code != 0 {
		err = fmt.Errorf("guest: exit status %d", reply.Code)
	}
	if err != nil {
		err = fmt.Errorf("%w: script %q printed %q", err, script, reply.Output)
	}
	return reply.Output, err
}

// maxPiece is how long a piece of a file is in one request, in octets: a guest's serial line
// stands still for ever when more than 4,096 octets wait in it.
const maxPiece = 1000

// Put writes a file in the guest, piece by piece when it is long.
func (h *Host) Put(path, text string, mode os.FileMode) error {
	for more := false; ; more = true {
		n := len(text)
		if n > maxPiece {
			n = maxPiece
			for n > maxPiece-utf8.UTFMax && !utf8.RuneStart(text[n]) {
				n-- // JSON has whole characters
			}
		}
		_, err := h.do(Request{Op: OpPut, Path: path, Text: text[:n], Mode: uint32(mode), Append: more})
		if text = text[n:]; err != nil || text == "" {
			return err
		}
	}
}

// Get reads a file in the guest.
func (h *Host) Get(path string) (string, error) {
	reply, err := h.do(Request{Op: OpGet, Path: path})
	return reply.Output, err
}

// Wait waits until a file in the guest exists and contains text, and gives
// its contents; with an error, what it held at last.
func (h *Host) Wait(limit time.Duration, path, text string) (string, error) {
	reply, err := h.do(Request{Op: OpWait, Path: path, Text: text, Millis: limit.Milliseconds()})
	return reply.Output, err
}

// InitPath is the script that process 1 of a guest becomes by Become.
const InitPath = "/run/agent-init"

// Become has process 1 of a User-Mode Linux guest run a script in its place, which ends with exec of another
// init, such as systemd. It can be done once. Requests are answered as before; what the new init says is in the guest's log.
func (h *Host) Become(script string) error {
	if h.Kind != "uml" {
		return fmt.Errorf("guest: a %s guest has no process 1 of its own", h.Kind)
	}
	if err := h.Put(InitPath, "#!/bin/sh\n"+script, 0o755); err != nil {
		return err
	}
	_, err := h.Run(10*time.Second, "kill -USR1 1")
	return err
}

// patience is how long each way to end a guest may take.
const patience = 20 * time.Second

// Close ends the guest and waits for its end.
func (h *Host) Close() error {
	defer h.in.Close()
	exited := make(chan struct{})
	go func() {
		_ = h.cmd.Wait() // a guest's exit status after a signal says nothing
		close(exited)
	}()
	for _, end := range []func(){h.off, h.terminate, h.kill} {
		end()
		select {
		case <-exited:
			return nil
		case <-time.After(patience):
		}
	}
	return fmt.Errorf("guest: process %d does not end, not even killed", h.PID())
}

// off has a User-Mode Linux guest power itself off. A signal to it may come while its C library holds a lock, which the handler then
// waits for, for ever.
func (h *Host) off() {
	if h.Kind != "uml" || !h.ready {
		h.terminate()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	if b, err := json.Marshal(Request{ID: h.next, Op: OpOff}); err == nil {
		_, _ = h.in.Write(append(b, '\n')) // where nobody reads it, the next way is taken
	}
}

func (h *Host) terminate() {
	h.in.Close()
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
}

// kill takes all processes of the guest's session, which User-Mode Linux, killed alone, leaves behind.
func (h *Host) kill() {
	_ = h.cmd.Process.Kill()
	_ = syscall.Kill(-h.PID(), syscall.SIGKILL)
}
