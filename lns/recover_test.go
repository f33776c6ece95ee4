package lns

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/proto/l2tp"
)

// TestARestartIsNotNoticed kills the node under two sessions: nobody authenticates, negotiates or
// is accounted anew, and everything goes on with the same ids, addresses and counters.
func TestARestartIsNotNoticed(t *testing.T) {
	r, l, c := oneUp(t, nil)
	d := l.dial("bob", nil)
	r.until(5*time.Second, "up", func() bool { return d.up })
	c.ping(c.client.Address(), 300)
	r.run(11 * time.Minute) // and an interim
	was, other := *r.session("alice"), *r.session("bob")
	asked, accounted := len(r.aaa.reqs), len(r.aaa.usages)
	r.start(nil)
	r.run(3 * time.Second)
	c.ping(c.client.Address(), 200)
	r.run(2 * time.Second)
	for _, w := range []session{was, other} {
		s := r.session(w.who.User)
		if s == nil {
			t.Fatalf("%s is gone", w.who.User)
		}
		if s.key != w.key || *s.who != *w.who || s.address != w.address || s.sinceWall != w.sinceWall || s.sinceMono != w.sinceMono ||
			s.times != w.times || s.method != w.method || s.peerID != w.peerID || s.serial != w.serial || s.link.Magic() != w.link.Magic() || s.link.MTU() != w.link.MTU() {
			t.Errorf("%s is\n%+v, was\n%+v", w.who.User, s, w)
		}
	}
	if len(r.aaa.reqs) != asked || len(r.aaa.usages) != accounted {
		t.Errorf("%d requests and %d records came after the restart", len(r.aaa.reqs)-asked, len(r.aaa.usages)-accounted)
	}
	if got := r.srv.Recovery(); got.Tunnels != 1 || got.Sessions != 2 || got.Cleared+got.Closed+got.Dropped != 0 {
		t.Errorf("recovered %+v", got)
	}
	if n := len(r.core); n != 2 || len(c.packets) != 0 {
		t.Errorf("%d packets came to the core", n)
	}
	if l.down != nil || c.closed || d.closed {
		t.Error("the LAC or a subscriber has noticed")
	}
	r.run(5 * time.Minute) // keepalives and HELLOs both ways
	c.hangUp()
	r.run(time.Second)
	last := r.aaa.usages[len(r.aaa.usages)-1]
	if last.Kind != aaa.UsageStop || last.InOctets != 500 || last.InPackets != 2 || last.Duration < 15*time.Minute || last.Identity != *was.who {
		t.Errorf("the Stop is %+v", last)
	}
	d.hangUp()
	r.run(time.Second)
	r.checkAccounting(2)
	r.stopTunnels()
	r.checkEmpty()
}

// stopTunnels ends everything from here and waits until that is over.
func (r *rig) stopTunnels() {
	r.t.Helper()
	r.onShards(func(sh *shard) { sh.shutdown() })
	r.run(time.Minute)
	if len(r.journal.calls) != 0 {
		r.t.Errorf("left in the journal: calls %v", r.journal.calls)
	}
}

// TestCallsBeingSetUpAreCleared kills the node at every moment of a call's set-up.
func TestCallsBeingSetUpAreCleared(t *testing.T) {
	r := newRig(t, nil)
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	for _, hold := range []bool{true, false} {
		r.aaa.hold = hold // half of them wait for AAA when the node dies
		c := l.dial("alice", nil)
		r.step()
		if !hold {
			r.lose = func(toLNS bool, b []byte) bool { return toLNS }
			d := l.dial("carol", nil)
			r.lose = nil
			_ = d
		}
		if hold {
			r.run(time.Second)
		}
		if c.up {
			t.Fatal("it is up already")
		}
		r.start(nil)
		if hold && r.srv.Recovery().Cleared != 1 {
			t.Errorf("recovered %+v", r.srv.Recovery())
		}
		r.run(10 * time.Second)
		if c.cdn == nil && !c.up {
			t.Errorf("the LAC still waits (state %v)", c.call.State())
		}
		r.aaa.hold = false
	}
	c := l.dial("bob", nil)
	r.until(5*time.Second, "up", func() bool { return c.up })
}

// TestKillsAtRandom lets calls come and go, with a LAC's datagrams lost, while the node dies between
// the steps of its shards again and again. What the LACs have in the end is what the
// node has, every session is accounted once, and the journal holds nothing else.
func TestKillsAtRandom(t *testing.T) {
	for seed := range uint64(30) {
		killsAtRandom(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func killsAtRandom(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, nil)
	loss := rnd.Float64() * 0.1
	r.lose = func(bool, []byte) bool { return rnd.Float64() < loss }
	var lacs []*rigLAC
	for i := range 3 {
		lacs = append(lacs, r.lac(i+1, "tunnel secret"))
	}
	r.until(time.Minute, "tunnels up", func() bool {
		return !slices.ContainsFunc(lacs, func(l *rigLAC) bool { return !l.up }) && r.tunnelsUp() == len(lacs)
	})
	users := 0
	for kills := 0; kills < 12; {
		l := lacs[rnd.IntN(len(lacs))]
		switch rnd.IntN(10) {
		case 0, 1, 2:
			users++
			l.dial(fmt.Sprintf("user%d", users), nil)
		case 3:
			if n := len(l.order); n > 0 {
				if c := l.order[rnd.IntN(n)]; c.up && c.cdn == nil && !c.closed && c.call.State() == l2tp.CallEstablished {
					c.hangUp()
				}
			}
		case 4:
			r.endOne(rnd)
		case 5:
			kills++
			r.dieBetween(rnd)
		default:
			r.run(time.Duration(1+rnd.IntN(80)) * wheelTick)
		}
	}
	r.lose = nil
	r.run(3 * time.Minute)
	r.checkLACs(lacs)
	r.checkAgreement(lacs)
	r.start(nil)
	r.run(time.Minute)
	r.checkAgreement(lacs)
	started := map[string]bool{}
	for _, u := range r.aaa.usages {
		started[u.Identity.AcctSessionID] = true
	}
	r.stopTunnels()
	r.checkAccounting(len(started))
	r.checkEmpty()
}

// dieBetween steps some shards and not the others, and loses what was sent in that, or not.
func (r *rig) dieBetween(rnd *rand.Rand) {
	for _, sh := range r.srv.shards {
		if rnd.IntN(2) == 0 {
			sh.inbox.take(&sh.spare)
			sh.step(r.clock.now, &sh.spare)
		}
	}
	if rnd.IntN(2) == 0 {
		r.sent = nil
	}
	r.start(nil)
	r.clock.now += time.Duration(rnd.IntN(300)) * time.Millisecond
}

// endOne ends some session from our side.
func (r *rig) endOne(rnd *rand.Rand) {
	r.onShards(func(sh *shard) {
		list := slices.SortedFunc(maps.Values(sh.sessions), func(a, b *session) int { return int(a.owner) - int(b.owner) })
		if len(list) > 0 && rnd.IntN(2) == 0 {
			sh.end(list[rnd.IntN(len(list))], CauseAdminReset, "")
		}
	})
}

func (r *rig) tunnelsUp() (n int) {
	for _, sh := range r.srv.shards {
		for _, t := range sh.tunnels {
			if t.up && !t.down {
				n++
			}
		}
	}
	return n
}

func (r *rig) checkLACs(lacs []*rigLAC) {
	r.t.Helper()
	for _, l := range lacs {
		if l.down != nil {
			r.t.Errorf("LAC %v lost its tunnel: %+v", l.address, l.down)
		}
	}
}

// checkAgreement compares what LACs, node, pool and journal hold.
func (r *rig) checkAgreement(lacs []*rigLAC) {
	r.t.Helper()
	want := map[string]string{} // by user: LAC and its session id
	for _, l := range lacs {
		for id, c := range l.calls {
			if c.call.State() == l2tp.CallEstablished && c.cdn == nil && c.up {
				want[r.userOf(l, id)] = fmt.Sprint(l.address, id)
			}
			if s := c.call.State(); s != l2tp.CallEstablished && s != l2tp.CallDown {
				r.t.Errorf("LAC %v: call %d hangs in state %v", l.address, id, s)
			}
		}
	}
	got := map[string]string{}
	for _, sh := range r.srv.shards {
		for _, s := range sh.sessions {
			got[s.who.User] = fmt.Sprint(*s.facts.peer.Load(), s.peerID)
			if h := r.aaa.held[s.address]; h.owner != s.owner {
				r.t.Errorf("%s has %v, which the pool gave to %+v", s.who.User, s.address, h)
			}
		}
	}
	delete(want, "")
	if !maps.Equal(got, want) {
		r.t.Errorf("the node has\n%v, the LACs have\n%v", got, want)
	}
	if len(r.aaa.held) != len(got) || len(r.journal.sessions) != len(got) || len(r.journal.calls) != len(got) {
		r.t.Errorf("%d sessions; %d addresses, %d records, %d calls", len(got), len(r.aaa.held), len(r.journal.sessions), len(r.journal.calls))
	}
	if n := int(r.srv.sessions.Load()); n != len(got) || r.srv.settingUp.Load() != 0 {
		r.t.Errorf("%d sessions and %d being set up are counted, want %d and 0", n, r.srv.settingUp.Load(), len(got))
	}
}

// userOf finds the name of a LAC's call in what AAA was asked.
func (r *rig) userOf(l *rigLAC, id uint16) string {
	for i := len(r.aaa.reqs) - 1; i >= 0; i-- {
		q := &r.aaa.reqs[i].Identity
		if q.TunnelClient == l.address.Addr() && q.TunnelConnection == fmt.Sprint(id) {
			return q.User
		}
	}
	return ""
}

// TestTimersGoOn restarts the node in the middle of each of a session's times, in the same boot
// and, the wall clock set wrong meanwhile, in another.
func TestTimersGoOn(t *testing.T) {
	for _, c := range []struct {
		name       string
		reboot     bool
		jump, left time.Duration
	}{
		{name: "same boot", left: 5 * time.Minute},
		{name: "same boot, clock set a year ahead", jump: 365 * 24 * time.Hour, left: 5 * time.Minute},
		{name: "another boot", reboot: true, left: 5 * time.Minute},
		{name: "another boot, clock set back", reboot: true, jump: -time.Hour, left: 5 * time.Minute},
		{name: "another boot, a minute later", reboot: true, jump: time.Minute, left: 4 * time.Minute},
		{name: "another boot, clock set a year ahead", reboot: true, jump: 365 * 24 * time.Hour, left: 0},
	} {
		r := newRig(t, nil)
		r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return &aaa.Grant{SessionTimeout: 25 * time.Minute}, nil }
		l := r.lac(1, "tunnel secret")
		call := l.dialWhenUp(r, "alice")
		r.until(20*time.Minute+time.Second, "accounted twice", func() bool { return len(r.aaa.usages) == 3 })
		if c.reboot {
			r.clock.boot++
			r.clock.now += 1000 * time.Hour // the clock of another boot
			l.t = nil
		}
		r.clock.wall += c.jump
		if c.reboot {
			r.clock.wall -= 1000 * time.Hour
		}
		r.lacs = map[netip.AddrPort]*rigLAC{} // nobody keeps the tunnel, nobody is needed
		r.start(nil)
		s := r.session("alice")
		if s == nil {
			t.Fatalf("%s: gone", c.name)
		}
		_ = call
		if left := s.times.end - r.clock.now; (left-c.left).Abs() > 2*time.Second && !(c.left == 0 && left <= 0) {
			t.Errorf("%s: %v are left of Session-Timeout, want %v", c.name, left, c.left)
		}
		if next := s.times.interim - r.clock.now; c.jump == 0 && (next-10*time.Minute).Abs() > 2*time.Second {
			t.Errorf("%s: the next interim is in %v", c.name, next)
		}
	}
}

func (l *rigLAC) dialWhenUp(r *rig, user string) *rigCall {
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.dial(user, nil)
	r.until(5*time.Second, "up", func() bool { return c.up })
	return c
}

// TestIdleGoesOn: a restart does not make an idle session look busy, nor a busy one idle.
func TestIdleGoesOn(t *testing.T) {
	for _, busy := range []bool{false, true} {
		r := newRig(t, func(c *Config) { c.Subscriber.IdleTimeout = 10 * time.Minute })
		change := func(c *Config) { c.Subscriber.IdleTimeout = 10 * time.Minute }
		l := r.lac(1, "tunnel secret")
		c := l.dialWhenUp(r, "alice")
		r.run(6 * time.Minute)
		c.ping(c.client.Address(), 100)
		r.run(5 * time.Minute) // looked at once: not idle
		r.start(change)
		r.run(3 * time.Minute)
		if busy {
			c.ping(c.client.Address(), 100)
		}
		r.run(6*time.Minute + 30*time.Second)
		if up := r.session("alice") != nil; up != busy {
			t.Errorf("busy %v: up %v", busy, up)
		}
	}
}

// TestUnknownTunnelsAreNotAnswered: what comes for no tunnel gets no StopCCN, since
// its state may be on its way.
func TestUnknownTunnelsAreNotAnswered(t *testing.T) {
	r, _, _ := oneUp(t, nil)
	b := l2tp.ControlHeader(77, 0, 3, 3).Append(nil)
	l2tp.PutLength(b)
	r.sent = nil
	r.plane.Inject(0, netip.MustParseAddrPort("198.51.100.1:1701"), b)
	for _, sh := range r.srv.shards {
		sh.inbox.take(&sh.spare)
		sh.step(r.clock.now, &sh.spare)
	}
	if len(r.sent) != 0 {
		t.Errorf("answered with %x", r.sent[0].B)
	}
}

// TestAdopt has a running node take over the tunnel of another, as from the cluster's store.
func TestAdopt(t *testing.T) {
	r, l, c := oneUp(t, nil)
	c.ping(c.client.Address(), 300)
	r.run(11 * time.Minute)
	theirs := r.journal
	was := *r.session("alice")
	r.journal = newMemJournal()
	r.start(func(c *Config) { c.Node = "lns2" })
	for k, s := range theirs.sessions {
		s.Node = "lns1"
		theirs.sessions[k] = s
	}
	from := Recovered{Tunnels: theirs.Tunnels(t.Context()), Sessions: theirs.Sessions(t.Context()), Adopt: true}
	done, err := r.srv.Recover(t.Context(), from)
	if err != nil || done.Tunnels != 1 || done.Sessions != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	r.run(2 * time.Second)
	c.ping(c.client.Address(), 200)
	r.run(time.Second)
	s := r.session("alice")
	if s == nil || *s.who != *was.who || s.address != was.address || l.down != nil {
		t.Fatalf("the session is %+v, was %+v; LAC %+v", s, was, l.down)
	}
	for _, rec := range r.journal.sessions {
		if rec.Node != "lns2" || rec.InOctets != 300 || rec.AcctSessionID != was.who.AcctSessionID {
			t.Errorf("the journal has %+v", rec)
		}
	}
	if len(r.journal.sessions) != 1 || len(r.journal.calls) != 1 || len(r.journal.tunnels) != 1 {
		t.Errorf("the journal has %d sessions, %d calls, %d tunnels", len(r.journal.sessions), len(r.journal.calls), len(r.journal.tunnels))
	}
	if _, err := r.srv.Recover(t.Context(), from); err == nil || !strings.Contains(err.Error(), "is here already") {
		t.Errorf("taken over twice: %v", err)
	}
	r.start(func(c *Config) { c.Node = "lns2" }) // and it survives its own death
	r.run(2 * time.Second)
	c.hangUp()
	r.run(time.Second)
	last := r.aaa.usages[len(r.aaa.usages)-1]
	if last.Kind != aaa.UsageStop || last.InOctets != 300 && last.InOctets != 500 || last.Identity != *was.who {
		t.Errorf("the Stop is %+v", last)
	}
}
