package link

import (
	"time"

	"culvert/proto/ppp"
)

// incoming is the packet that a step answers.
type incoming struct {
	packet ppp.Packet
	// refusal is the Configure-Nak or -Reject that answers a bad
	// Configure-Request.
	refusal ppp.Packet
}

// begin starts a frame in the arena, after its headroom, and returns where;
// append the packet to fx.arena, then call end.
func (fx *Effects) begin(l *Link, p ppp.Protocol) int {
	start := len(fx.arena)
	fx.arena = append(fx.arena, make([]byte, fx.headroom)...)
	fx.arena = ppp.AppendHeader(fx.arena, p, l.acfc, l.pfc)
	return start
}

// end makes the frame that began at start one of fx.Frames.
func (fx *Effects) end(start int) {
	whole := fx.arena[start:len(fx.arena):len(fx.arena)]
	fx.whole = append(fx.whole, whole)
	fx.Frames = append(fx.Frames, whole[fx.headroom:])
}

// send sends one control packet.
func (l *Link) send(p ppp.Protocol, code ppp.Code, id uint8, data []byte, fx *Effects) {
	start := fx.begin(l, p)
	fx.arena = ppp.AppendPacket(fx.arena, code, id, data)
	fx.end(start)
}

// answer does those of an automaton's actions that answer a packet; they
// are the same for LCP and IPCP.
func (l *Link) answer(now time.Duration, acts ppp.Actions, p ppp.Protocol, in incoming, fx *Effects) {
	if acts&ppp.SCA != 0 {
		l.send(p, ppp.ConfigureAck, in.packet.ID, in.packet.Data, fx)
	}
	if acts&ppp.SCN != 0 {
		l.send(p, in.refusal.Code, in.packet.ID, in.refusal.Data, fx)
	}
	if acts&ppp.STA != 0 {
		l.send(p, ppp.TerminateAck, in.packet.ID, nil, fx)
	}
	if acts&ppp.SCJ != 0 && l.mayReject(now) {
		start := fx.begin(l, p)
		fx.arena = ppp.AppendCodeReject(fx.arena, l.id(), in.packet, int(l.peerMRU))
		fx.end(start)
	}
}

// rejectProtocol answers a frame of a protocol that is not spoken here. Before the
// network phase such frames are discarded (RFC 1661 sections 3.4, 3.5 and 5.7).
func (l *Link) rejectProtocol(now time.Duration, f ppp.Frame, fx *Effects) {
	if l.phase != PhaseNetwork && l.phase != PhaseUp || !l.mayReject(now) {
		return
	}
	start := fx.begin(l, ppp.ProtocolLCP)
	fx.arena = ppp.AppendProtocolReject(fx.arena, l.id(), f.Protocol, f.Payload, int(l.peerMRU))
	fx.end(start)
}

// rejectsPerSecond bounds Protocol- and Code-Rejects of one link: enough for
// every protocol that a peer tries at its start.
const rejectsPerSecond = 8

// mayReject reports whether one more reject may be sent now, and counts it.
func (l *Link) mayReject(now time.Duration) bool {
	if second := uint32(now / time.Second); second != l.budgetSecond {
		l.budgetSecond, l.rejects = second, 0
	}
	if l.rejects >= rejectsPerSecond {
		return false
	}
	l.rejects++
	return true
}

// id is a new identifier for a packet outside of the automata.
func (l *Link) id() uint8 {
	l.nextID++
	return l.nextID
}
