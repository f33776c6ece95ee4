package l2tp

import "time"

// ParseMessage decodes body, the payload of a control header, into m, which it
// resets first. secret reads hidden AVPs; it may be nil. The error is a
// *MessageError. Parsing goes on after a bad AVP wherever it can, so that m
// holds what could be read even when there is an error: the ids to answer to
// are usually there.
//
// A known AVP is taken with the M bit either way. One that is malformed is
// skipped when its M bit is clear (RFC 2661 section 5.1). Of an AVP that comes
// twice the first counts, except that Connect Speed Updates are all kept and
// the last Random Vector is kept. An unknown message type with a clear M bit is no
// error: the caller ignores the message, see Known.
func ParseMessage(body, secret []byte, m *Message) error { panic("not yet") }

// Append encodes the message: its type, the AVPs that are Set, and those of
// SpeedUpdates, Line and Extra.
func (m *Message) Append(dst []byte) []byte { panic("not yet") }

// AppendHidden is Append with every AVP hidden that may be hidden (RFC 2661
// section 4.3). vector becomes the Random Vector AVP; 16 random octets are
// right.
func (m *Message) AppendHidden(dst, secret, vector []byte) []byte { panic("not yet") }

// Clone returns a copy that shares nothing with m.
func (m *Message) Clone() Message { panic("not yet") }

// Known reports whether the type is one of the constants.
func (t MessageType) Known() bool { return t.known() }

// ChallengeResponse computes the Challenge Response AVP (RFC 2661 section
// 4.4.3): id is the type of the message it goes into, SCCRP or SCCCN.
func ChallengeResponse(id MessageType, secret, challenge []byte) [16]byte { panic("not yet") }

// AppendRefusal appends a whole datagram, a StopCCN with the result, that
// refuses the SCCRQ m. It keeps no state, so that a flood of SCCRQs costs
// nothing: the peer's retransmissions are refused again. localID goes into the
// Assigned Tunnel ID AVP; any id not in use will do.
func AppendRefusal(dst []byte, m *Message, localID uint16, r Result) []byte { panic("not yet") }

// Tunnel is one control connection (RFC 2661 section 7.2), in either role, with
// its reliable delivery. It belongs to one goroutine.
type Tunnel struct{ cfg *TunnelConfig }

// NewTunnel returns an idle Tunnel. localID is not 0 and not in use. cfg is
// shared and must not change any more.
func NewTunnel(role Role, localID uint16, cfg *TunnelConfig) *Tunnel { panic("not yet") }

// Open sends the SCCRQ. Only a LAC's tunnel is opened; an LNS's starts by
// Receive of the SCCRQ.
func (t *Tunnel) Open(now time.Duration, fx *Effects) { panic("not yet") }

// Receive takes one control datagram, header included, that the peer sent to
// LocalID, or to id 0 if it is the SCCRQ. A retransmitted SCCRQ goes to the
// Tunnel that its first one made: same peer address, same Assigned Tunnel ID.
// The datagram is not kept and not changed. The error says why a datagram was
// dropped without effect, for counting.
func (t *Tunnel) Receive(now time.Duration, datagram []byte, fx *Effects) error { panic("not yet") }

// Send queues a call message. sessionID is the peer's id for the header: 0 for
// an ICRQ, and for CSUN and CSURQ. The message is encoded before Send returns.
// Once the tunnel is down it does nothing. A send queue that is full ends the
// tunnel (ReasonOverflow).
func (t *Tunnel) Send(now time.Duration, m *Message, sessionID uint16, fx *Effects) { panic("not yet") }

// Stop ends the tunnel with a StopCCN. EventDown comes at once.
func (t *Tunnel) Stop(now time.Duration, r Result, fx *Effects) { panic("not yet") }

// Tick does what is due at now: retransmissions, delayed acknowledgements,
// HELLO, the end of lingering.
func (t *Tunnel) Tick(now time.Duration, fx *Effects) { panic("not yet") }

// Deadline returns when Tick is wanted next, or Never. It may change with every
// other call.
func (t *Tunnel) Deadline() time.Duration { panic("not yet") }

// State returns the state.
func (t *Tunnel) State() TunnelState { panic("not yet") }

// Role returns the role.
func (t *Tunnel) Role() Role { panic("not yet") }

// LocalID returns our tunnel id.
func (t *Tunnel) LocalID() uint16 { panic("not yet") }

// PeerID returns the peer's tunnel id, 0 while it is not known.
func (t *Tunnel) PeerID() uint16 { panic("not yet") }

// PeerName returns the peer's Host Name.
func (t *Tunnel) PeerName() string { panic("not yet") }

// PeerVendor returns the peer's Vendor Name.
func (t *Tunnel) PeerVendor() string { panic("not yet") }

// PeerWindow returns the peer's receive window in messages.
func (t *Tunnel) PeerWindow() uint16 { panic("not yet") }

// PeerTieBreaker returns the Tie Breaker of the peer's SCCRQ, 0 for none.
func (t *Tunnel) PeerTieBreaker() uint64 { panic("not yet") }

// Ns returns the sequence number of the next message to be queued.
func (t *Tunnel) Ns() uint16 { panic("not yet") }

// Nr returns the sequence number expected from the peer next.
func (t *Tunnel) Nr() uint16 { panic("not yet") }

// Retransmissions returns how many messages were sent again, ever.
func (t *Tunnel) Retransmissions() uint32 { panic("not yet") }

// Unacked returns how many messages the peer has not acknowledged yet.
func (t *Tunnel) Unacked() int { panic("not yet") }

// Done reports that lingering is over and the Tunnel may be forgotten.
func (t *Tunnel) Done() bool { panic("not yet") }

// CallState is the state of an incoming call (RFC 2661 section 7.4). Waiting
// for the tunnel, the RFC's wait-tunnel, is the owner's.
type CallState uint8

// States of an incoming call.
const (
	CallIdle        CallState = iota
	CallWaitReply             // LAC: ICRQ sent
	CallWaitConnect           // LNS: ICRP sent
	CallEstablished
	CallDown // over; the Call does nothing any more
)

// CallEffects is what one step of a Call wants done.
type CallEffects struct {
	// Send, when not nil, is for Tunnel.Send with the Call's PeerID. It points to
	// a message the caller gave, or into the CallEffects.
	Send *Message
	// Up: the call is established by this step.
	Up bool
	// Down: the call has ended by this step; Result says why, and Local that it
	// was decided here (then Send is the CDN, where one is due).
	Down   bool
	Local  bool
	Result Result
}

// Reset makes the effects empty. Every step of a Call does it first.
func (fx *CallEffects) Reset() { panic("not yet") }

// Call is one incoming call, in either role. It is a small value, made to be
// embedded.
type Call struct{ state CallState }

// NewCall returns an idle call. localID is not 0 and not in use.
func NewCall(role Role, localID uint16) Call { panic("not yet") }

// Dial places the call, LAC only: icrq is completed with type and Assigned
// Session ID and becomes fx.Send.
func (c *Call) Dial(icrq *Message, fx *CallEffects) { panic("not yet") }

// Receive takes a call message. answer is what a good one is answered with: the
// ICRP for an ICRQ, the ICCN for an ICRP; its type and ids are completed here,
// and nil means a minimal one. WEN and SLI change nothing.
func (c *Call) Receive(m, answer *Message, fx *CallEffects) { panic("not yet") }

// Refuse answers an ICRQ by a CDN, LNS only.
func (c *Call) Refuse(icrq *Message, r Result, fx *CallEffects) { panic("not yet") }

// Close ends the call by a CDN, where the peer knows of the call, with the RFC
// 3145 cause cause, which may be nil.
func (c *Call) Close(r Result, cause *PPPDisconnect, fx *CallEffects) { panic("not yet") }

// State returns the state.
func (c *Call) State() CallState { panic("not yet") }

// LocalID returns our session id.
func (c *Call) LocalID() uint16 { panic("not yet") }

// PeerID returns the peer's session id, 0 while it is not known.
func (c *Call) PeerID() uint16 { panic("not yet") }
