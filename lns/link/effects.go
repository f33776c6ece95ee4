package link

import "net/netip"

// Reason says why a link ended.
type Reason uint8

// The reasons. ReasonNone is that of a link that has not ended.
const (
	ReasonNone Reason = iota
	// ReasonPeerTerminate: the peer sent an LCP or IPCP Terminate-Request.
	ReasonPeerTerminate
	// ReasonEchoTimeout: the peer stopped to answer Echo-Requests.
	ReasonEchoTimeout
	// ReasonAuthFailed: the owner called Deny.
	ReasonAuthFailed
	// ReasonAuthRefused: the peer would use none of our authentication methods.
	ReasonAuthRefused
	// ReasonAuthTimeout: the peer sent no usable credentials in time.
	ReasonAuthTimeout
	// ReasonLCPTimeout: the peer did not answer LCP Configure-Requests, though something of LCP came.
	ReasonLCPTimeout
	// ReasonLCPFailed: LCP did not converge, or the peer rejected LCP itself.
	ReasonLCPFailed
	// ReasonIPCPFailed: IPCP did not converge, went unanswered or was rejected.
	ReasonIPCPFailed
	// ReasonLoop: our own frames come back (RFC 1661 section 6.4).
	ReasonLoop
	// ReasonSetupTimeout: the link was not up in time.
	ReasonSetupTimeout
	// ReasonLocal: the owner called Close.
	ReasonLocal
	// ReasonProxyMismatch: under ProxyStrict, the LAC's negotiation is not
	// what we would have agreed to.
	ReasonProxyMismatch
	// ReasonLCPSilent: nothing came from the peer that is LCP.
	ReasonLCPSilent
)

// reasonNames are the Reasons in words, for logs and metric labels.
var reasonNames = [...]string{
	ReasonNone: "none", ReasonPeerTerminate: "peer-terminate", ReasonEchoTimeout: "echo-timeout",
	ReasonAuthFailed: "auth-failed", ReasonAuthRefused: "auth-refused", ReasonAuthTimeout: "auth-timeout",
	ReasonLCPTimeout: "lcp-timeout", ReasonLCPFailed: "lcp-failed", ReasonIPCPFailed: "ipcp-failed",
	ReasonLoop: "loop", ReasonSetupTimeout: "setup-timeout", ReasonLocal: "local",
	ReasonProxyMismatch: "proxy-mismatch", ReasonLCPSilent: "lcp-silent",
}

// String gives a short name, fit for a log or a metric's label.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// Phase is where a link stands.
type Phase uint8

// The phases, in the order of a link's life. A renegotiation goes back to
// PhaseLCP.
const (
	PhaseIdle Phase = iota // before Start
	PhaseLCP
	PhaseAuthenticating
	PhaseNetwork
	PhaseUp
	PhaseClosing
	PhaseDown
)

// String gives the phase's name as operators see it.
func (p Phase) String() string {
	return [...]string{"idle", "lcp", "authenticating", "network", "up", "closing", "down"}[min(p, PhaseDown)]
}

// Credentials are what the peer sent to prove who it is. They own their bytes.
type Credentials struct {
	Method Method
	// Serial counts the link's Auths. Ask Awaits with it before Grant or
	// Deny: after a renegotiation an older answer is about other credentials.
	Serial uint16
	// User is the name as sent: any octets, perhaps none.
	User string
	// Password is the clear password (PAP only).
	Password []byte
	// ID is the packet's identifier. Challenge is what was sent to the peer (by us, or by the LAC
	// for a proxied authentication), Response its answer: 16 octets for
	// CHAP, the 49 octets of RFC 2759 section 4 for MS-CHAPv2.
	ID                  uint8
	Challenge, Response []byte
	// EAP is the peer's Response (EAP only).
	EAP *Response
}

// Response is what the peer answered by EAP.
type Response struct {
	// Packet is the EAP packet, State that of the last Challenge.
	Packet, State []byte
	// MTU is the longest EAP packet that fits the link, in octets.
	MTU uint16
}

// Network is what the peer is given in IPCP. Addresses are IPv4; the zero
// Addr means that there is none to give.
type Network struct {
	Local, Peer netip.Addr
	DNS, NBNS   [2]netip.Addr
	// MTU is the largest packet to send to the peer, in octets; 0 leaves it
	// to the peer's MRU.
	MTU uint16
}

// Effects collects what the steps of one link want done. The caller reuses
// it, for many links: Reset before another batch, Next before another link.
type Effects struct {
	// Frames are PPP frames to send to the peer, in order. They alias the
	// arena and are valid until Reset.
	Frames [][]byte
	// Auth asks the owner to decide about the peer, who answers with Grant
	// or Deny, for EAP also with Challenge, which Auth follows again. It may come again after a renegotiation; the answer to the
	// older one is then not to be given any more (Awaits).
	Auth *Credentials
	// Up says that IPCP opened: packets may flow. It may come again after Restarted.
	Up bool
	// Restarted says that a link that was up renegotiates: packets stop
	// until Up comes again, or Down.
	Restarted bool
	// Down says that the link ended, with its Reason. It comes once. Detail
	// says more where there is more to say.
	Down   bool
	Reason Reason
	Detail string

	// headroom octets are kept free before each frame.
	headroom int
	// arena holds the frames of this round; whole are they with their headroom.
	arena []byte
	whole [][]byte
	// scratch is where a step builds the options of its answer.
	scratch []byte
}

// NewEffects makes an Effects whose frames have that many octets free
// before them, so that a header can be put there without copying.
func NewEffects(headroom int) *Effects {
	return &Effects{headroom: headroom}
}

// Reset forgets everything and keeps the memory.
func (fx *Effects) Reset() {
	clear(fx.Frames)
	clear(fx.whole)
	*fx = Effects{
		Frames: fx.Frames[:0], whole: fx.whole[:0], arena: fx.arena[:0],
		scratch: fx.scratch[:0], headroom: fx.headroom,
	}
}

// Next forgets everything but the frames, so that steps of several links
// share one arena.
func (fx *Effects) Next() {
	fx.Auth, fx.Up, fx.Restarted, fx.Down, fx.Reason, fx.Detail = nil, false, false, false, ReasonNone, ""
}

// Whole is Frames[i] with its headroom before it: the same memory.
func (fx *Effects) Whole(i int) []byte { return fx.whole[i] }
