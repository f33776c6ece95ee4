package lns

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/proto/l2tp"
)

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
