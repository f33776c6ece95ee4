package lns

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/proto/l2tp"
)

// LACs look for another LNS only where the CDN says so, and not all in the same words.
func TestQuirk01TryAnother(t *testing.T) {
	for name, busy := range map[string]func(*rig){
		"draining":     func(r *rig) { r.srv.Drain(true) },
		"full":         func(r *rig) { r.srv.sessions.Store(1000) },
		"no addresses": func(r *rig) { r.aaa.full = true },
	} {
		for code, want := range map[l2tp.ResultCode]l2tp.Result{2: {Code: 2, Error: 7}, 4: {Code: 4}, 5: {Code: 5}} {
			r, l, _ := tunnelUp(t, func(c *Config) { c.MaxSessions, c.LACs[0].BusyResult = 1000, code })
			busy(r)
			c := l.dial("alice", nil)
			r.until(10*time.Second, "refused", func() bool { return c.cdn != nil })
			if c.cdn.Code != want.Code || c.cdn.Error != want.Error {
				t.Errorf("%s, busy_result %d: the LAC was told %v", name, code, c.cdn)
			}
		}
	}
	r, _, _ := tunnelUp(t, nil)
	r.srv.Drain(true)
	late := r.lac(2, "tunnel secret")
	r.until(5*time.Second, "refused", func() bool { return late.down != nil })
	if late.down.Result.Code != l2tp.ResultGeneralError || late.down.Result.Error != l2tp.ErrorTryAnother {
		t.Errorf("a tunnel was refused by %v", late.down.Result)
	}
}

// An impatient LAC sends its SCCRQ again before it has the answer: that is the same tunnel.
func TestQuirk02RetransmittedSCCRQ(t *testing.T) {
	r := newRig(t, nil)
	w := watchWire(r)
	lost := 0
	w.drop = func(toLNS bool, _ l2tp.Header, typ l2tp.MessageType) bool {
		if !toLNS && typ == l2tp.MessageSCCRP && lost < 4 {
			lost++
			return true
		}
		return false
	}
	l := r.lac(1, "tunnel secret")
	for range 3 { // and once more at once, as it stands
		r.run(time.Second)
		r.plane.Inject(0, l.address, w.toLNS[0].raw)
	}
	r.until(20*time.Second, "tunnel up", func() bool { return l.up })
	asked := 0
	for _, s := range w.toLNS {
		if s.m.Type == l2tp.MessageSCCRQ {
			asked++
		}
	}
	if n, _, _ := r.counts(); n != 1 || asked < 2 {
		t.Errorf("%d tunnels after %d SCCRQs", n, asked)
	}
	for _, m := range w.told(l2tp.MessageSCCRP) {
		if m.AssignedTunnelID != l.t.PeerID() {
			t.Errorf("one SCCRP names tunnel %d, another %d", m.AssignedTunnelID, l.t.PeerID())
		}
	}
}

// A LAC that has stopped its tunnel may open the next one under the same id, from the same port, at once: that
// is another tunnel, though the first still lingers here.
func TestQuirk02SameIDAgain(t *testing.T) {
	r := newRig(t, nil)
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	l.upCall(r, "alice", nil)
	first := l.t.PeerID()
	l.t.Stop(r.clock.now, l2tp.Result{Code: l2tp.StopShutdown}, &l.fx)
	r.run(time.Second)
	cfg := lacConfig()
	cfg.Rand = rand.NewChaCha8([32]byte{9}) // another challenge
	again := newLAC(r, l.address, l.t.LocalID(), cfg)
	r.lacs[again.address] = again
	r.until(3*time.Second, "the other tunnel up", func() bool { return again.up })
	again.upCall(r, "bob", nil)
	if again.t.PeerID() == first {
		t.Error("the other tunnel has the id of the first")
	}
	r.run(time.Minute)
	if n, _, _ := r.counts(); n != 1 || again.down != nil {
		t.Errorf("%d tunnels are left; the other one's end %+v", n, again.down)
	}
}

// A LAC that was refused, or not answered, keeps away for minutes. So a node that drains says
// nothing to the tunnels that it has, and goes on answering.
func TestQuirk03NoLockout(t *testing.T) {
	r := newRig(t, nil)
	w := watchWire(r)
	c := lacConfig()
	c.Control.Hello = 10 * time.Second
	l := r.lacWith("198.51.100.1:1701", c)
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	call := l.upCall(r, "alice", nil)
	r.srv.Drain(true)
	w.toLAC, w.acks = nil, 0
	r.run(10 * time.Minute)
	if l.down != nil || call.closed || l.t.Retransmissions() != 0 || l.t.Unacked() != 0 {
		t.Errorf("tunnel %+v, session closed %v, %d retransmissions, %d unanswered", l.down, call.closed, l.t.Retransmissions(), l.t.Unacked())
	}
	if w.acks < 50 {
		t.Errorf("%d acknowledgements in ten minutes with 60 HELLOs", w.acks)
	}
	for _, s := range w.toLAC {
		if s.m.Type != l2tp.MessageHello {
			t.Errorf("while draining the LAC was sent %v", s.m.Type)
		}
	}
	r.srv.Drain(false)
	l.upCall(r, "bob", nil)
}

// Nor does a node that was killed, and is back, say anything that would make a LAC keep away.
func TestQuirk03NoLockoutByARestart(t *testing.T) {
	r := newRig(t, nil)
	w := watchWire(r)
	c := lacConfig()
	c.Control.Hello = 10 * time.Second
	l := r.lacWith("198.51.100.1:1701", c)
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	call := l.upCall(r, "alice", nil)
	r.run(time.Minute)
	w.toLAC, w.acks = nil, 0
	r.start(nil)
	r.run(5 * time.Minute)
	if l.down != nil || call.closed || l.t.Unacked() != 0 || w.acks < 25 {
		t.Errorf("tunnel %+v, session closed %v, %d unanswered, %d acknowledgements", l.down, call.closed, l.t.Unacked(), w.acks)
	}
	for _, s := range w.toLAC {
		if s.m.Type != l2tp.MessageHello {
			t.Errorf("after the restart the LAC was sent %v", s.m.Type)
		}
	}
	l.upCall(r, "bob", nil)
	stepwise(r)
	told := timeline(r, Selector{User: "alice"})
	wantLines(t, told, "lns goes on after a restart, with 1 session")
	if !strings.Contains(told, "lns recovered after a restart of this LNS; the session is up since ") {
		t.Errorf("the session's own events are\n%s", told)
	}
	if p := r.srv.Trace(t.Context(), TraceQuery{Selector: Selector{User: "alice"}}).Past[0]; !p.Began.Equal(p.Info.Since) {
		t.Errorf("the session is said to have begun at %v and to be up since %v", p.Began, p.Info.Since)
	}
}

// Some LACs never send a HELLO, some do not answer one, and some have other things to say.
func TestQuirk04Hello(t *testing.T) {
	t.Run("not answered, and not sent by profile", func(t *testing.T) {
		r, l, w := tunnelUp(t, func(c *Config) { c.LACs[0].Hello = 0 })
		call := l.upCall(r, "alice", nil)
		w.drop = func(toLNS bool, h l2tp.Header, _ l2tp.MessageType) bool { return toLNS && h.Control }
		r.run(time.Hour)
		if len(w.told(l2tp.MessageHello)) != 0 || l.down != nil || call.closed {
			t.Errorf("%d HELLOs; tunnel %+v, session closed %v", len(w.told(l2tp.MessageHello)), l.down, call.closed)
		}
	})
	t.Run("never sent by the LAC", func(t *testing.T) {
		r, l, w := tunnelUp(t, nil)
		r.run(10 * time.Minute)
		if n := len(w.told(l2tp.MessageHello)); n < 9 || n > 10 || l.down != nil {
			t.Errorf("%d HELLOs in ten minutes, tunnel %+v", n, l.down)
		}
	})
	t.Run("any control message is a sign of life", func(t *testing.T) {
		r, l, w := tunnelUp(t, func(c *Config) { c.LACs[0].Hello = 30 * time.Second })
		for range 30 {
			r.run(20 * time.Second)
			wen := &l2tp.Message{Type: l2tp.MessageWEN}
			wen.Set(l2tp.AVPCallErrors)
			l.t.Send(r.clock.now, wen, 9999, &l.fx)
		}
		if n := len(w.told(l2tp.MessageHello)); n != 0 || l.down != nil {
			t.Errorf("%d HELLOs to a LAC that talks; tunnel %+v", n, l.down)
		}
	})
}

// A LAC behind NAT comes from any port and may move; it hears only the address it has called.
func TestQuirk05MovingLAC(t *testing.T) {
	second := netip.MustParseAddrPort("192.0.2.2:1701")
	for _, float := range []bool{false, true} {
		r := newRigOn(t, []netip.AddrPort{lnsAddress, second}, func(c *Config) { c.LACs[0].FloatPeer = float })
		c := lacConfig()
		c.Control.Hello = 10 * time.Second
		l := r.lacWith("198.51.100.1:40321", c)
		l.listener = 1
		r.until(5*time.Second, "tunnel up", func() bool { return l.up })
		call := l.upCall(r, "alice", nil)
		delete(r.lacs, l.address)
		l.address = netip.MustParseAddrPort("198.51.100.9:51111")
		r.lacs[l.address] = l
		r.run(time.Minute)
		s := r.session("alice")
		if !float {
			if r.stats().Dropped["wrong-source"] == 0 {
				t.Error("another address was heard though the profile does not allow it")
			}
			continue
		}
		if s == nil || l.down != nil {
			t.Fatalf("the LAC moved and lost its session; tunnel %+v", l.down)
		}
		call.ping(call.client.Address(), 100)
		r.run(time.Second)
		r.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), s.address, 200))
		r.run(time.Second)
		if len(r.core) != 1 || len(call.packets) != 1 {
			t.Errorf("after the move %d packets went up, %d down", len(r.core), len(call.packets))
		}
	}
}

// The LAC's window may be absent, one, or large. Ours is large, since a LAC with
// a whole exchange to dial again paces its ICRQs to it.
func TestQuirk06Windows(t *testing.T) {
	for _, c := range []struct {
		name        string
		window      uint16
		absent      bool
		atMost, own int
	}{{"absent", 8, true, 4, 128}, {"one", 1, false, 1, 128}, {"128", 128, false, 128, 128}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			w := watchWire(r)
			if c.absent {
				r.mangle = without(l2tp.MessageSCCRQ, l2tp.AVPReceiveWindow.Attribute())
			}
			cfg := lacConfig()
			cfg.Control.Window = c.window
			l := r.lacWith("198.51.100.1:1701", cfg)
			acked, flight := uint16(0), 0
			w.drop = func(toLNS bool, h l2tp.Header, typ l2tp.MessageType) bool {
				if h.Control && toLNS {
					acked = h.Nr
				} else if h.Control && typ != 0 {
					flight = max(flight, int(h.Ns-acked)+1)
				}
				return false
			}
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			var calls []*rigCall
			for range 300 {
				calls = append(calls, l.dial("alice", nil))
			}
			r.until(time.Minute, "all up", func() bool {
				return !slices.ContainsFunc(calls, func(c *rigCall) bool { return !c.up })
			})
			if flight > c.atMost || c.atMost > 4 && flight <= 4 {
				t.Errorf("%d messages were on their way at once, the window is %d", flight, c.atMost)
			}
			if m := w.told(l2tp.MessageSCCRP); len(m) != 1 || int(m[0].ReceiveWindow) < c.own {
				t.Errorf("the LAC was offered a window of %d", m[0].ReceiveWindow)
			}
		})
	}
}
