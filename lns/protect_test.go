package lns

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
)

// Whatever does not come through a LAC's own SA is dropped, counted and logged, from the first
// SCCRQ to the last data packet, and answered by nothing.
func TestIPsecRequired(t *testing.T) {
	for _, c := range []struct {
		name    string
		do      func(x *ipsecRig, l *rigLAC, c *rigCall)
		counter dropReason
		log     string
	}{
		{"SCCRQ in clear", func(x *ipsecRig, _ *rigLAC, _ *rigCall) { x.lacIn(3, 0) }, dropClear, "requires IPsec"},
		{"SCCRQ with a mark of no SA", func(x *ipsecRig, _ *rigLAC, _ *rigCall) { x.lacIn(3, 99) }, dropDeadSA, "belongs to no SA"},
		{"SCCRQ from another address than its SA's", func(x *ipsecRig, _ *rigLAC, _ *rigCall) {
			x.sa(17, 2, "b", "b's LAC")
			x.lacIn(3, 2)
		}, dropWrongSA, "not that of its SA"},
		{"SCCRQ through the SA of a profile that is gone", func(x *ipsecRig, _ *rigLAC, _ *rigCall) {
			x.sa(3, 2, "z", "z's LAC")
			x.lacIn(3, 2)
		}, dropWrongSA, "no longer there"},
		{"SCCRQ through the SA of a profile without IPsec", func(x *ipsecRig, _ *rigLAC, _ *rigCall) {
			x.sa(49, 2, "clear", "z's LAC")
			x.lacIn(49, 2)
		}, dropWrongSA, "uses no IPsec"},
		{"forged StopCCN in clear", func(x *ipsecRig, l *rigLAC, _ *rigCall) {
			x.plane.Inject(0, l.address, stopCCN(l))
		}, dropClear, "in clear for a tunnel that is protected"},
		{"forged StopCCN in clear from elsewhere", func(x *ipsecRig, l *rigLAC, _ *rigCall) {
			x.plane.Inject(0, netip.MustParseAddrPort("198.51.100.66:1701"), stopCCN(l))
		}, dropClear, "in clear for a tunnel that is protected"},
		{"forged StopCCN through another LAC's SA", func(x *ipsecRig, l *rigLAC, _ *rigCall) {
			x.sa(17, 2, "b", "b's LAC")
			x.plane.InjectMarked(0, l.address, 2, stopCCN(l))
		}, dropWrongSA, "another SA than its tunnel's"},
		{"forged StopCCN through the SA of a LAC of the same profile", func(x *ipsecRig, l *rigLAC, _ *rigCall) {
			x.sa(1, 2, "a", "another LAC")
			x.plane.InjectMarked(0, l.address, 2, stopCCN(l))
		}, dropWrongSA, "another SA than its tunnel's"},
		{"data in clear", func(x *ipsecRig, l *rigLAC, c *rigCall) {
			x.plane.Inject(0, l.address, packetOf(c))
		}, dropClear, "in clear for a tunnel that is protected"},
		{"data through another LAC's SA", func(x *ipsecRig, l *rigLAC, c *rigCall) {
			x.sa(17, 2, "b", "b's LAC")
			x.plane.InjectMarked(0, l.address, 2, packetOf(c))
		}, dropWrongSA, "another SA than its tunnel's"},
		{"data with a mark of no SA", func(x *ipsecRig, l *rigLAC, c *rigCall) {
			x.plane.InjectMarked(0, l.address, 99, packetOf(c))
		}, dropDeadSA, "belongs to no SA"},
		{"a clear LAC's data through a SA", func(x *ipsecRig, _ *rigLAC, _ *rigCall) {
			l := x.lacIn(49, 0)
			x.until(5*time.Second, "tunnel up", func() bool { return l.up })
			x.sa(49, 2, "either", "somebody")
			x.plane.InjectMarked(0, l.address, 2, packetOf(x.call(l, "carol")))
			if !x.flows(l.order[0]) {
				x.t.Error("the LAC in clear was disturbed")
			}
		}, dropWrongSA, "another SA than its tunnel's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newIPsecRig(t, nil)
			l, call := x.secure(1, 1, "a", "alice")
			sent, tunnels := x.stats(), len(x.srv.Tunnels())
			core := len(x.core)
			c.do(x, l, call)
			x.run(500 * time.Millisecond)
			if x.stats().Dropped[dropNames[c.counter]] == sent.Dropped[dropNames[c.counter]] {
				t.Errorf("%s was not counted: %v", dropNames[c.counter], x.stats().Dropped)
			}
			if !strings.Contains(x.log.String(), c.log) {
				t.Errorf("the log says nothing of %q:\n%s", c.log, x.log)
			}
			if n := len(x.srv.Tunnels()); n != tunnels && !strings.Contains(c.name, "clear LAC") {
				t.Errorf("there are %d tunnels, before %d", n, tunnels)
			}
			if len(x.core) != core && !strings.Contains(c.name, "clear LAC") {
				t.Error("a packet reached the core")
			}
			if l.down != nil || call.closed || !x.flows(call) {
				t.Error("the LAC whose SA is in order was disturbed")
			}
		})
	}
}

// A dropped SCCRQ is answered by nothing: an answer would leave in clear.
func TestIPsecNoAnswerInClear(t *testing.T) {
	x := newIPsecRig(t, nil)
	for _, l := range []*rigLAC{x.lacIn(3, 0), x.lacIn(4, 99)} {
		x.run(3 * time.Second)
		if l.up || l.down != nil || l.t.Nr() != 0 {
			t.Errorf("LAC %v was answered", l.address)
		}
	}
	if s := x.plane.Stats(); s.Sent+s.Withheld != 0 {
		t.Errorf("datagrams were sent: %+v", s)
	}
	// The same LAC through its SA is served, and shown as protected.
	l, c := x.secure(1, 7, "a", "alice")
	if !x.flows(c) {
		t.Error("no packets through the SA")
	}
	if sa := x.tunnelOf(l).SA; sa == nil || sa.Identity != "alice's LAC" || sa.Mark != 7 {
		t.Errorf("an operator sees the SA as %v", sa)
	}
	if !strings.Contains(x.log.String(), "protected=true") {
		t.Error("the log does not say that the tunnel is protected")
	}
}

// The profile is the SA's, whatever address or host name a LAC shows.
func TestIPsecProfileOfSA(t *testing.T) {
	x := newIPsecRig(t, func(c *Config, _ *fakeIPsec) {
		c.LACs = append(c.LACs,
			testProfile("any", func(l *LACProfile) { l.Secret, l.IPsec = "tunnel secret", ipsecProfile(IPsecRequired) }),
			testProfile("named", func(l *LACProfile) {
				l.Secret, l.IPsec, l.HostNames = "tunnel secret", ipsecProfile(IPsecRequired), []string{"somebody"}
			}))
	})
	// From an address that profile a matches better, but with the credentials of another.
	x.sa(1, 1, "any", "roamer")
	l := x.lacIn(1, 1)
	x.until(5*time.Second, "tunnel up", func() bool { return l.up })
	if p := x.tunnelOf(l).Profile; p != "any" {
		t.Errorf("the tunnel has profile %s, want that of its SA", p)
	}
	// With b's credentials from an address that is not b's, and of a profile for another host name.
	for mark, profile := range map[uint32]string{2: "b", 3: "named"} {
		x.sa(2, mark, profile, "roamer")
		l := x.lacIn(2, mark)
		x.until(5*time.Second, "refused", func() bool { return l.down != nil })
		if l.down.Result.Code != 4 || x.stats().Dropped["unknown-lac"] == 0 {
			t.Errorf("profile %s: refused with %+v", profile, l.down)
		}
	}
}

// Two LACs behind one address and port, each through its own SA.
func TestIPsecBehindOneNAT(t *testing.T) {
	x := newIPsecRig(t, nil)
	x.sa(1, 1, "a", "first")
	x.sa(1, 2, "a", "second")
	first, second := x.lacIn(1, 1), x.lacIn(1, 2)
	x.until(5*time.Second, "both tunnels up", func() bool { return first.up && second.up })
	alice, bob := x.call(first, "alice"), x.call(second, "bob")
	if !x.flows(alice) || !x.flows(bob) {
		t.Error("packets do not flow to both")
	}
	// Neither can touch the other's tunnel.
	x.plane.InjectMarked(0, first.address, 2, stopCCN(first))
	x.plane.InjectMarked(0, first.address, 2, packetOf(alice))
	x.run(time.Second)
	if n := x.stats().Dropped["wrong-sa"]; n != 2 || first.down != nil {
		t.Errorf("%d datagrams dropped as through the wrong SA, want 2", n)
	}
	// One SA's end is the end of its own tunnel alone.
	x.ike.gone(1, SAEnd{Cause: SAEndDPD})
	x.run(time.Second)
	if x.session("alice") != nil || x.session("bob") == nil || !x.flows(bob) {
		t.Error("the end of the first SA ended something else than its tunnel")
	}
}

// preferred takes both, shows which, and goes over to the SA when it is there.
func TestIPsecPreferred(t *testing.T) {
	x := newIPsecRig(t, nil)
	l := x.lacIn(33, 0)
	x.until(5*time.Second, "tunnel up in clear", func() bool { return l.up })
	c := x.call(l, "alice")
	if x.tunnelOf(l).SA != nil || !x.flows(c) {
		t.Error("the tunnel in clear is shown as protected, or does not work")
	}
	x.sa(33, 5, "either", "late")
	x.through(l, 5)
	delete(x.lacs, l.address)
	c.ping(c.client.Address(), 64)
	x.run(time.Second)
	if sa := x.tunnelOf(l).SA; sa == nil || sa.Mark != 5 || !x.flows(c) {
		t.Errorf("the tunnel has not followed its LAC into the SA: %v", sa)
	}
	// There is no way back.
	x.plane.Inject(0, l.address, stopCCN(l))
	x.run(time.Second)
	if l.down != nil || x.stats().Dropped["clear"] != 1 {
		t.Error("a datagram in clear was taken by a tunnel that is protected")
	}
	never := x.lacIn(49, 0)
	x.until(5*time.Second, "tunnel up of a LAC that never uses IPsec", func() bool { return never.up })
	if x.tunnelOf(never).SA != nil {
		t.Error("a tunnel in clear is shown as protected")
	}
}

// An operator stops a tunnel: the SA goes with the last one, after the LAC has its StopCCN.
func TestIPsecStopTunnel(t *testing.T) {
	x := newIPsecRig(t, nil)
	l, _ := x.secure(1, 1, "a", "alice")
	// A second tunnel in the same SA, from another port.
	second := x.lacIn(1, 0)
	delete(x.lacs, second.address)
	second.address = netip.AddrPortFrom(l.address.Addr(), 1702)
	x.through(second, 1)
	x.until(5*time.Second, "second tunnel up", func() bool { return second.up })
	stop := func(l *rigLAC) {
		i := x.tunnelOf(l)
		if err := x.srv.StopTunnel(i.Local, i.ID, "test"); err != nil {
			t.Fatal(err)
		}
	}
	stop(l)
	x.until(time.Minute, "tunnel ended", func() bool { return l.down != nil })
	x.run(time.Second)
	if len(x.ike.terminated) != 0 {
		t.Fatalf("the SA was ended though it has another tunnel")
	}
	stop(second)
	x.until(5*time.Second, "second tunnel ended", func() bool { return second.down != nil })
	x.until(time.Second, "SA ended", func() bool { return len(x.ike.terminated) == 1 })
	if x.ike.terminated[0] != 1 {
		t.Errorf("SA %d was ended", x.ike.terminated[0])
	}
	x.run(time.Minute)
	x.checkEmpty()
}

// The profiles in force are the key exchange's too.
func TestIPsecProfilesApplied(t *testing.T) {
	x := newIPsecRig(t, nil)
	if len(x.ike.applied) != 4 {
		t.Fatalf("%d profiles were applied at the start", len(x.ike.applied))
	}
	if err := x.srv.PutLAC(testProfile("c", func(p *LACProfile) { p.IPsec = ipsecProfile(IPsecRequired) })); err != nil || len(x.ike.applied) != 5 {
		t.Errorf("after PutLAC %d profiles are applied, %v", len(x.ike.applied), err)
	}
	if err := x.srv.DeleteLAC("c"); err != nil || len(x.ike.applied) != 4 {
		t.Errorf("after DeleteLAC %d profiles are applied, %v", len(x.ike.applied), err)
	}
	x.ike.conflict = errors.New("two keys for one")
	err := x.srv.PutLAC(testProfile("c", func(p *LACProfile) { p.IPsec = ipsecProfile(IPsecPreferred) }))
	if !errors.Is(err, ErrProfileConflict) || !strings.Contains(err.Error(), "two keys for one") || len(x.ike.applied) != 4 {
		t.Errorf("a LAC in the way of another one was taken: %v", err)
	}
	if err := x.srv.PutLAC(testProfile("c", nil)); err != nil {
		t.Errorf("a LAC without IPsec is in nobody's way: %v", err)
	}
	r := newRig(t, nil)
	err = r.srv.PutLAC(testProfile("c", func(p *LACProfile) { p.IPsec = ipsecProfile(IPsecRequired) }))
	if err == nil || !strings.Contains(err.Error(), "no key exchange") {
		t.Errorf("a LAC that requires IPsec was taken by a node without: %v", err)
	}
}

// Without marks the LAC's address tells its SA, as far as that goes.
func TestIPsecWithoutMarks(t *testing.T) {
	x := newIPsecRig(t, func(_ *Config, f *fakeIPsec) { f.unmarked = true })
	l, c := x.secure(1, 1, "a", "alice")
	if sa := x.tunnelOf(l).SA; sa == nil || !x.flows(c) {
		t.Error("the tunnel is not shown as protected, or does not work")
	}
	stranger := x.lacIn(2, 0)
	x.run(3 * time.Second)
	if stranger.up || x.stats().Dropped["clear"] == 0 {
		t.Error("a LAC whose address has no SA was taken")
	}
	x.ike.gone(1, SAEnd{Cause: SAEndExpired})
	x.run(time.Second)
	if x.session("alice") != nil || x.stats().Downs["ipsec-down"] != 1 {
		t.Error("the SA's end did not end the tunnel")
	}
}

// What ESP takes is not offered to the subscriber, and no packet to it is larger.
func TestIPsecMTU(t *testing.T) {
	const gcm, cbc = 1500 - 20 - 8 - 8 - 16 - 2 - 8 - 12, 1500 - 20 - 8 - 8 - 16 - 16 - 8 - 12
	x := newIPsecRig(t, nil)
	l, c := x.secure(1, 1, "a", "alice")
	got := int(c.client.PeerMRU())
	if got > gcm || got < gcm-3 {
		t.Errorf("the subscriber was offered an MRU of %d, want %d or a little less", got, gcm)
	}
	deliver := func(n int, df bool) (whole, fragments int) {
		before := len(c.packets)
		p := ipPacket(netip.MustParseAddr("203.0.113.5"), c.client.Address(), n)
		if df {
			p[6] |= 0x40
			p[10], p[11] = 0, 0
			sum := uint32(0)
			for i := 0; i < 20; i += 2 {
				sum += uint32(p[i])<<8 | uint32(p[i+1])
			}
			sum = sum>>16 + sum&0xffff
			p[10], p[11] = byte(^sum>>8), byte(^sum)
		}
		x.plane.InjectCore(p)
		x.run(100 * time.Millisecond)
		for _, q := range c.packets[before:] {
			if q[6]&0x20 != 0 || q[7] != 0 || q[6]&0x1f != 0 {
				fragments++
			} else {
				whole++
			}
		}
		return whole, fragments
	}
	if whole, _ := deliver(got, true); whole != 1 {
		t.Error("a packet of the MRU did not arrive whole")
	}
	if _, fragments := deliver(got+1, false); fragments != 2 {
		t.Errorf("a larger packet came in %d fragments, want 2", fragments)
	}
	core := len(x.core)
	if whole, fragments := deliver(got+1, true); whole+fragments != 0 || len(x.core) != core+1 {
		t.Error("a larger packet that may not be fragmented was not answered")
	} else if mtu := int(x.core[core][26])<<8 | int(x.core[core][27]); mtu != got {
		t.Errorf("its sender was told an MTU of %d, want %d", mtu, got)
	}
	// Rekeyed with an algorithm that takes more, the tunnel's sessions have less at once.
	sa := x.ike.sas[1]
	sa.ESP = ESP{Encryption: "AES_CBC", KeyBits: 256, Integrity: "HMAC_SHA2_256_128", Encapsulated: true}
	x.ike.up(sa)
	x.run(time.Second)
	if whole, _ := deliver(got, true); whole != 0 {
		t.Error("after the rekeying a packet of the old size was sent")
	}
	if whole, _ := deliver(cbc-8-15, true); whole != 1 {
		t.Error("after the rekeying a packet that fits was not sent")
	}
	_ = l
}

func TestIPsecCauseOfOperator(t *testing.T) {
	x := newIPsecRig(t, nil)
	x.secure(1, 1, "a", "alice")
	x.ike.gone(1, SAEnd{Cause: SAEndProfile})
	x.run(time.Second)
	last := x.aaa.usages[len(x.aaa.usages)-1]
	if x.session("alice") != nil || last.Kind != aaa.UsageStop || last.Cause != aaa.CauseAdminReset {
		t.Errorf("the last record is %+v", last)
	}
}
