package l2tp

import (
	"io"
	"time"
)

// step looks its cell up in the table and does what it says. m is the message
// that caused it, or nil; it lives in the place of the next event.
func (t *Tunnel) step(now time.Duration, in tunnelInput, m *Message, why cause, fx *Effects) {
	cell := tunnelTable[t.state][in]
	was := t.state
	t.state = cell.next
	var err error
	switch cell.action {
	case actIgnore:
		t.late(m)
	case actSendSCCRQ:
		if err = t.drawTie(); err == nil {
			err = t.start(now, MessageSCCRQ, fx)
		}
	case actSendSCCRP:
		t.learn(m)
		err = t.start(now, MessageSCCRP, fx)
	case actSendSCCCN:
		t.learn(m)
		err = t.connect(now, fx)
		fallthrough
	case actUp:
		if err == nil {
			t.up(now, fx)
		}
	case actSendStop, actCleanUp:
		t.down(now, cell.action == actSendStop, was, why, fx)
	case actDiscard:
		t.discard(why, fx)
	}
	if err != nil {
		t.step(now, inClose, nil, cause{
			reason: ReasonLocal, local: true, err: err,
			result: Result{Code: ResultGeneralError, Error: ErrorResources},
		}, fx)
	}
}

// learn keeps what the peer says of itself in SCCRQ and SCCRP.
func (t *Tunnel) learn(m *Message) {
	t.peerName = string(m.HostName)
	t.peerVendor = string(m.VendorName)
	t.tieBreaker = m.TieBreaker
	t.learnFailover(m)
}

// late reads a message that comes to a tunnel already stopping: the SCCRP tells
// where the StopCCN has to go, and a StopCCN that nothing sent is read any more.
func (t *Tunnel) late(m *Message) {
	if m == nil {
		return
	}
	if m.Type == MessageSCCRP && m.Has(AVPAssignedTunnelID) && t.ctl.peerID == 0 {
		t.ctl.SetPeer(m.AssignedTunnelID, m.ReceiveWindow)
	}
	if m.Type == MessageStopCCN {
		t.ctl.dropAll()
	}
}

// start sends the SCCRQ or SCCRP.
func (t *Tunnel) start(now time.Duration, typ MessageType, fx *Effects) error {
	t.until = now + t.cfg.Control.Cycle()
	m := Message{
		Type: typ, ProtocolVersion: ProtocolVersion1,
		HostName: []byte(t.cfg.HostName), VendorName: []byte(t.cfg.VendorName),
		FramingCap: t.cfg.FramingCap, BearerCap: t.cfg.BearerCap, FirmwareRevision: t.cfg.FirmwareRevision,
		AssignedTunnelID: t.localID, ReceiveWindow: uint16(t.cfg.Control.window()), TieBreaker: t.hand.tie,
	}
	if m.FramingCap == 0 {
		m.FramingCap = FramingSync | FramingAsync
	}
	m.Set(AVPProtocolVersion, AVPFramingCap, AVPHostName, AVPAssignedTunnelID, AVPReceiveWindow)
	m.setIf(m.BearerCap != 0, AVPBearerCap)
	m.setIf(m.FirmwareRevision != 0, AVPFirmwareRevision)
	m.setIf(len(m.VendorName) > 0, AVPVendorName)
	m.setIf(m.TieBreaker != 0, AVPTieBreaker)
	t.offer(&m)
	if len(t.cfg.Secret) > 0 && !t.cfg.NoChallenge {
		if _, err := io.ReadFull(t.cfg.Rand, t.hand.challenge[:]); err != nil {
			return err
		}
		t.hand.challenged = true
		m.Challenge = t.hand.challenge[:]
		m.Set(AVPChallenge)
	}
	t.respond(&m)
	return t.send(now, &m, 0, fx)
}

// respond puts the answer to the peer's challenge into a message.
func (t *Tunnel) respond(m *Message) {
	if t.hand.answer {
		m.ChallengeResponse = t.hand.response[:]
		m.Set(AVPChallengeResponse)
	}
}

func (m *Message) setIf(on bool, a AVP) {
	if on {
		m.Set(a)
	}
}

// connect sends the SCCCN.
func (t *Tunnel) connect(now time.Duration, fx *Effects) error {
	m := Message{Type: MessageSCCCN}
	t.respond(&m)
	return t.send(now, &m, 0, fx)
}

// up tells the owner. The message that did it is in the event's place already.
func (t *Tunnel) up(now time.Duration, fx *Effects) {
	t.hand, t.until = nil, Never
	t.ctl.StartHello(now)
	fx.reuse().Kind = EventUp
}

// down ends the connection: with a StopCCN when stop is set, and an
// acknowledgement in any case.
func (t *Tunnel) down(now time.Duration, stop bool, was TunnelState, why cause, fx *Effects) {
	t.hand = nil
	t.ctl.hello = false
	t.until = now + t.cfg.Control.Cycle()
	dead := t.ctl.Dead()
	switch {
	case stop && !dead && (t.ctl.peerID != 0 || was == TunnelWaitReply):
		t.ctl.dropUnsent()
		m := Message{Type: MessageStopCCN, AssignedTunnelID: t.localID, Result: why.result}
		m.Set(AVPAssignedTunnelID, AVPResultCode)
		t.ctl.commit(now, 0, m.Append(t.ctl.buf), fx)
	case t.ctl.peerID == 0:
		t.finish() // nobody to linger for
	default:
		t.ctl.dropAll()
		t.ctl.ackAt = min(t.ctl.ackAt, now)
		if !dead && why.reason == ReasonPeer {
			t.ctl.Flush(now, fx)
		}
	}
	e := fx.event()
	e.Kind, e.Local, e.Reason, e.Result, e.Err = EventDown, why.local, why.reason, why.result, why.err
}

// AppendRefusal appends a whole datagram, a StopCCN with the result, that
// refuses the SCCRQ m. It keeps no state, so that a flood of SCCRQs costs
// nothing: the peer's retransmissions are refused again. localID goes into the
// Assigned Tunnel ID AVP; any id not in use will do.
func AppendRefusal(dst []byte, m *Message, localID uint16, r Result) []byte {
	from := len(dst)
	dst = ControlHeader(m.AssignedTunnelID, 0, 0, 1).Append(dst)
	stop := Message{Type: MessageStopCCN, AssignedTunnelID: localID, Result: r}
	stop.Set(AVPAssignedTunnelID, AVPResultCode)
	dst = stop.Append(dst)
	PutLength(dst[from:])
	return dst
}
