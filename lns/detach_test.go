package lns

import (
	"net/netip"
	"testing"
	"time"

	"culvert/sessiondb"
)

// detach is Detach on a rig, whose shards are stepped by hand.
func (r *rig) detach() []sessiondb.Change {
	r.t.Helper()
	r.srv.inline = func(f func(*shard)) {
		for _, sh := range r.srv.shards {
			sh.now = r.clock.now
			f(sh)
			sh.flush()
		}
	}
	last, err := r.srv.Detach(lnsAddress)
	if err != nil {
		r.t.Fatal(err)
	}
	return last
}

// TestDetachAndBack takes everything of an address out of a server and brings
// it back, twice, under a subscriber who notices nothing.
func TestDetachAndBack(t *testing.T) {
	r, l, c := oneUp(t, nil)
	was := *r.session("alice")
	c.ping(c.client.Address(), 300)
	r.run(time.Second)
	late := l.dial("late", nil) // is being set up when it happens
	r.until(time.Second, "call placed", func() bool { return len(r.journal.calls) == 2 })
	for round := range 2 {
		last := r.detach()
		if r.session("alice") != nil || len(r.sent) != 0 || r.srv.sessions.Load() != 0 || r.srv.settingUp.Load() != 0 {
			t.Fatalf("round %d: %d sessions, %d setting up, %d datagrams sent", round, r.srv.sessions.Load(), r.srv.settingUp.Load(), len(r.sent))
		}
		if _, held := r.aaa.held[was.address]; held {
			t.Errorf("round %d: the address is not free", round)
		}
		octets := uint64(0)
		for _, c := range last {
			if c.Op == sessiondb.PutSession && c.Session.User == "alice" {
				octets = c.Session.InOctets
			}
		}
		if last[0].Op != sessiondb.PutTunnel || octets != 300+uint64(round)*100 {
			t.Fatalf("round %d: the last word is %v", round, last)
		}
		r.run(2 * time.Second)
		r.srv.running = true // onShards goes by inline
		done, err := r.srv.RecoverLast(t.Context(), last)
		if err != nil || done.Sessions != len(last)-1 || done.Tunnels != 1 || done.Closed != 0 {
			t.Fatalf("round %d: %+v, %v", round, done, err)
		}
		r.run(time.Second)
		c.ping(c.client.Address(), 100)
		r.run(time.Second)
	}
	s := r.session("alice")
	if s == nil || s.who.AcctSessionID != was.who.AcctSessionID || s.address != was.address || s.sinceWall != was.sinceWall {
		t.Fatalf("the session is %+v, was %+v", s, was)
	}
	if len(r.core) != 3 || c.closed || l.down != nil {
		t.Errorf("%d packets came to the core; the subscriber noticed: %v", len(r.core), c.closed)
	}
	for _, u := range r.aaa.usages[1:] {
		if u.Identity.User == "alice" {
			t.Errorf("accounted %v", u.Kind)
		}
	}
	if late.cdn == nil || late.up || len(r.journal.calls) != 1 {
		t.Errorf("the call that was being set up is up: %v, cleared by %v; the journal has %v", late.up, late.cdn, r.journal.calls)
	}
	// A new tunnel and a new call get ids that nobody has.
	d := r.lac(2, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return d.up })
	e := d.dial("bob", nil)
	r.until(5*time.Second, "session up", func() bool { return e.up })
}

// TestForgetKept leaves nothing of an address in the journal, and tells nobody.
func TestForgetKept(t *testing.T) {
	o := &order{}
	r, _, _ := oneUp(t, func(c *Config) {
		o.Ledger = c.Ledger
		c.Ledger, c.Sink = o, orderSink{o}
	})
	r.detach()
	seen := len(o.seen)
	if err := r.srv.ForgetKept(t.Context(), lnsAddress); err != nil {
		t.Fatal(err)
	}
	for s, err := range r.journal.Sessions(t.Context()) {
		t.Errorf("left: %v, %v", s.Key, err)
	}
	for s, err := range r.journal.Tunnels(t.Context()) {
		t.Errorf("left: %v, %v", s.Key, err)
	}
	if len(o.seen) != seen || len(r.journal.calls) != 0 {
		t.Errorf("the store was told of %v; calls left: %v", o.seen[seen:], r.journal.calls)
	}
	if _, err := r.srv.Detach(netip.AddrPortFrom(localAddr, 1)); err == nil {
		t.Error("an address that is not this node's is detached")
	}
}
