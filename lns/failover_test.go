package lns

import (
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/proto/l2tp"
	"culvert/sessiondb"
)

var bothCan = l2tp.Failover{Control: true, Data: true, RecoveryTime: time.Minute}

// failoverRig has three calls up: alice stays, bob hangs up and carol is dialled after the copy of the records,
// so that the numbers and the sessions of the copy are older than what the LAC has.
type failoverRig struct {
	*rig
	l     *rigLAC
	alice *rigCall
	carol *rigCall
	old   *memJournal
	mode  string
}

func newFailoverRig(t *testing.T, mode string, offer l2tp.Failover) *failoverRig {
	f := &failoverRig{mode: mode}
	f.rig = newRig(t, f.profile)
	f.l = f.failoverLAC(1, offer)
	f.until(5*time.Second, "tunnel up", func() bool { return f.l.up })
	f.alice = f.upCall("alice")
	bob := f.upCall("bob")
	f.run(time.Second)
	f.old = newMemJournal()
	f.old.epoch = f.journal.epoch
	maps.Copy(f.old.tunnels, f.journal.tunnels)
	maps.Copy(f.old.sessions, f.journal.sessions)
	maps.Copy(f.old.calls, f.journal.calls)
	bob.hangUp()
	f.carol = f.upCall("carol")
	f.run(time.Second)
	return f
}

func (f *failoverRig) profile(c *Config) {
	if f.mode != "" {
		c.LACs[0].Failover = f.mode
	}
}

func (f *failoverRig) upCall(user string) *rigCall {
	f.t.Helper()
	c := f.l.dial(user, nil)
	f.until(5*time.Second, user+" up", func() bool { return c.up && f.session(user) != nil && f.session(user).state == stateUp })
	return c
}

// reboot has the node begin again with the copy; where the boot is another, its numbers may have drifted.
func (f *failoverRig) reboot(exact bool) {
	if exact {
		f.old = f.journal
	} else {
		f.clock.boot++
	}
	f.old.epoch = f.journal.epoch
	f.journal = f.old
	f.start(f.profile)
}

// takeOver has another node begin with the copy, as it would be in the cluster's store.
func (f *failoverRig) takeOver() {
	records := f.old
	f.journal = newMemJournal()
	f.start(f.profile)
	f.srv.inline = func(do func(*shard)) {
		for _, sh := range f.srv.shards {
			sh.now = f.clock.now
			do(sh)
			sh.flush()
		}
	}
	f.srv.running = true
	if _, err := f.srv.Recover(f.t.Context(), Recovered{Tunnels: records.Tunnels(f.t.Context()), Sessions: records.Sessions(f.t.Context()), Adopt: true}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *failoverRig) tunnelInfo() TunnelInfo {
	f.t.Helper()
	for _, sh := range f.srv.shards {
		for _, t := range sh.tunnels {
			if t.recovers == nil {
				return t.info()
			}
		}
	}
	f.t.Fatal("there is no tunnel")
	return TunnelInfo{}
}

// works checks that alice's session forwards, and that new calls come up.
func (f *failoverRig) works() {
	f.t.Helper()
	if f.l.down != nil || f.alice.closed {
		f.t.Fatalf("the LAC's tunnel is down (%+v), or alice's link is", f.l.down)
	}
	seen := len(f.core)
	f.alice.ping(f.alice.client.Address(), 100)
	f.run(time.Second)
	if len(f.core) != seen+1 {
		f.t.Error("alice's packet does not come through")
	}
	f.upCall("dave")
	f.run(3 * time.Minute) // HELLOs both ways
	if f.l.down != nil || f.session("alice") == nil || f.session("dave") == nil {
		f.t.Error("the tunnel does not live on")
	}
}

// TestFailoverByRFC4951: records that are older than what the LAC has are healed: the numbers agree, what only one end
// knows is cleared, everything else goes on.
func TestFailoverByRFC4951(t *testing.T) {
	for _, c := range []struct {
		name, mode string
		fail       func(f *failoverRig)
		loss       bool
	}{
		{"the machine was rebooted", FailoverAuto, func(f *failoverRig) { f.reboot(false) }, false},
		{"another node takes over", FailoverAuto, (*failoverRig).takeOver, false},
		{"another node takes over, and packets are lost", FailoverAuto, (*failoverRig).takeOver, true},
		{"always", FailoverAlways, (*failoverRig).takeOver, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFailoverRig(t, c.mode, bothCan)
			n := 0
			if c.loss {
				f.lose = func(bool, []byte) bool { n++; return n%3 == 0 }
			}
			c.fail(f)
			f.run(30 * time.Second)
			f.lose = nil
			x := f.l.recovery
			if x.resets != 1 || x.stops != 1 || len(x.unknown) != 1 || x.unknown[0] != f.carol.call.LocalID() {
				t.Errorf("%d resets, %d recovery tunnels ended, unknown to the LNS: %v", x.resets, x.stops, x.unknown)
			}
			if f.session("bob") != nil || f.session("carol") != nil {
				t.Error("a session lives on that the LAC does not have")
			}
			s, i := f.stats(), f.tunnelInfo()
			if s.Failovers["recovered"] != 1 || s.Failovers["silent"]+s.Failovers["failed"] != 0 || s.Downs["failover"] != 1 {
				t.Errorf("counted %v, %v", s.Failovers, s.Downs)
			}
			if i.Failed == nil || i.Failed.Kind != "recovered" || i.Failed.Asked != 2 || i.Failed.Cleared != 1 || i.Failed.Unsure != 0 || !i.Failover.Control {
				t.Errorf("%+v", i.Failed)
			}
			f.works()
			stop := f.aaa.usages[len(f.aaa.usages)-1]
			for _, u := range f.aaa.usages {
				if u.Kind == aaa.UsageStop && u.Identity.User == "bob" {
					stop = u
				}
			}
			if stop.Identity.User != "bob" || stop.Cause != aaa.CauseLostCarrier {
				t.Errorf("bob's Stop is %+v", stop)
			}
			// A restart later on is exact again.
			f.srv.running, f.srv.inline = false, nil
			f.start(f.profile)
			f.run(5 * time.Second)
			again := c.mode == FailoverAlways || f.clock.boot > 0 // sessions' records are of the boot before
			if s := f.stats(); (s.Failovers["silent"] == 0) != again || (x.resets == 2) != again {
				t.Errorf("after a restart: %v, %d resets", s.Failovers, x.resets)
			}
			f.alice.ping(f.alice.client.Address(), 100)
			f.run(5 * time.Minute)
			if f.l.down != nil || f.session("alice") == nil {
				t.Error("it does not live on")
			}
		})
	}
}

// TestSilentFailover: the LAC is told nothing where the numbers are exact, where it does not offer failover, and where
// the profile says never. What only one end knows then stays, until that end finds out by itself.
func TestSilentFailover(t *testing.T) {
	for _, c := range []struct {
		name, mode string
		offer      l2tp.Failover
		fail       func(f *failoverRig)
		agreed     bool // failover was negotiated
		drifted    bool
	}{
		{"exact", FailoverAuto, bothCan, func(f *failoverRig) { f.reboot(true) }, true, false},
		{"not offered", FailoverAuto, l2tp.Failover{}, (*failoverRig).takeOver, false, true},
		{"the control channel is not offered", FailoverAuto, l2tp.Failover{Data: true}, (*failoverRig).takeOver, false, true},
		{"never", FailoverNever, bothCan, (*failoverRig).takeOver, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFailoverRig(t, c.mode, c.offer)
			c.fail(f)
			f.run(20 * time.Second)
			s, i := f.stats(), f.tunnelInfo()
			if s.Failovers["silent"] != 1 || s.Failovers["recovered"] != 0 || f.l.recovery.resets != 0 || i.Failed.Kind != "silent" {
				t.Errorf("counted %v, %d resets, %+v", s.Failovers, f.l.recovery.resets, i.Failed)
			}
			if i.Failover.Control != c.agreed {
				t.Errorf("negotiated: %+v", i.Failover)
			}
			if ghost := f.session("bob") != nil; ghost != c.drifted {
				t.Errorf("bob, who has hung up, is here: %v", ghost)
			}
			f.works()
		})
	}
}

// TestRecoveryFails: where the LAC does not want the recovery, or is not there, the tunnel is cleared and each
// session gets its Stop.
func TestRecoveryFails(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(x *rigRecovery)
		why  string
	}{
		{"refused", func(x *rigRecovery) { x.refuse = true }, "refused"},
		{"not answered", func(x *rigRecovery) { x.mute = true }, "did not answer"},
		{"not authentic", func(x *rigRecovery) { cfg := *x.cfg; cfg.Secret = []byte("another"); x.cfg = &cfg }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFailoverRig(t, FailoverAuto, bothCan)
			c.do(f.l.recovery)
			f.takeOver()
			f.run(2 * time.Minute)
			s := f.stats()
			if s.Failovers["failed"] != 1 || s.Failovers["recovered"] != 0 || s.Downs["recovery-failed"] != 2 || f.session("alice") != nil {
				t.Errorf("counted %v, %v", s.Failovers, s.Downs)
			}
			stops := 0
			for _, u := range f.aaa.usages {
				if u.Kind == aaa.UsageStop && u.Cause == aaa.CauseLostService {
					stops++
				}
			}
			if tunnels, _, _ := f.counts(); tunnels != 0 || stops != 2 || len(f.srv.shards[0].accept.known) != 0 {
				t.Errorf("%d tunnels left, %d ids known, %d sessions accounted", tunnels, len(f.srv.shards[0].accept.known), stops)
			}
			f.run(2 * time.Minute)
			f.checkEmpty()
		})
	}
}

// TestTheLACFails: the LAC recovers the tunnel, alone or while this node does so too (RFC 4951 appendix B).
func TestTheLACFails(t *testing.T) {
	for _, both := range []bool{false, true} {
		f := newFailoverRig(t, FailoverAuto, bothCan)
		f.l.forget(f.carol) // which the failure has cost
		f.l.dial("late", nil)
		if both {
			f.takeOver()
		} else {
			f.lose = func(toLNS bool, _ []byte) bool { return !toLNS }
			f.step() // so that late waits for its ICCN
			f.lose = nil
		}
		f.l.recovery.fail()
		f.run(40 * time.Second)
		s, x := f.stats(), f.l.recovery
		if x.resets != 1 || s.Failovers["peer"]+s.Failovers["recovered"] != 1 || f.session("carol") != nil || s.Failovers["failed"] != 0 {
			t.Errorf("both %v: %d resets, %v", both, x.resets, s.Failovers)
		}
		if !both && (s.Failovers["peer"] != 1 || s.Downs["failover"] != 2) {
			t.Errorf("counted %v, %v; want carol and late cleared", s.Failovers, s.Downs)
		}
		f.works()
		if n := len(f.srv.shards[0].accept.known); n != 1 && !both || len(x.tunnels) != 0 {
			t.Errorf("both %v: %d ids known, %d tunnels at the LAC", both, n, len(x.tunnels))
		}
	}
}

// TestRecoveryRefused: an SCCRQ for a tunnel that cannot be recovered is refused, and nothing is left of it.
func TestRecoveryRefused(t *testing.T) {
	f := newFailoverRig(t, FailoverAuto, bothCan)
	plain := f.lac(2, "tunnel secret")
	f.until(5*time.Second, "tunnel up", func() bool { return plain.up })
	was, _, timers := f.counts()
	for _, c := range []struct {
		name string
		from string
		ids  l2tp.Recovery
	}{
		{"no such tunnel", "198.51.100.1:1701", l2tp.Recovery{Tunnel: f.l.t.LocalID(), Remote: 999}},
		{"another id of the LAC's", "198.51.100.1:1701", l2tp.Recovery{Tunnel: 77, Remote: f.l.t.PeerID()}},
		{"another address", "198.51.100.7:1701", l2tp.Recovery{Tunnel: f.l.t.LocalID(), Remote: f.l.t.PeerID()}},
		{"not negotiated", plain.address.String(), l2tp.Recovery{Tunnel: plain.t.LocalID(), Remote: plain.t.PeerID()}},
	} {
		x, fx := l2tp.NewTunnel(l2tp.RoleLAC, 500, f.l.recovery.cfg), l2tp.Effects{}
		x.OpenRecovery(f.time(), c.ids, &fx)
		from, refused := netip.MustParseAddrPort(c.from), ""
		f.rig.lose = func(toLNS bool, b []byte) bool {
			if h, payload, _ := l2tp.ParseHeader(b); !toLNS && h.TunnelID == 500 {
				var m l2tp.Message
				_ = l2tp.ParseMessage(payload, nil, &m)
				refused = m.Type.String() + " " + m.Result.String()
			}
			return false
		}
		if f.lacs[from] == nil {
			f.lacs[from] = &rigLAC{host: f, address: from, t: l2tp.NewTunnel(l2tp.RoleLAC, 9, f.l.recovery.cfg)}
		}
		f.plane.InjectMarked(0, from, 0, fx.Packets[0])
		f.run(time.Second)
		if !strings.HasPrefix(refused, "StopCCN 2/1") {
			t.Errorf("%s: answered %q", c.name, refused)
		}
	}
	f.lose = nil
	if tunnels, _, n := f.counts(); tunnels != was || n != timers || len(f.srv.shards[0].accept.known) != 2 {
		t.Errorf("%d tunnels, %d timers, were %d and %d; %d ids known", tunnels, n, was, timers, len(f.srv.shards[0].accept.known))
	}
	f.works()
}

// TestAnIDUsedAnew: before the LAC has confirmed a session, it uses its id for a new call: both are cleared
// (RFC 4951 section 3.3).
func TestAnIDUsedAnew(t *testing.T) {
	f := newFailoverRig(t, FailoverAuto, bothCan)
	f.takeOver()
	x := f.l.recovery
	f.until(20*time.Second, "reset", func() bool { return x.resets == 1 })
	bob := f.session("bob")
	if bob == nil {
		t.Fatal("bob has ended before the LAC has confirmed him")
	}
	var c *rigCall
	for _, sh := range f.srv.shards {
		for _, tun := range sh.tunnels {
			if tun.fail != nil && tun.fail.asked == nil {
				tun.fail.asked = map[uint16]struct{}{bob.key.Session: {}} // its answer is on its way
			}
		}
	}
	c = f.l.dialAs(bob.peerID, 999, "erin", nil)
	f.run(time.Second)
	if c.cdn == nil || f.session("bob") != nil || f.session("erin") != nil {
		t.Errorf("the call %+v, bob %v, erin %v", c.cdn, f.session("bob"), f.session("erin"))
	}
	f.works()
}

// TestKeptFailover has what was negotiated in the tunnel's record, and reads records without it.
func TestKeptFailover(t *testing.T) {
	for _, k := range []keptTunnel{
		{una: 5, vendor: "v"},
		{una: 5, failover: l2tp.Failover{Control: true, Data: true, RecoveryTime: 90 * time.Second}, behind: true},
		{failover: l2tp.Failover{Data: true}, last: true},
	} {
		got, err := parseKeptTunnel(k.append(nil))
		if err != nil || got != k {
			t.Errorf("%+v came back as %+v, %v", k, got, err)
		}
	}
	f := newFailoverRig(t, FailoverAuto, bothCan)
	if d := f.detach(); len(d) == 0 || d[0].Op != sessiondb.PutTunnel {
		t.Fatal(d)
	} else if k, err := parseKeptTunnel(d[0].Tunnel.State); err != nil || !k.last || k.behind || !k.failover.Control {
		t.Errorf("the last word of a tunnel is %+v, %v", k, err)
	}
}
