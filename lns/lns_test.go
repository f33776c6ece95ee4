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
