package main

import (
	"errors"
	"net/netip"
	"time"

	"culvert/lac/probe"
)

// startPackets begins the packets of a session that has come up. With none to send its
// outcome is known.
func (s *session) startPackets(now time.Duration) {
	w := s.worker
	if t := &w.plan.traffic; t.on && s.target != 0 || t.on && t.packets == 0 {
		// Spread the sessions over the interval, so that they do not all send at once. The first packet
		// has to wait for the LNS to have seen the IPCP Configure-Ack and programmed its forwarding.
		spread := min(t.interval, time.Second)
		delay := firstPacket + time.Duration(w.rnd.Uint64()%uint64(spread+1))
		w.engine.Wheel().Set(&s.packet, now+delay, s)
		if t.packets == 0 {
			s.settleUp()
		}
		return
	}
	s.settleUp()
}

// firstPacket is how long after IPCP a session begins to send.
const firstPacket = 20 * time.Millisecond

// settleUp: the session is up and has no answers to wait for. What is to be hung up after
// a hold time is pending until then.
func (s *session) settleUp() {
	if s.worker.plan.opt.Hold == 0 {
		s.settle()
	}
}

// sendPacket sends the next packet, or ends the wait for the last answers.
func (s *session) sendPacket(now time.Duration) {
	w, t := s.worker, &s.worker.plan.traffic
	if s.state != sessionUp {
		return
	}
	if s.target != 0 && s.sent >= s.target {
		s.settleUp()
		return
	}
	to, dst := s, t.target
	switch {
	case t.sessions:
		to = w.neighbour(s)
		dst = to.client.Address()
	case !dst.IsValid():
		dst = s.client.PeerAddress()
	}
	w.sendProbe(s, to, dst, now)
	wait := t.interval
	if s.target != 0 && s.sent >= s.target {
		wait = t.wait
	}
	w.engine.Wheel().Set(&s.packet, now+wait, s)
}

func (w *worker) sendProbe(s, to *session, dst netip.Addr, now time.Duration) {
	spec := w.plan.traffic.spec
	stamp := probe.Stamp{From: s.index, To: to.index, Sequence: s.sent, Sent: now}
	w.frame = spec.Append(s.client.AppendHeader(w.frame[:0]), s.client.Address(), dst, stamp)
	w.engine.Send(&s.call, w.frame)
	s.sent++
	w.count.Packets.Sent++
}

// neighbour is the next session that is up, maybe s itself.
func (w *worker) neighbour(s *session) *session {
	for i := 1; i < len(w.sessions); i++ {
		n := &w.sessions[(int(s.index)+i)%len(w.sessions)]
		if n.state == sessionUp {
			return n
		}
	}
	return s
}

// receivePacket checks an IPv4 packet that came on session s.
func (w *worker) receivePacket(now time.Duration, s *session, packet []byte) {
	t, c := &w.plan.traffic, &w.count.Packets
	if !t.on {
		c.Other++
		return
	}
	stamp, err := t.spec.Parse(packet, s.client.Address())
	switch {
	case errors.Is(err, probe.ErrNotProbe):
		c.Other++
		return
	case err != nil || int(stamp.From) >= len(w.sessions):
		c.Corrupt++
		return
	case stamp.To != s.index:
		c.Misrouted++
		return
	}
	from := &w.sessions[stamp.From]
	if stamp.Sequence >= from.sent {
		c.Other++ // of an earlier call
		return
	}
	if !from.fresh(stamp.Sequence) {
		c.Duplicate++
		return
	}
	c.Answered++
	from.answered++
	w.latency.add(now - stamp.Sent)
	if from.state == sessionUp && from.target != 0 && from.answered >= from.target {
		w.engine.Wheel().Stop(&from.packet)
		from.settleUp()
	}
	if from.state == sessionDrain && from.answered >= from.sent && !w.hangup {
		from.hangup(now)
	}
}

// fresh notes an answered sequence number and says whether it is the first answer, as far as
// the last 64 numbers tell.
func (s *session) fresh(seq uint32) bool {
	if seq >= s.newest {
		shift := seq + 1 - s.newest
		s.seen = s.seen<<shift | 1
		s.newest = seq + 1
		return true
	}
	bit := uint64(1) << (s.newest - 1 - seq)
	if s.seen&bit != 0 {
		return false
	}
	s.seen |= bit
	return true
}

// morePackets has every session that is up send another round of --packets.
func (w *worker) morePackets(now time.Duration) {
	n := uint32(w.plan.traffic.packets)
	for i := range w.sessions {
		s := &w.sessions[i]
		if s.state != sessionUp || n == 0 || !w.plan.traffic.on {
			continue
		}
		if s.settled {
			s.settled = false
			w.count.Sessions.Pending++
		}
		s.target = s.sent + n
		s.startPackets(now)
	}
}
