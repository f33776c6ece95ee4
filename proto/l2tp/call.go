package l2tp

// CallState is the state of a call, incoming (RFC 2661 section 7.4) or outgoing
// (section 7.5). Waiting for the tunnel, the RFC's wait-tunnel, is the owner's.
type CallState uint8

// States of a call.
const (
	CallIdle        CallState = iota
	CallWaitReply             // ICRQ sent by the LAC, or OCRQ by the LNS
	CallWaitConnect           // LNS: ICRP sent, or OCRP received
	CallEstablished
	CallDown       // over; the Call does nothing any more
	CallWaitAnswer // LAC: OCRP sent, the bearer call is not answered yet (wait-cs-answer)
	callStates
)

// CallEffects is what one step of a Call wants done. Every step empties it
// first. It is meant to be reused, one for many calls.
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

	// own is the message that Send points to when the caller gave none.
	own Message
}

// Reset makes the effects empty.
func (fx *CallEffects) Reset() {
	fx.Send, fx.Up, fx.Down, fx.Local, fx.Result = nil, false, false, false, Result{}
}

// Call is one call, in either role. It is a small value, made to be embedded, and
// belongs to one goroutine.
type Call struct {
	role    Role
	out     bool // the LNS asks for it
	state   CallState
	localID uint16
	peerID  uint16
}

// NewCall returns an idle incoming call. localID is not 0 and not in use.
func NewCall(role Role, localID uint16) Call { return Call{role: role, localID: localID} }

// State returns the state.
func (c *Call) State() CallState { return c.state }

// Role returns the role.
func (c *Call) Role() Role { return c.role }

// LocalID returns our session id.
func (c *Call) LocalID() uint16 { return c.localID }

// PeerID returns the peer's session id, 0 while it is not known.
func (c *Call) PeerID() uint16 { return c.peerID }

// Dial places the call: the LAC an incoming one, the LNS an outgoing one. m, the ICRQ
// or OCRQ, is completed with type and Assigned Session ID and becomes fx.Send. A Call
// Serial Number (RFC 2661 section 4.4.4) is the caller's to give.
func (c *Call) Dial(m *Message, fx *CallEffects) {
	if c.out {
		c.outStep(outDial, nil, m, Result{}, fx)
		return
	}
	c.step(callDial, nil, m, Result{}, fx)
}

// Receive takes a call message for this session. answer is what a good one is
// answered with: the ICRP for an ICRQ, the ICCN for an ICRP; its type and ids
// are completed here, and nil means a minimal one. Other messages than ICRQ,
// ICRP, ICCN and CDN change nothing; WEN and SLI are for the owner to read.
func (c *Call) Receive(m, answer *Message, fx *CallEffects) {
	if c.out {
		c.receiveOut(m, answer, fx)
		return
	}
	switch m.Type {
	case MessageICRQ:
		c.step(callICRQ, m, answer, outOfPlaceCDN, fx)
	case MessageICRP:
		c.step(callICRP, m, answer, outOfPlaceCDN, fx)
	case MessageICCN:
		c.step(callICCN, m, answer, outOfPlaceCDN, fx)
	case MessageCDN:
		c.step(callCDN, m, nil, m.Result, fx)
	default:
		fx.Reset()
	}
}

// outOfPlaceCDN is the result for a message that its state does not expect. CDN
// has no code for it.
var outOfPlaceCDN = Result{Code: ResultGeneralError, Error: ErrorVendor, Message: "message out of place"}

// Refuse answers an ICRQ or OCRP (LNS), or an ICRP or OCRQ (LAC), by a CDN.
func (c *Call) Refuse(m *Message, r Result, fx *CallEffects) {
	if c.out {
		c.outStep(outBad, m, nil, r, fx)
		return
	}
	c.step(callBad, m, nil, r, fx)
}

// Close ends the call, by a CDN if the peer knows of the call. why is the
// RFC 3145 cause that goes into it, or nil.
func (c *Call) Close(r Result, why *PPPDisconnect, fx *CallEffects) {
	if c.out {
		c.outStep(outClose, nil, nil, r, fx)
	} else {
		c.step(callClose, nil, nil, r, fx)
	}
	if why != nil && fx.Send != nil {
		fx.Send.PPPDisconnect = *why
		fx.Send.Set(AVPPPPDisconnect)
	}
}

// step looks its cell up in the table and does what it says.
func (c *Call) step(in callInput, m, answer *Message, r Result, fx *CallEffects) {
	fx.Reset()
	cell := callTable[c.role][c.state][in]
	c.state = cell.next
	c.act(cell.action, m, answer, r, in != callCDN, fx)
}

// act does what a cell says. m is the message that caused it, or nil; local says that the
// peer's CDN did not.
func (c *Call) act(action callAction, m, answer *Message, r Result, local bool, fx *CallEffects) {
	switch action {
	case callSendICRQ:
		c.say(MessageICRQ, answer, fx)
	case callSendOCRQ:
		c.say(MessageOCRQ, answer, fx)
	case callSendOCRP:
		c.peerID = m.AssignedSessionID
		c.say(MessageOCRP, answer, fx)
	case callTakeOCRP:
		c.peerID = m.AssignedSessionID
	case callSendOCCN:
		c.say(MessageOCCN, answer, fx)
		fx.Up = true
	case callSendICRP:
		c.peerID = m.AssignedSessionID
		c.say(MessageICRP, answer, fx)
	case callSendICCN:
		c.peerID = m.AssignedSessionID
		c.say(MessageICCN, answer, fx)
		fx.Up = true
	case callUp:
		fx.Up = true
	case callSendCDN:
		if m != nil && c.peerID == 0 {
			c.peerID = m.AssignedSessionID
		}
		c.say(MessageCDN, nil, fx)
		fx.Send.Result = r
		fx.Send.Set(AVPResultCode)
		fx.Down, fx.Local, fx.Result = true, true, r
	case callCleanUp:
		fx.Down, fx.Local, fx.Result = true, local, r
	}
}

// say completes the message to send, the caller's or a minimal one.
func (c *Call) say(typ MessageType, m *Message, fx *CallEffects) {
	if m == nil {
		m = &fx.own
		m.Reset()
		if typ == MessageICCN || typ == MessageOCCN {
			m.FramingType = FramingSync
			m.Set(AVPTxSpeed, AVPFramingType)
		}
	}
	m.Type = typ
	if typ != MessageICCN && typ != MessageOCCN {
		m.AssignedSessionID = c.localID
		m.Set(AVPAssignedSessionID)
	}
	fx.Send = m
}
