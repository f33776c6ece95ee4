package lns

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lac/subscriber"
	"culvert/proto/l2tp"
)

// oneUp makes a rig with one LAC and one subscriber up.
func oneUp(t *testing.T, change func(*Config)) (*rig, *rigLAC, *rigCall) {
	t.Helper()
	r := newRig(t, change)
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.dial("alice", nil)
	r.until(5*time.Second, "session up", func() bool { return c.up && r.session("alice").state == stateUp })
	return r, l, c
}

func TestOneCallUpAndDown(t *testing.T) {
	r, l, c := oneUp(t, nil)
	s := r.session("alice")
	if c.client.Address() != s.address || c.client.PeerAddress() != localAddr || c.client.DNS()[0] != netip.MustParseAddr("9.9.9.9") {
		t.Errorf("the subscriber has %v, %v, %v", c.client.Address(), c.client.PeerAddress(), c.client.DNS())
	}
	req := r.aaa.reqs[0]
	if req.Identity.User != "alice" || req.Identity.CallingStation != "0123" || req.Identity.ConnectInfo != "80000000/80000000" ||
		req.Identity.TunnelClient != l.address.Addr() || req.Identity.TunnelClientName != "lac" || req.Identity.LAC != "lac" {
		t.Errorf("AAA was asked for %+v", req.Identity)
	}
	c.ping(c.client.Address(), 100)
	c.ping(netip.MustParseAddr("192.0.2.99"), 100) // not its own address
	r.run(time.Second)
	if len(r.core) != 1 {
		t.Errorf("%d packets reached the core, want 1", len(r.core))
	}
	r.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), s.address, 200))
	r.run(time.Second)
	if len(c.packets) != 1 || len(c.packets[0]) != 200 {
		t.Errorf("the subscriber got %d packets", len(c.packets))
	}
	c.hangUp()
	r.run(time.Second)
	last := r.aaa.usages[len(r.aaa.usages)-1]
	if last.Kind != aaa.UsageStop || last.InOctets != 100 || last.InPackets != 1 || last.OutOctets != 200 || last.Cause != aaa.CauseLostCarrier {
		t.Errorf("the Stop is %+v", last)
	}
	r.srv.Drain(true)
	r.onShards(func(sh *shard) { sh.shutdown() })
	r.run(time.Minute)
	if l.down == nil || l.down.Result.Code != l2tp.StopShutdown {
		t.Errorf("the LAC's tunnel ended by %+v", l.down)
	}
	r.checkEmpty()
	r.checkAccounting(1)
}

// Every way a session can end has one cause, and everybody is told the right thing.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(*Config)
		grant  *aaa.Grant
		end    func(*rig, *rigLAC, *rigCall)
		wait   time.Duration
		cause  Cause
		cdn    l2tp.ResultCode // what the LAC was told; 0 is nothing
	}{
		{"subscriber", nil, nil, func(r *rig, _ *rigLAC, c *rigCall) {
			var fx subscriber.Effects
			c.client.Close(r.clock.now, &fx)
			c.effects(&fx)
		}, time.Second, CauseUserRequest, 3},
		{"subscriber, and the LAC clears the call", nil, nil, func(r *rig, _ *rigLAC, c *rigCall) {
			var fx subscriber.Effects
			c.client.Close(r.clock.now, &fx)
			c.effects(&fx)
			c.hangUp()
		}, time.Second, CauseUserRequest, 0},
		{"carrier lost", nil, nil, func(_ *rig, _ *rigLAC, c *rigCall) { c.hangUp() }, time.Second, CauseLACCarrierLost, 0},
		{"tunnel stopped by the LAC", nil, nil, func(r *rig, l *rigLAC, _ *rigCall) {
			l.t.Stop(r.clock.now, l2tp.Result{Code: l2tp.StopShutdown}, &l.fx)
		}, time.Second, CauseTunnelDown, 0},
		{"tunnel dead", nil, nil, func(r *rig, _ *rigLAC, _ *rigCall) {
			r.lose = func(bool, []byte) bool { return true }
		}, 3 * time.Minute, CauseTunnelTimeout, 0},
		{"subscriber silent", nil, nil, func(r *rig, _ *rigLAC, _ *rigCall) {
			r.lose = func(toLNS bool, b []byte) bool { return toLNS && b[0]&0x80 == 0 }
		}, 5 * time.Minute, CauseEchoTimeout, 1},
		{"operator", nil, nil, func(r *rig, _ *rigLAC, _ *rigCall) {
			r.onShards(func(sh *shard) {
				for _, s := range sh.sessions {
					sh.end(s, CauseAdminReset, "test")
				}
			})
		}, time.Second, CauseAdminReset, 3},
		{"session timeout", nil, &aaa.Grant{SessionTimeout: 90 * time.Second}, nil, 2 * time.Minute, CauseSessionTimeout, 3},
		{"idle timeout", nil, &aaa.Grant{IdleTimeout: 2 * time.Minute}, func(r *rig, _ *rigLAC, c *rigCall) {
			r.run(time.Minute)
			c.ping(c.client.Address(), 64)
			r.run(61 * time.Second)
			if r.session("alice") == nil {
				r.t.Error("ended as idle though there was traffic")
			}
		}, 4 * time.Minute, CauseIdleTimeout, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.config)
			r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) {
				if c.grant == nil {
					return &aaa.Grant{}, nil
				}
				g := *c.grant
				return &g, nil
			}
			l := r.lac(1, "tunnel secret")
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			call := l.dial("alice", nil)
			r.until(5*time.Second, "session up", func() bool { return call.up })
			other := l.dial("bob", func(m *l2tp.Message) { m.CallSerial = 77 })
			r.until(5*time.Second, "second session up", func() bool { return other.up })
			if c.end != nil {
				c.end(r, l, call)
			}
			r.until(c.wait, "ended", func() bool { return r.session("alice") == nil })
			r.run(time.Second)
			if n := r.stats().Downs[c.cause.String()]; n == 0 {
				t.Errorf("cause %v was not counted: %v", c.cause, r.stats().Downs)
			}
			if c.cdn != 0 && (call.cdn == nil || call.cdn.Code != c.cdn) {
				t.Errorf("the LAC was told %v, want %d", call.cdn, c.cdn)
			}
			r.lose = nil
			r.onShards(func(sh *shard) { sh.shutdown() })
			r.run(3 * time.Minute)
			r.checkEmpty()
			r.checkAccounting(2)
		})
	}
}

// A call that fails leaves nothing behind, is not accounted, and the LAC and the subscriber are told why.
func TestCallFailures(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(*rig)
		cause Cause
		cdn   l2tp.Result
	}{
		{"rejected", func(r *rig) {
			r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return nil, &aaa.RejectError{Message: "go away"} }
		}, CauseAuthRejected, l2tp.Result{Code: 3}},
		{"AAA away", func(r *rig) {
			r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return nil, aaa.ErrUnavailable }
		}, CauseAuthUnavailable, l2tp.Result{Code: 2, Error: 7}},
		{"pool full", func(r *rig) { r.aaa.full = true }, CauseNoAddress, l2tp.Result{Code: 2, Error: 7}},
		{"address of another", func(r *rig) {
			a := netip.MustParseAddr("100.64.9.9")
			r.aaa.held[a] = heldAddress{"bob", 999}
			r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return &aaa.Grant{Address: a}, nil }
		}, CauseAddressInUse, l2tp.Result{Code: 3}},
		// Here the subscriber is the first to lose patience.
		{"AAA never answers", func(r *rig) { r.aaa.hold = true }, CauseUserRequest, l2tp.Result{Code: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			c.setup(r)
			l := r.lac(1, "tunnel secret")
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			call := l.dial("alice", nil)
			r.until(2*time.Minute, "failed", func() bool { return call.cdn != nil })
			if call.up || call.cdn.Code != c.cdn.Code || call.cdn.Error != c.cdn.Error {
				t.Errorf("up %v, CDN %v, want %v", call.up, call.cdn, c.cdn)
			}
			if n := r.stats().Downs[c.cause.String()]; n != 1 {
				t.Errorf("causes %v, want %v", r.stats().Downs, c.cause)
			}
			delete(r.aaa.held, netip.MustParseAddr("100.64.9.9"))
			r.aaa.hold = false
			r.onShards(func(sh *shard) { sh.shutdown() })
			r.run(time.Minute)
			r.checkEmpty()
			r.checkAccounting(0)
		})
	}
}

// A link that begins anew while AAA thinks about its first name is not let in under its second.
func TestAGrantIsForOneNameOnly(t *testing.T) {
	r := newRig(t, nil)
	r.aaa.hold = true
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.dial("alice", nil)
	r.until(5*time.Second, "asked", func() bool { return len(r.aaa.asked) == 1 })
	c.client = subscriber.Client{}
	var fx subscriber.Effects
	c.client.Start(r.clock.now, &subscriberConfig, "mallory", "secret", rand.New(rand.NewPCG(9, 9)), &fx)
	c.effects(&fx)
	r.until(5*time.Second, "asked again", func() bool { return len(r.aaa.asked) == 2 })
	r.aaa.asked[0].done(&aaa.Grant{}, nil)
	r.run(2 * time.Second)
	if c.up || r.session("mallory").state == stateUp {
		t.Fatal("mallory is in with alice's grant")
	}
	r.aaa.asked[1].done(nil, &aaa.RejectError{})
	r.until(5*time.Second, "ended", func() bool { return c.cdn != nil })
	if n := r.stats().StaleAnswers; n != 1 {
		t.Errorf("%d stale answers", n)
	}
}

func TestSubscriberSeesTheServersMessage(t *testing.T) {
	r := newRig(t, nil)
	r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return nil, &aaa.RejectError{Message: "unpaid bill"} }
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	call := l.dial("alice", nil)
	r.until(time.Minute, "failed", func() bool { return call.closed })
	if !strings.Contains(call.message, "unpaid bill") {
		t.Errorf("the subscriber read %q", call.message)
	}
}

func TestTunnelAdmission(t *testing.T) {
	r := newRig(t, nil)
	wrong := r.lac(1, "not the secret")
	unknown := r.lac(2, "tunnel secret")
	delete(r.lacs, unknown.address)
	unknown.address = netip.MustParseAddrPort("203.0.113.77:1701")
	r.lacs[unknown.address] = unknown
	none := r.lac(3, "")
	good := r.lac(4, "tunnel secret")
	r.run(3 * time.Second)
	if !good.up {
		t.Error("the good LAC is not up")
	}
	for name, l := range map[string]*rigLAC{"wrong secret": wrong, "unknown": unknown, "no secret": none} {
		if l.down == nil {
			t.Errorf("%s: the tunnel did not end", name)
		}
	}
	if unknown.down.Result.Code != l2tp.StopNotAuthorized {
		t.Errorf("an unknown LAC was told %v", unknown.down.Result)
	}
	if d := r.stats().Dropped["unknown-lac"]; d == 0 {
		t.Error("the unknown LAC was not counted")
	}
	r.onShards(func(sh *shard) { sh.shutdown() })
	r.run(2 * time.Minute)
	r.checkEmpty()
}

func TestDrainRefusesCallsAndKeepsSessions(t *testing.T) {
	r, l, c := oneUp(t, nil)
	r.srv.Drain(true)
	second := l.dial("bob", nil)
	late := r.lac(2, "tunnel secret")
	r.run(2 * time.Second)
	if second.cdn == nil || second.cdn.Code != 2 || second.cdn.Error != 7 {
		t.Errorf("a call on a draining LNS got %v, want 2/7", second.cdn)
	}
	if late.down == nil || late.down.Result.Error != l2tp.ErrorTryAnother {
		t.Errorf("a tunnel on a draining LNS got %+v, want try another", late.down)
	}
	if c.closed || r.session("alice") == nil {
		t.Error("drain ended a session")
	}
	r.srv.Drain(false)
	third := l.dial("carol", nil)
	r.until(5*time.Second, "up after undrain", func() bool { return third.up })
}

func TestLimits(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSessions = 1; c.LACs[0].BusyResult = 4 })
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	first := l.dial("alice", nil)
	r.until(5*time.Second, "up", func() bool { return first.up })
	second := l.dial("bob", nil)
	r.run(2 * time.Second)
	if second.cdn == nil || second.cdn.Code != 4 {
		t.Errorf("a call beyond the bound got %v, want the profile's 4", second.cdn)
	}
	first.hangUp()
	r.run(time.Second)
	third := l.dial("bob", nil)
	r.until(5*time.Second, "up", func() bool { return third.up })
}

// A modem that lost power dials again before its LAC has noticed; its address is
// still held by its own stale session, which has to give way.
func TestRedialWithAFixedAddressReplacesTheStaleSession(t *testing.T) {
	r := newRig(t, nil)
	fixed := netip.MustParseAddr("100.64.7.7")
	r.aaa.decide = func(q aaa.Request) (*aaa.Grant, error) { return &aaa.Grant{Address: fixed}, nil }
	l, l2 := r.lac(1, "tunnel secret"), r.lac(2, "tunnel secret")
	r.until(5*time.Second, "tunnels up", func() bool { return l.up && l2.up })
	first := l.dial("alice", nil)
	r.until(5*time.Second, "up", func() bool { return first.up })
	second := l2.dial("alice", nil)
	r.until(5*time.Second, "second up", func() bool { return second.up && first.cdn != nil })
	if r.stats().Downs["replaced"] != 1 {
		t.Errorf("causes %v", r.stats().Downs)
	}
	r.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), fixed, 99))
	r.run(time.Second)
	if len(second.packets) != 1 || len(first.packets) != 0 {
		t.Errorf("the new session got %d packets, the old one %d", len(second.packets), len(first.packets))
	}
	r.onShards(func(sh *shard) { sh.shutdown() })
	r.run(2 * time.Minute)
	r.checkEmpty()
	r.checkAccounting(2)
}

func TestEarlyFramesAreKept(t *testing.T) {
	r := newRig(t, nil)
	l := r.lac(1, "tunnel secret")
	l.early = true
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.dial("alice", nil)
	r.until(5*time.Second, "up", func() bool { return c.up })
	if n := r.stats().Dropped["no-session"]; n != 0 {
		t.Errorf("%d frames were dropped", n)
	}
}

// A LAC that requires sequence numbers gets them, without a gap between the link's frames and the subscriber's packets.
func TestSequencingRequired(t *testing.T) {
	r := newRig(t, nil)
	l := r.lac(1, "tunnel secret")
	l.sequencing = true
	var numbers []uint16
	r.lose = func(toLNS bool, b []byte) bool {
		if !toLNS && b[0]&0x80 == 0 {
			h, _, err := l2tp.ParseHeader(b)
			if err != nil || !h.HasSequence {
				t.Errorf("data without a sequence number: %x, %v", b, err)
			}
			numbers = append(numbers, h.Ns)
		}
		return false
	}
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.dial("alice", nil)
	r.until(5*time.Second, "up", func() bool { return c.up })
	for range 3 {
		r.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), c.client.Address(), 99))
	}
	r.run(31 * time.Second) // an LCP Echo-Request follows
	if len(c.packets) != 3 || len(numbers) < 8 {
		t.Errorf("%d packets, %d data messages", len(c.packets), len(numbers))
	}
	for i, n := range numbers {
		if int(n) != i {
			t.Fatalf("sequence numbers %v", numbers)
		}
	}
}

func TestDuplicateAndReusedICRQ(t *testing.T) {
	r, l, c := oneUp(t, nil)
	// The same call once more, in a new message: ignored.
	again := &l2tp.Message{Type: l2tp.MessageICRQ, AssignedSessionID: 1, CallSerial: 1}
	again.Set(l2tp.AVPAssignedSessionID, l2tp.AVPCallSerial)
	l.t.Send(r.clock.now, again, 0, &l.fx)
	r.run(time.Second)
	if _, n, _ := r.counts(); n != 1 || c.closed {
		t.Errorf("%d sessions after a duplicate ICRQ", n)
	}
	if r.stats().Dropped["duplicate-icrq"] != 1 {
		t.Errorf("dropped: %v", r.stats().Dropped)
	}
	// Another call under the same id: the LAC has forgotten the first.
	again.CallSerial = 2
	l.t.Send(r.clock.now, again, 0, &l.fx)
	r.run(time.Second)
	if r.stats().Downs["replaced"] != 1 {
		t.Errorf("causes %v", r.stats().Downs)
	}
	r.onShards(func(sh *shard) { sh.shutdown() })
	r.run(2 * time.Minute)
	r.checkEmpty()
	r.checkAccounting(1)
}

func TestForeignAndSenselessDatagramsHarmNobody(t *testing.T) {
	r, l, c := oneUp(t, nil)
	s := r.session("alice")
	stop := &l2tp.Message{Type: l2tp.MessageStopCCN, AssignedTunnelID: l.t.LocalID(), Result: l2tp.Result{Code: 1}}
	stop.Set(l2tp.AVPAssignedTunnelID, l2tp.AVPResultCode)
	forged := l2tp.ControlHeader(l.t.PeerID(), 0, l.t.Ns(), l.t.Nr()).Append(nil)
	forged = stop.Append(forged)
	l2tp.PutLength(forged)
	evil := netip.MustParseAddrPort("198.51.100.66:1701")
	for _, d := range []struct {
		from netip.AddrPort
		b    []byte
	}{
		{evil, forged},
		{evil, append([]byte{0, 2, byte(s.key.Tunnel >> 8), byte(s.key.Tunnel), byte(s.key.Session >> 8), byte(s.key.Session)}, 0xff, 3, 0xc0, 0x21, 5, 9, 0, 4)},
		{l.address, []byte{0, 2, 0xff, 0xf0, 0, 9, 0xff, 3, 0xc0, 0x21, 9, 9, 0, 4}},
		{l.address, []byte{0xc8, 2, 0, 12, 0xff, 0xf0, 0, 0, 0, 0, 0, 0}},
		{l.address, []byte{0xc8, 2}},
		{l.address, []byte{0xc8, 3, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0}},
		{l.address, nil},
		{evil, []byte{0xc8, 2, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 8, 0, 0, 0, 0, 0, 1}},
	} {
		r.plane.Inject(0, d.from, d.b)
	}
	r.run(2 * time.Second)
	if c.closed || l.down != nil || r.session("alice") == nil {
		t.Fatal("a senseless datagram ended the session")
	}
	dropped := r.stats().Dropped
	for _, reason := range []string{"wrong-source", "no-tunnel", "no-session", "bad-sccrq"} {
		if dropped[reason] == 0 {
			t.Errorf("%s was not counted: %v", reason, dropped)
		}
	}
}

func TestInterimAccounting(t *testing.T) {
	r, _, c := oneUp(t, nil)
	c.ping(c.client.Address(), 300)
	r.run(21 * time.Minute)
	var kinds []string
	for _, u := range r.aaa.usages {
		kinds = append(kinds, u.Kind.String())
	}
	if !slices.Equal(kinds, []string{"Start", "Interim-Update", "Interim-Update"}) {
		t.Fatalf("records: %v", kinds)
	}
	if u := r.aaa.usages[2]; u.InOctets != 300 || u.Duration.Round(time.Second) != 20*time.Minute {
		t.Errorf("the second interim has %d octets after %v", u.InOctets, u.Duration)
	}
	for _, rec := range r.journal.sessions {
		if rec.InOctets != 300 || rec.User != "alice" || !rec.Address.IsValid() {
			t.Errorf("the record is %+v", rec)
		}
	}
}

func TestAFailingJournalDoesNotStopTheService(t *testing.T) {
	r, l, _ := oneUp(t, nil)
	r.journal.fail = errors.New("disk full")
	c := l.dial("bob", nil)
	r.until(5*time.Second, "up", func() bool { return c.up })
	// The ledger is told all the same; only its durability is gone.
	if n := len(r.aaa.usages); n != 2 {
		t.Errorf("%d accounting records, want both Starts", n)
	}
	if r.stats().JournalErrors == 0 {
		t.Error("nobody counted the journal's failures")
	}
}

func TestProvisionedProfilesSurvive(t *testing.T) {
	r := newRig(t, nil)
	p := testProfile("extra", func(p *LACProfile) {
		p.Prefixes = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		p.Secret = "x"
	})
	if err := r.srv.PutLAC(p); err != nil {
		t.Fatal(err)
	}
	if err := r.srv.PutLAC(LACProfile{Name: "bad"}); err == nil {
		t.Error("a profile without anything was taken")
	}
	r.start(nil)
	if q := r.srv.profiles.match(netip.MustParseAddr("203.0.113.1"), ""); q == nil || q.Name != "extra" || q.Secret != "x" {
		t.Errorf("after a restart the LAC matches %v", q)
	}
	if err := r.srv.DeleteLAC("extra"); err != nil {
		t.Fatal(err)
	}
	r.start(nil)
	if len(r.srv.LACs()) != 1 {
		t.Errorf("profiles after removal: %v", r.srv.LACs())
	}
}
