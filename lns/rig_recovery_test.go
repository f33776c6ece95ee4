package lns

import (
	"math/rand/v2"
	"time"

	"culvert/proto/l2tp"
)

// rigRecovery is what a rigLAC knows of RFC 4951. Its own tunnel is the old one.
type rigRecovery struct {
	l         *rigLAC
	cfg       *l2tp.TunnelConfig
	tunnels   map[uint16]*l2tp.Tunnel
	suggested map[uint16]l2tp.SuggestedSequence
	last      uint16
	fx        l2tp.Effects
	retry     time.Duration
	// refuse has SCCRQs refused, mute dropped.
	refuse, mute bool
	// resets counts resets of the tunnel; unknown are calls that the LNS did not have.
	resets  int
	unknown []uint16
	// queries are what the LNS has asked for, stops the StopCCNs of recovery tunnels.
	queries, stops int
}

// failoverLAC is a LAC that offers failover.
func (r *rig) failoverLAC(n int, offer l2tp.Failover) *rigLAC {
	cfg := &l2tp.TunnelConfig{
		HostName: "lac", VendorName: "test", Secret: []byte("tunnel secret"), Failover: offer, Rand: rand.NewChaCha8([32]byte{byte(n), 4}),
	}
	l := r.lac(n, "tunnel secret")
	l.t = l2tp.NewTunnel(l2tp.RoleLAC, uint16(100+n), cfg)
	l.fx.Reset()
	l.t.Open(r.time(), &l.fx)
	l.recovery = &rigRecovery{l: l, cfg: cfg, tunnels: map[uint16]*l2tp.Tunnel{}, suggested: map[uint16]l2tp.SuggestedSequence{}, last: 200, retry: never}
	return l
}

// fail loses the LAC's numbers.
func (x *rigRecovery) fail() {
	x.l.t.Hold()
	x.open()
}

func (x *rigRecovery) open() {
	x.retry = never
	t := x.make(l2tp.RoleLAC)
	t.OpenRecovery(x.l.host.time(), l2tp.Recovery{Tunnel: x.l.t.LocalID(), Remote: x.l.t.PeerID()}, &x.fx)
	x.done(t)
}

func (x *rigRecovery) make(role l2tp.Role) *l2tp.Tunnel {
	x.last++
	t := l2tp.NewTunnel(role, x.last, x.cfg)
	x.tunnels[x.last] = t
	return t
}

// receive takes a control message that is not of the LAC's own tunnel.
func (x *rigRecovery) receive(h l2tp.Header, payload, b []byte) bool {
	if h.TunnelID != 0 {
		t := x.tunnels[h.TunnelID]
		if t != nil {
			_ = t.Receive(x.l.host.time(), b, &x.fx)
			x.done(t)
		}
		return t != nil
	}
	var m l2tp.Message
	if l2tp.ParseMessage(payload, x.cfg.Secret, &m) != nil || !m.Has(l2tp.AVPTunnelRecovery) || x.mute {
		return x.mute
	}
	x.sccrq(&m, b)
	return true
}

func (x *rigRecovery) sccrq(m *l2tp.Message, b []byte) {
	if x.refuse || m.Recovery.Remote != x.l.t.LocalID() || m.Recovery.Tunnel != x.l.t.PeerID() {
		x.l.queue = append(x.l.queue, l2tp.AppendRefusal(nil, m, 0xffff, l2tp.ResultNoRecovery))
		return
	}
	for _, t := range x.tunnels {
		if t.Role() == l2tp.RoleLNS && t.PeerID() == m.AssignedTunnelID {
			_ = t.Receive(x.l.host.time(), b, &x.fx)
			x.done(t)
			return
		}
		tie := t.Collide(x.l.host.time(), b, &x.fx)
		x.done(t)
		if tie == l2tp.TieWon {
			return
		}
	}
	t := x.make(l2tp.RoleLNS)
	x.suggested[x.last] = x.l.t.Suggest()
	t.AnswerRecovery(x.suggested[x.last])
	_ = t.Receive(x.l.host.time(), b, &x.fx)
	x.done(t)
}

func (x *rigRecovery) done(t *l2tp.Tunnel) {
	now := x.l.host.time()
	for i := range x.fx.Events {
		switch e := &x.fx.Events[i]; {
		case e.Kind == l2tp.EventUp:
			x.reset(t, e.Message.SuggestedSequence)
		case !e.Local:
			x.stops++
		}
	}
	for _, p := range x.fx.Packets {
		x.l.queue = append(x.l.queue, append([]byte(nil), p...))
	}
	x.fx.Reset()
	if t.Done() {
		delete(x.tunnels, t.LocalID())
	} else if t.State() == l2tp.TunnelEstablished && t.Role() == l2tp.RoleLAC {
		t.Stop(now, l2tp.Result{Code: l2tp.StopGeneral}, &x.fx)
		x.done(t)
	}
}

// reset is RFC 4951 sections 3.2.2 and 3.3.
func (x *rigRecovery) reset(t *l2tp.Tunnel, s l2tp.SuggestedSequence) {
	if t.Role() == l2tp.RoleLNS {
		s = x.suggested[t.LocalID()]
		s.Ns, s.Nr = s.Nr, s.Ns
	}
	x.resets++
	now := x.l.host.time()
	x.l.t.Reset(now, s.Ns, s.Nr, &x.l.fx)
	var ask []l2tp.SessionState
	for _, c := range x.l.order {
		if c.call.State() == l2tp.CallEstablished && x.l.calls[c.call.LocalID()] == c {
			ask = append(ask, l2tp.SessionState{Session: c.call.LocalID(), Remote: c.call.PeerID()})
		}
	}
	_ = x.l.t.SendStates(now, l2tp.MessageFSQ, ask, &x.l.fx)
}

// states takes FSQ and FSR.
func (x *rigRecovery) states(m *l2tp.Message) bool {
	if m.Type == l2tp.MessageFSQ {
		x.queries += len(m.SessionStates)
		answer, _ := l2tp.AnswerFSQ(m, func(id uint16) (uint16, bool) {
			c := x.l.calls[id]
			if c == nil || c.call.State() != l2tp.CallEstablished {
				return 0, false
			}
			return c.call.PeerID(), true
		})
		_ = x.l.t.SendStates(x.l.host.time(), l2tp.MessageFSR, answer, &x.l.fx)
		return true
	}
	if m.Type != l2tp.MessageFSR {
		return false
	}
	for _, s := range m.SessionStates {
		if c := x.l.calls[s.Remote]; c != nil && s.Session == 0 {
			x.unknown = append(x.unknown, s.Remote)
			x.l.forget(c)
		}
	}
	return true
}

func (x *rigRecovery) tick(now time.Duration) {
	for _, t := range x.tunnels {
		if t.Deadline() <= now {
			t.Tick(now, &x.fx)
			x.done(t)
		}
	}
}
