package subscriber

import "culvert/proto/ppp"

// Reason says why a link ended.
type Reason uint8

// The reasons.
const (
	ReasonNone Reason = iota
	// ReasonLocal: Close was called.
	ReasonLocal
	// ReasonPeerTerminate: the peer sent a Terminate-Request, or rejected LCP or IPCP.
	ReasonPeerTerminate
	// ReasonLCPTimeout: the peer does not answer LCP.
	ReasonLCPTimeout
	// ReasonLCPFailed: LCP does not converge.
	ReasonLCPFailed
	// ReasonAuthRejected: PAP Nak or CHAP Failure.
	ReasonAuthRejected
	// ReasonAuthTimeout: no challenge or no result.
	ReasonAuthTimeout
	// ReasonAuthServer: MS-CHAPv2's Success does not prove that the peer knows the password.
	ReasonAuthServer
	// ReasonIPCPTimeout: the peer does not answer IPCP.
	ReasonIPCPTimeout
	// ReasonIPCPFailed: IPCP does not converge, or gives no address.
	ReasonIPCPFailed
)

var reasonNames = [...]string{
	"none", "closed", "terminated by peer", "LCP timeout", "LCP failed", "authentication rejected",
	"authentication timeout", "server not authentic", "IPCP timeout", "IPCP failed",
}

// String gives the reason in words.
func (r Reason) String() string { return reasonNames[min(int(r), len(reasonNames)-1)] }

// Effects collects what steps want done. The caller acts on it, calls Reset and
// uses it again, one for many clients.
type Effects struct {
	// Frames are PPP frames for the peer, in order. They are valid until Reset.
	Frames [][]byte
	// Packet is an IPv4 packet from the peer. It aliases the frame given to Receive.
	Packet []byte
	// Up: IPCP has opened. Restarted: the peer negotiates anew a link that was up; Up follows again.
	Up, Restarted bool
	// Down: the link has ended. Message is the peer's text with a rejected
	// authentication, which Down follows later; it aliases the frame given to Receive.
	Down   bool
	Reason Reason
	// Unanswered: Down came because nobody acknowledged the Terminate-Request.
	Unanswered bool
	Message    []byte
	// Malformed counts frames that were dropped for their form, since the last Reset.
	Malformed int

	arena []byte
	start int
}

// Reset empties fx and keeps its memory.
func (fx *Effects) Reset() {
	*fx = Effects{Frames: fx.Frames[:0], arena: fx.arena[:0]}
}

// begin starts a frame with its header; end takes it with what was appended.
func (fx *Effects) begin(c *Client, p ppp.Protocol) []byte {
	fx.start = len(fx.arena)
	return c.appendHeader(fx.arena, p)
}

func (fx *Effects) end(b []byte) {
	fx.arena = b
	fx.Frames = append(fx.Frames, b[fx.start:len(b):len(b)])
}
