package l2tp

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"time"
)

// cause is why a control connection ends.
type cause struct {
	reason Reason
	local  bool
	result Result
	err    error
}

// Receive takes one control datagram, header included, that the peer sent to
// LocalID, or to id 0 if it is the SCCRQ. A retransmitted SCCRQ goes to the
// Tunnel that its first one made: same peer address, same Assigned Tunnel ID.
// The datagram is not kept and not changed. The error says why a datagram was
// dropped without effect, for counting.
func (t *Tunnel) Receive(now time.Duration, datagram []byte, fx *Effects) error {
	h, payload, err := ParseHeader(datagram)
	switch {
	case err != nil:
		return err
	case !h.Control:
		return ErrNotControl
	case t.done || h.TunnelID != t.localID && !addressless(h, payload):
		return ErrTunnelID
	case t.ctl.held:
		return ErrHeld // RFC 4951 section 3.2.1: nothing counts before the reset
	case t.state == TunnelIdle && t.role == RoleLAC:
		return ErrTunnelID // not opened yet: nobody knows our id
	case t.state == TunnelIdle && (h.Ns != 0 || len(payload) == 0):
		return ErrSequence
	}
	switch t.ctl.Receive(now, h, payload, fx) {
	case VerdictStranger:
		return ErrStranger
	case VerdictBeyond:
		return ErrWindow
	case VerdictDeliver:
		session, body, ok := h.SessionID, payload, true
		for ok {
			t.message(now, session, body, fx)
			session, body, ok = t.ctl.Next(now)
		}
	}
	t.ctl.Flush(now, fx)
	return nil
}

// addressless reports whether a message may come to tunnel id 0, its sender not
// knowing our id yet: the SCCRQ, and a StopCCN right after it (RFC 2661 section
// 4.4.3, Assigned Tunnel ID).
func addressless(h Header, payload []byte) bool {
	if h.TunnelID != 0 || len(payload) < 8 {
		return false
	}
	t := MessageType(binary.BigEndian.Uint16(payload[6:]))
	return t == MessageSCCRQ || t == MessageStopCCN
}

// message acts on one message, in order.
func (t *Tunnel) message(now time.Duration, session uint16, body []byte, fx *Effects) {
	e := fx.event()
	m := &e.Message
	bad, _ := ParseMessage(body, t.cfg.Secret, m).(*MessageError)
	failover := m.Type == MessageFSQ || m.Type == MessageFSR
	if failover {
		session = 0 // they are about many; RFC 4951 section 4 has other AVPs ignored
	}
	if bad != nil && bad.UnknownAVP && (t.cfg.AcceptUnknownMandatory || failover) {
		bad = nil
	}
	in, why := t.classify(m, bad)
	if in == inCall && t.state == TunnelEstablished {
		t.call(now, e, session, bad, fx)
		return
	}
	// What follows may add events; this one's place is given up when m is read.
	fx.drop()
	if in != tunnelInputs {
		t.step(now, in, m, why, fx)
	}
}

// classify turns a message into an input of the machine; tunnelInputs stands
// for one that has no effect.
func (t *Tunnel) classify(m *Message, bad *MessageError) (tunnelInput, cause) {
	switch {
	case m.Type == MessageStopCCN:
		// However malformed, it says that the peer is gone. A refused LAC learns
		// here where the acknowledgement has to go.
		if t.ctl.peerID == 0 && m.Has(AVPAssignedTunnelID) {
			t.ctl.SetPeer(m.AssignedTunnelID, 0)
		}
		return inStopCCN, cause{reason: ReasonPeer, result: m.Result}
	case t.recovery != nil && (m.Type.session() || m.Type >= MessageFSQ):
		return inBad, outOfPlace(m) // RFC 4951 section 3.2.1: a recovery tunnel is for no calls
	case m.Type == MessageFSQ || m.Type == MessageFSR:
		return inCall, t.callCause(m) // the peer may ignore it, so a fault in it ends nothing
	case m.Type.session() || m.Type == MessageCSUN || m.Type == MessageCSURQ:
		if bad == nil || !bad.Tunnel {
			return inCall, t.callCause(m)
		}
	case m.Type == MessageSCCRQ:
		return t.judge(m, bad, inSCCRQ, inBadSCCRQ)
	case m.Type == MessageSCCRP:
		return t.judge(m, bad, inSCCRP, inBadSCCRP)
	case m.Type == MessageSCCCN:
		return t.judge(m, bad, inSCCCN, inBadSCCCN)
	case bad == nil:
		return tunnelInputs, cause{} // HELLO, or unknown and to be ignored
	}
	return inBad, cause{reason: ReasonProtocol, local: true, result: bad.Result, err: bad}
}

// judge decides whether an SCCRQ, SCCRP or SCCCN is acceptable. Where the state
// does not expect it, only its being out of place counts.
func (t *Tunnel) judge(m *Message, bad *MessageError, good, notGood tunnelInput) (tunnelInput, cause) {
	if t.state == TunnelStopping {
		return good, cause{}
	}
	if step := tunnelTable[t.state][good]; step.next == TunnelStopping {
		return good, outOfPlace(m)
	}
	if m.Type != MessageSCCCN && m.Has(AVPAssignedTunnelID) {
		t.ctl.SetPeer(m.AssignedTunnelID, m.ReceiveWindow)
	}
	if m.Type == MessageSCCRQ && m.Has(AVPTunnelRecovery) && t.recovery == nil {
		return notGood, cause{reason: ReasonProtocol, local: true, result: ResultNoRecovery, err: ErrNoRecovery}
	}
	if m.Has(AVPProtocolVersion) && m.ProtocolVersion>>8 != ProtocolVersion1>>8 {
		return notGood, cause{
			reason: ReasonVersion, local: true,
			result: Result{Code: StopVersion, Error: ErrorCode(ProtocolVersion1)},
		}
	}
	if bad != nil {
		return notGood, cause{reason: ReasonProtocol, local: true, result: bad.Result, err: bad}
	}
	if err := t.authenticate(m); err != nil {
		return notGood, cause{
			reason: ReasonAuth, local: true, err: err,
			result: Result{Code: StopNotAuthorized, Message: err.Error()},
		}
	}
	return good, cause{}
}

// callCause is the cause for a call message that comes when the connection is
// not established.
func (t *Tunnel) callCause(m *Message) cause {
	if t.state == TunnelEstablished {
		return cause{}
	}
	return outOfPlace(m)
}

// outOfPlace is the cause for a message that its state does not expect.
func outOfPlace(m *Message) cause {
	return cause{
		reason: ReasonProtocol, local: true,
		result: Result{Code: StopFSM, Message: m.Type.String() + " out of place"},
	}
}

// Why a control connection is not authorized, in Event.Err.
var (
	ErrNoResponse  = errors.New("no response to the challenge")
	ErrBadResponse = errors.New("challenge response is wrong")
	ErrChallenge   = errors.New("challenged, but no secret is configured")
)

// authenticate checks the peer's response to our challenge, and computes ours
// to the peer's (RFC 2661 section 5.1.1).
func (t *Tunnel) authenticate(m *Message) error {
	if t.hand.challenged {
		want := ChallengeResponse(m.Type, t.cfg.Secret, t.hand.challenge[:])
		switch {
		case !m.Has(AVPChallengeResponse):
			return ErrNoResponse
		case subtle.ConstantTimeCompare(want[:], m.ChallengeResponse) != 1:
			return ErrBadResponse
		}
	}
	if m.Has(AVPChallenge) && m.Type != MessageSCCCN {
		if len(t.cfg.Secret) == 0 {
			return ErrChallenge
		}
		t.hand.answer = true
		t.hand.response = ChallengeResponse(m.Type+1, t.cfg.Secret, m.Challenge)
	}
	return nil
}

// call hands a call message to the owner, in the event that holds it already.
func (t *Tunnel) call(now time.Duration, e *Event, session uint16, bad *MessageError, fx *Effects) {
	e.Kind, e.SessionID = EventMessage, session
	// A CDN ends its session whatever else is in it.
	if bad == nil || e.Message.Type == MessageCDN {
		return
	}
	e.Kind, e.Result, e.Err = EventBadMessage, bad.Result, bad
	if session != 0 || e.Message.Type != MessageICRQ && e.Message.Type != MessageOCRQ || e.Message.AssignedSessionID == 0 {
		return
	}
	peer := e.Message.AssignedSessionID
	cdn := Message{Type: MessageCDN, Result: bad.Result}
	cdn.Set(AVPResultCode, AVPAssignedSessionID)
	// A full queue ends the tunnel with an event of its own.
	_ = t.Send(now, &cdn, peer, fx)
}
