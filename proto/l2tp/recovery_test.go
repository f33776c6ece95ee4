package l2tp

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// lossy is two endpoints with an old tunnel between them, and as many recovery tunnels as it
// takes, over a wire that loses, repeats and overtakes.
type lossy struct {
	t    *testing.T
	seed uint64
	rnd  *rand.Rand
	now  time.Duration
	wire []flight
	ends [2]*recoverer
}

// recoverer is an endpoint, as an LNS or LAC has to be one.
type recoverer struct {
	l         *lossy
	end       int
	cfg       *TunnelConfig
	tunnels   map[uint16]*Tunnel // the old one has id 1
	suggested map[uint16]SuggestedSequence
	next      uint16
	failed    bool
	retry     time.Duration
	sent      uint32
	got       []uint32
}

func newLossy(t *testing.T, seed uint64) *lossy {
	l := &lossy{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 4951))}
	for end := range l.ends {
		cfg := testConfig("x", "swordfish", seed+uint64(end))
		cfg.Hide = seed%3 == 0
		cfg.Failover = Failover{Control: true, Data: true, RecoveryTime: 8 * time.Minute}
		cfg.Control = ControlConfig{Window: uint16(1 + l.rnd.IntN(20)), MaxRetries: 10, Hello: 7 * time.Second}
		r := &recoverer{l: l, end: end, cfg: cfg, tunnels: map[uint16]*Tunnel{}, suggested: map[uint16]SuggestedSequence{}, next: 2, retry: Never}
		old := NewTunnel(RoleLNS, 1, cfg)
		old.Restore(0, time.Second, SavedTunnel{PeerID: 1, PeerWindow: uint16(1 + l.rnd.IntN(20)), Failover: cfg.Failover})
		r.tunnels[1] = old
		l.ends[end] = r
	}
	return l
}

// fail loses an end's numbers, and has it recover.
func (r *recoverer) fail() {
	old := r.tunnels[1]
	s, _ := old.Save()
	s.Ns, s.Nr, s.Una = uint16(r.l.rnd.Uint32()), uint16(r.l.rnd.Uint32()), uint16(r.l.rnd.Uint32())
	r.tunnels = map[uint16]*Tunnel{1: NewTunnel(RoleLNS, 1, r.cfg)}
	r.tunnels[1].Restore(r.l.now, Never, s)
	r.tunnels[1].Hold()
	r.failed = true
	r.recover()
}

func (r *recoverer) recover() {
	r.retry = Never
	for id, t := range r.tunnels {
		if id != 1 && t.Role() == RoleLNS && t.State() == TunnelWaitConn {
			r.retry = r.l.now + time.Second // the other end's comes first; there is to be one
			return
		}
	}
	r.next++
	rt, fx := NewTunnel(RoleLAC, r.next, r.cfg), Effects{}
	r.tunnels[r.next] = rt
	rt.OpenRecovery(r.l.now, Recovery{Tunnel: 1, Remote: 1}, &fx)
	r.done(rt, &fx)
}

// receive takes a datagram.
func (r *recoverer) receive(d []byte) {
	h, payload, _ := ParseHeader(d)
	if h.TunnelID == 0 && len(payload) > 0 {
		r.sccrq(d, payload)
		return
	}
	if t := r.tunnels[h.TunnelID]; t != nil {
		fx := Effects{}
		_ = t.Receive(r.l.now, d, &fx)
		r.done(t, &fx)
	}
}

func (r *recoverer) sccrq(d, payload []byte) {
	var m Message
	if err := ParseMessage(payload, r.cfg.Secret, &m); err != nil || m.Type == MessageSCCRQ && m.Recovery != (Recovery{1, 1}) {
		r.l.t.Fatalf("seed %d: %v %+v", r.l.seed, err, m)
	}
	for id, t := range r.tunnels {
		fx := Effects{}
		switch {
		case id == 1:
			continue
		case t.Role() == RoleLNS && t.PeerID() == m.AssignedTunnelID:
			_ = t.Receive(r.l.now, d, &fx) // once more
			r.done(t, &fx)
			return
		}
		if m.Type != MessageSCCRQ {
			continue
		}
		tie := t.Collide(r.l.now, d, &fx)
		r.done(t, &fx)
		switch tie {
		case TieWon:
			return
		case TieBoth:
			r.retry = r.l.now + time.Second
			return
		}
	}
	if m.Type != MessageSCCRQ {
		return
	}
	r.next++
	t, fx := NewTunnel(RoleLNS, r.next, r.cfg), Effects{}
	r.suggested[r.next] = r.tunnels[1].Suggest()
	t.AnswerRecovery(r.suggested[r.next])
	r.tunnels[r.next] = t
	_ = t.Receive(r.l.now, d, &fx)
	r.done(t, &fx)
}

// done carries out what a tunnel wants.
func (r *recoverer) done(t *Tunnel, fx *Effects) {
	for _, d := range fx.Packets {
		r.l.send(1-r.end, d)
	}
	for i := range fx.Events {
		e := &fx.Events[i]
		switch {
		case e.Kind == EventMessage:
			r.got = append(r.got, numberOf(&e.Message))
		case t.LocalID() == 1:
			r.l.t.Fatalf("seed %d: end %d: the old tunnel: %v %v", r.l.seed, r.end, e.Reason, e.Err)
		case e.Kind == EventUp:
			r.up(t, e)
		case r.failed && e.Reason != ReasonTie:
			// The one that won was a ghost: an SCCRQ of an endpoint that has failed since.
			r.retry = r.l.now + time.Second
		}
	}
	if t.Done() {
		delete(r.tunnels, t.LocalID())
	}
}

// up is when the old tunnel is reset (RFC 4951 section 3.2.2).
func (r *recoverer) up(t *Tunnel, e *Event) {
	s, fx := e.Message.SuggestedSequence, Effects{}
	if t.Role() == RoleLNS {
		s = r.suggested[t.LocalID()]
		s.Ns, s.Nr = s.Nr, s.Ns
	}
	r.tunnels[1].Reset(r.l.now, s.Ns, s.Nr, &fx)
	if t.Role() == RoleLAC {
		t.Stop(r.l.now, Result{Code: StopGeneral}, &fx)
	}
	for _, d := range fx.Packets {
		r.l.send(1-r.end, d)
	}
	r.failed = false
	// What was begun before is overtaken, and must not reset anything any more.
	for id := range r.tunnels {
		if id != 1 && id < t.LocalID() {
			delete(r.tunnels, id)
		}
	}
}

func (l *lossy) send(to int, d []byte) {
	if l.rnd.Float64() < 0.15 {
		return
	}
	for range 1 + l.rnd.IntN(2) {
		at := l.now + time.Duration(1+l.rnd.IntN(300))*time.Millisecond
		l.wire = append(l.wire, flight{at, to, slices.Clone(d)})
	}
}

// run lets time pass.
func (l *lossy) run(d time.Duration) {
	for limit := l.now + d; l.step(limit); {
	}
	l.now += d
}

func (l *lossy) step(limit time.Duration) bool {
	at, do := limit, func() {}
	for i, f := range l.wire {
		if f.at < at {
			at, do = f.at, func() { l.wire = slices.Delete(l.wire, i, i+1); l.ends[f.to].receive(f.data) }
		}
	}
	for _, r := range l.ends {
		if r.retry < at {
			at, do = r.retry, r.recover
		}
		for _, t := range r.tunnels {
			if t.Deadline() < at {
				at, do = t.Deadline(), func() { fx := Effects{}; t.Tick(l.now, &fx); r.done(t, &fx) }
			}
		}
	}
	if at >= limit {
		return false
	}
	l.now = max(l.now, at)
	do()
	return true
}

// say sends n numbered messages of each end in the old tunnel.
func (l *lossy) say(n int) {
	for range n {
		for _, r := range l.ends {
			r.sent++
			m := Message{Type: MessageCDN, AssignedSessionID: 7, Result: Result{Code: CDNAdministrative},
				Q931: Q931Cause{Advisory: binary.BigEndian.AppendUint32(nil, r.sent)}}
			m.Set(AVPAssignedSessionID, AVPResultCode, AVPQ931Cause)
			fx := Effects{}
			if err := r.tunnels[1].Send(l.now, &m, 5, &fx); err != nil {
				l.t.Fatal(err)
			}
			r.done(r.tunnels[1], &fx)
		}
		l.run(time.Duration(l.rnd.IntN(500)) * time.Millisecond)
	}
}

// TestRecoveryUnderFire fails one end or both, again and again: whatever is lost, the old tunnel is recovered
// each time, nothing arrives twice or out of order, and what is said after it arrives.
func TestRecoveryUnderFire(t *testing.T) {
	for seed := range *seeds / 2 {
		l := newLossy(t, seed)
		l.run(2 * time.Second)
		for range 5 {
			l.say(l.rnd.IntN(20))
			first := l.rnd.IntN(2)
			l.ends[first].fail()
			if l.rnd.IntN(2) == 0 { // a double failure (appendix B)
				l.run(time.Duration(l.rnd.IntN(1000)) * time.Millisecond)
				l.ends[1-first].fail()
			}
			l.run(6 * time.Minute)
			if l.ends[0].failed || l.ends[1].failed {
				t.Fatalf("seed %d: not recovered: %v %v", seed, l.ends[0].failed, l.ends[1].failed)
			}
			after := [2]uint32{l.ends[0].sent, l.ends[1].sent}
			l.say(5)
			l.run(6 * time.Minute)
			l.check(after)
		}
	}
}

// check: all that was said since arrived, once and in order.
func (l *lossy) check(after [2]uint32) {
	for end, r := range l.ends {
		got, last := l.ends[1-end].got, uint32(0)
		for _, n := range got {
			if n <= last {
				l.t.Fatalf("seed %d: %d of end %d arrived after %d", l.seed, n, end, last)
			}
			last = n
		}
		i := slices.Index(got, after[end]+1)
		if i < 0 || len(got)-i != int(r.sent-after[end]) {
			l.t.Fatalf("seed %d: of the messages %d to %d of end %d arrived %v", l.seed, after[end]+1, r.sent, end, got[max(0, len(got)-8):])
		}
		if n := len(r.tunnels); n != 1 {
			l.t.Fatalf("seed %d: end %d has %d tunnels left", l.seed, end, n)
		}
	}
}
