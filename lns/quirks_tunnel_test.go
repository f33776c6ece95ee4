package lns

import (
	"bytes"
	"log/slog"
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

// LACs hide what they like, and set and clear M bits as they like.
func TestQuirk08HiddenAVPs(t *testing.T) {
	flip := func(b []byte) []byte {
		b = slices.Clone(b)
		eachAVP(b, func(a []byte) { a[0] ^= 0x80 })
		return b
	}
	for name, c := range map[string]struct {
		hide   bool
		mangle func([]byte) []byte
	}{
		"hidden": {true, nil}, "M bits the other way round": {false, flip}, "both": {true, flip},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			w := watchWire(r)
			r.mangle = c.mangle
			cfg := lacConfig()
			cfg.Hide = c.hide
			l := r.lacWith("198.51.100.1:1701", cfg)
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			l.upCall(r, "alice", func(m *l2tp.Message) { m.CallingNumber = []byte("0800123") })
			if got := r.aaa.reqs[0].Identity.CallingStation; got != "0800123" {
				t.Errorf("AAA was told the calling number %q", got)
			}
			for _, m := range w.toLNS {
				if m.m.Type == l2tp.MessageICRQ && bytes.Contains(m.raw, []byte("0800123")) == c.hide {
					t.Errorf("on the wire the number can be read: %v", !c.hide)
				}
			}
		})
	}
	// A wrong length is a fault all the same, of the session alone.
	r, l, w := tunnelUp(t, nil)
	r.mangle = appendAVPs(l2tp.MessageICRQ, avp(true, 0, l2tp.AVPBearerType.Attribute(), 1))
	c := l.dial("alice", nil)
	r.until(5*time.Second, "ended", func() bool { return len(w.told(l2tp.MessageCDN)) > 0 })
	if l.down != nil || c.up {
		t.Errorf("tunnel %+v, session up %v", l.down, c.up)
	}
}

// vendors are those whose AVPs LACs are known to send.
var vendors = []uint16{3561, 9, 529, 2352}

// What a LAC says about itself in AVPs of its vendor is skipped; one that must be
// understood ends what RFC 2661 section 4.1 says, unless the profile knows better.
func TestQuirk09VendorAVPs(t *testing.T) {
	for _, vendor := range vendors {
		for _, c := range []struct {
			in                l2tp.MessageType
			mandatory, accept bool
			tunnel, session   bool // whether it comes up
		}{
			{l2tp.MessageSCCRQ, false, false, true, true},
			{l2tp.MessageICRQ, false, false, true, true},
			{l2tp.MessageICCN, false, false, true, true},
			{l2tp.MessageSCCRQ, true, false, false, false},
			{l2tp.MessageICRQ, true, false, true, false},
			{l2tp.MessageICCN, true, false, true, false},
			{l2tp.MessageSCCCN, false, false, true, true},
			{l2tp.MessageSCCCN, true, false, false, false},
			{l2tp.MessageSCCCN, true, true, true, true},
			{l2tp.MessageSCCRQ, true, true, true, true},
			{l2tp.MessageICRQ, true, true, true, true},
			{l2tp.MessageICCN, true, true, true, true},
		} {
			r := newRig(t, func(cfg *Config) { cfg.LACs[0].AcceptUnknownMandatory = c.accept })
			w := watchWire(r)
			r.mangle = appendAVPs(c.in, slices.Concat(avp(c.mandatory, vendor, 200, 1, 2, 3), avp(c.mandatory, vendor, 201)))
			l := r.lac(1, "tunnel secret")
			r.until(10*time.Second, "decided", func() bool { return l.up || l.down != nil })
			r.run(time.Second) // the LAC counts its tunnel as up before its SCCCN is judged
			if l.up = l.up && l.down == nil; l.up != c.tunnel {
				t.Errorf("vendor %d in %v: tunnel up %v, want %v", vendor, c.in, l.up, c.tunnel)
			}
			if !c.tunnel {
				if stop := w.told(l2tp.MessageStopCCN); len(stop) == 0 || stop[0].Result.Error != l2tp.ErrorUnknownAVP {
					t.Errorf("vendor %d in %v: the LAC was told %v", vendor, c.in, stop)
				}
				continue
			}
			call := l.dial("alice", nil)
			r.until(10*time.Second, "decided", func() bool { return call.up || call.cdn != nil })
			if call.up != c.session || l.down != nil {
				t.Errorf("vendor %d in %v: session up %v, want %v; tunnel %+v", vendor, c.in, call.up, c.session, l.down)
			}
			switch {
			case c.session && r.aaa.reqs[0].Identity.CallingStation != "0123":
				t.Errorf("vendor %d in %v: a known AVP got lost", vendor, c.in)
			case !c.session && (call.cdn.Code != l2tp.ResultGeneralError || call.cdn.Error != l2tp.ErrorUnknownAVP):
				t.Errorf("vendor %d in %v: the LAC was told %v", vendor, c.in, call.cdn)
			}
		}
	}
}

// A name may be anything or nothing; what a LAC is treated by is its address first.
func TestQuirk19HostNames(t *testing.T) {
	for _, host := range []string{"", "x", "abc", "four", strings.Repeat("h", 255), "\xff\x00\n"} {
		for _, vendor := range []string{"", "v"} {
			r := newRig(t, func(c *Config) {
				c.LACs = append(c.LACs, testProfile("zz-by-name", func(p *LACProfile) { p.HostNames, p.Secret = []string{host}, "other" }))
			})
			r.mangle = func(b []byte) []byte { return withName(withName(b, 7, host), 8, vendor) }
			l := r.lacWith("198.51.100.1:1701", lacConfig())
			r.run(3 * time.Second)
			if !l.up {
				t.Errorf("host name %q, vendor name %q: the tunnel is not up: %+v", host, vendor, l.down)
				continue
			}
			l.upCall(r, "alice", nil)
			if who := r.aaa.reqs[0].Identity; who.LAC != "lac" || who.TunnelClientName != host {
				t.Errorf("profile %s, name %q, want the address's profile and %q", who.LAC, who.TunnelClientName, host)
			}
		}
	}
}

// Where no address says which profile, the name does.
func TestQuirk19ByHostName(t *testing.T) {
	for host, want := range map[string]string{"bras-7.example.net": "named", "other": "any"} {
		r := newRig(t, func(c *Config) {
			c.LACs[0].Name, c.LACs[0].Prefixes = "any", nil
			c.LACs = append(c.LACs, testProfile("named", func(p *LACProfile) { p.HostNames, p.Secret = []string{"bras-7.example.net"}, "tunnel secret" }))
		})
		cfg := lacConfig()
		cfg.HostName = host
		l := r.lacWith("198.51.100.1:1701", cfg)
		r.until(5*time.Second, "tunnel up", func() bool { return l.up })
		l.upCall(r, "alice", nil)
		if got := r.aaa.reqs[0].Identity.LAC; got != want {
			t.Errorf("%q has the profile %q, want %q", host, got, want)
		}
	}
}

// withName puts a value into the SCCRQ's AVP.
func withName(b []byte, attribute uint16, value string) []byte {
	if typeOf(b) != l2tp.MessageSCCRQ {
		return b
	}
	b = without(l2tp.MessageSCCRQ, attribute)(b)
	return appendAVPs(l2tp.MessageSCCRQ, avp(true, 0, attribute, []byte(value)...))(b)
}

// Control messages out of order, twice, and with acknowledgements between them are
// taken in order, once.
func TestQuirk21DisorderedControl(t *testing.T) {
	r, l, w := tunnelUp(t, nil)
	var held [][]byte
	r.mangle = func(b []byte) []byte {
		if typeOf(b) == l2tp.MessageICRQ {
			held = append(held, slices.Clone(b))
			return []byte{0xc8} // no datagram at all
		}
		return b
	}
	base := l.t.Ns()
	for i := range 5 {
		icrq := &l2tp.Message{Type: l2tp.MessageICRQ, AssignedSessionID: uint16(100 + i), CallSerial: uint32(i)}
		icrq.Set(l2tp.AVPAssignedSessionID, l2tp.AVPCallSerial)
		b := icrq.Append(l2tp.ControlHeader(l.t.PeerID(), 0, base+uint16(i), l.t.Nr()).Append(nil))
		l2tp.PutLength(b)
		held = append(held, b)
	}
	zlb := l2tp.ControlHeader(l.t.PeerID(), 0, base+5, l.t.Nr()).Append(nil)
	l2tp.PutLength(zlb)
	beyond := slices.Clone(held[0])
	beyond[8], beyond[9] = byte((base+5000)>>8), byte(base+5000)
	for _, b := range [][]byte{held[3], zlb, held[1], held[1], beyond, held[4], zlb, held[0], held[3], held[2], held[0], zlb} {
		r.plane.Inject(0, l.address, b)
	}
	r.run(time.Second)
	if _, n, _ := r.counts(); n != 5 {
		t.Errorf("%d sessions, want 5", n)
	}
	order := []uint16{}
	for _, s := range w.toLAC {
		if s.m.Type == l2tp.MessageICRP && !slices.Contains(order, s.SessionID) {
			order = append(order, s.SessionID)
		}
	}
	if !slices.Equal(order[:1], []uint16{100}) {
		t.Errorf("the first answer was to call %v", order)
	}
	acks := w.acks
	r.plane.Inject(0, l.address, held[2])
	r.run(wheelTick)
	if w.acks != acks+1 {
		t.Errorf("a message that came again was acknowledged %d times", w.acks-acks)
	}
	if r.stats().Dropped["control"] == 0 {
		t.Error("what was beyond the window was not counted")
	}
}

// Wholesalers bring a handful of addresses, or hundreds, to several of ours.
func TestQuirk23ManyAddresses(t *testing.T) {
	var listen []netip.AddrPort
	for i := range 8 {
		listen = append(listen, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), 1701))
	}
	r := newRigOn(t, listen, func(c *Config) {
		c.LACs = append(c.LACs, testProfile("premium", func(p *LACProfile) {
			p.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.128/25")}
			p.Secret = "tunnel secret"
		}))
	})
	var calls []*rigCall
	for i := range 200 {
		l := r.lacWith(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(20 + i)}), 1701).String(), lacConfig())
		l.listener = uint16(i % len(listen))
	}
	r.until(10*time.Second, "all tunnels up", func() bool {
		for _, l := range r.lacs {
			if !l.up {
				return false
			}
		}
		return true
	})
	for _, l := range r.lacs {
		calls = append(calls, l.dial("user", nil))
	}
	r.until(20*time.Second, "all up", func() bool { return !slices.ContainsFunc(calls, func(c *rigCall) bool { return !c.up }) })
	for _, req := range r.aaa.reqs {
		want, local := "lac", listen[(int(req.Identity.TunnelClient.As4()[3])-20)%len(listen)].Addr()
		if req.Identity.TunnelClient.As4()[3] >= 128 {
			want = "premium"
		}
		if req.Identity.LAC != want || req.Identity.TunnelServer != local {
			t.Errorf("LAC %v has profile %s on %v, want %s on %v", req.Identity.TunnelClient, req.Identity.LAC, req.Identity.TunnelServer, want, local)
		}
	}
}

// One LAC, one address, one port, and several tunnels.
func TestQuirk24SeveralTunnelsPerPair(t *testing.T) {
	r := newRig(t, nil)
	var lacs []*rigLAC
	for i := range 3 {
		l := newLAC(r, netip.MustParseAddrPort("198.51.100.1:1701"), uint16(700+i), lacConfig())
		// The map is by address: the others are found by their tunnel's id.
		r.lacs[netip.AddrPortFrom(l.address.Addr(), uint16(1701+i))] = l
		lacs = append(lacs, l)
	}
	r.lose = func(toLNS bool, b []byte) bool {
		h, _, err := l2tp.ParseHeader(b)
		if toLNS || err != nil || h.TunnelID == 700 {
			return false
		}
		lacs[h.TunnelID-700].receive(b)
		return true
	}
	r.until(10*time.Second, "all up", func() bool { return lacs[0].up && lacs[1].up && lacs[2].up })
	if n, _, _ := r.counts(); n != 3 {
		t.Errorf("%d tunnels, want 3", n)
	}
	for _, l := range lacs {
		l.upCall(r, "alice", nil)
	}
	lacs[1].t.Stop(r.clock.now, l2tp.Result{Code: l2tp.StopGeneral}, &lacs[1].fx)
	r.run(5 * time.Second)
	if lacs[0].down != nil || lacs[2].down != nil {
		t.Error("one tunnel's end ended another of the same LAC")
	}
	lacs[2].upCall(r, "bob", nil)
}

// A subscriber's goodbye that comes after its tunnel's is no fault.
func TestQuirk25GoodbyeAfterStopCCN(t *testing.T) {
	var log bytes.Buffer
	r, l, c := oneUp(t, func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	l.t.Stop(r.clock.now, l2tp.Result{Code: l2tp.StopShutdown}, &l.fx)
	r.run(time.Second)
	w := watchWire(r)
	for range 3 {
		c.data([]byte{0xff, 3, 0xc0, 0x21, 5, 9, 0, 4})
		r.run(time.Second)
	}
	if n := r.stats().Dropped["no-session"]; n != 3 {
		t.Errorf("%d frames were counted, want 3", n)
	}
	if log.Len() != 0 || len(w.toLAC) != 0 {
		t.Errorf("it was answered by %v and logged: %s", w.toLAC, log.String())
	}
}

// LACs come over IPv6 as well.
func TestQuirk26IPv6(t *testing.T) {
	r := newRigOn(t, []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:1701")}, func(c *Config) {
		c.LACs[0].Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:f::/48")}
	})
	l := r.lacWith("[2001:db8:f::7]:1701", lacConfig())
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.upCall(r, "alice", nil)
	if who := r.aaa.reqs[0].Identity; who.TunnelClient != l.address.Addr() || who.TunnelServer != r.listen[0].Addr() {
		t.Errorf("AAA was told %v and %v", who.TunnelClient, who.TunnelServer)
	}
	c.ping(c.client.Address(), 1400)
	r.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), c.client.Address(), 1400))
	r.run(time.Second)
	if len(r.core) != 1 || len(c.packets) != 1 {
		t.Errorf("%d packets went up, %d down", len(r.core), len(c.packets))
	}
	for _, rec := range r.journal.sessions {
		if rec.LAC != l.address {
			t.Errorf("the record has the LAC at %v", rec.LAC)
		}
	}
}
