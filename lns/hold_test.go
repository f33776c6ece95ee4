package lns

import (
	"testing"
	"time"

	"culvert/sessiondb"
)

// slowStore confirms what the test lets it.
type slowStore struct{ waiting []func() }

func (*slowStore) Submit([]sessiondb.Change) {}

func (s *slowStore) confirm(done func()) { s.waiting = append(s.waiting, done) }

func (s *slowStore) answer() {
	for _, done := range s.waiting {
		done()
	}
	s.waiting = nil
}

// waits adds up what the shards have counted.
func waits(r *rig) Stats {
	st := Stats{Downs: map[string]uint64{}, Rejects: map[string]uint64{}, Dropped: map[string]uint64{}}
	for _, sh := range r.srv.shards {
		sh.stats.addTo(&st)
	}
	return st
}

// TestNewStateWaitsForTheStore holds back what tells of new tunnels and
// sessions, and nothing else.
func TestNewStateWaitsForTheStore(t *testing.T) {
	store := &slowStore{}
	r := newRig(t, func(c *Config) { c.Sink, c.Confirm, c.ConfirmWait = store, store.confirm, 2*time.Second })
	l := r.lac(1, "tunnel secret")
	r.run(500 * time.Millisecond)
	if len(store.waiting) != 1 || l.t.Unacked() == 0 {
		t.Fatalf("%d confirmations are asked for, and %d messages of the LAC wait for their acknowledgement; want one each", len(store.waiting), l.t.Unacked())
	}
	store.answer()
	r.run(100 * time.Millisecond)
	if l.t.Unacked() != 0 {
		t.Fatal("the SCCCN is not acknowledged after the store has confirmed the tunnel")
	}

	first := l.dial("alice", nil)
	r.run(time.Second)
	if r.session("alice").state != stateUp || first.up {
		t.Fatalf("the session is %v, the subscriber knows of it: %v", r.session("alice").state, first.up)
	}
	store.answer()
	r.run(100 * time.Millisecond)
	if !first.up {
		t.Fatal("the subscriber does not know of a session that is confirmed")
	}

	// While a second one waits in vain, the first goes on.
	second := l.dial("bob", nil)
	r.run(time.Second)
	first.ping(first.client.Address(), 100)
	r.run(100 * time.Millisecond)
	if second.up || len(r.core) != 1 {
		t.Errorf("the second session is up: %v; %d packets of the first passed", second.up, len(r.core))
	}
	r.run(2 * time.Second)
	if !second.up {
		t.Error("a session waits longer than is allowed")
	}
	st := waits(r)
	store.answer() // too late, and of no consequence
	r.run(time.Second)
	if again := waits(r); st.Confirms != 3 || st.ConfirmLate != 1 || st.ConfirmMax < 2*time.Second || st.ConfirmMax > 2100*time.Millisecond || again.Confirms != 3 {
		t.Errorf("stats: %+v", st)
	}
}

// TestARestartHoldsAgain kills the node while it holds what tells of a tunnel, and of a session: the
// next life does not tell either before the store has it. What was told long ago is told on.
func TestARestartHoldsAgain(t *testing.T) {
	store := &slowStore{}
	restart := func(r *rig) {
		store.waiting = nil // they were the dead process'
		r.start(func(c *Config) { c.Sink, c.Confirm, c.ConfirmWait = store, store.confirm, 2*time.Second })
	}
	r := newRig(t, func(c *Config) { c.Sink, c.Confirm, c.ConfirmWait = store, store.confirm, 2*time.Second })
	l := r.lac(1, "tunnel secret")
	r.run(500 * time.Millisecond)
	restart(r)
	r.run(1500 * time.Millisecond) // the LAC has sent its SCCCN again
	if len(store.waiting) != 1 || l.t.Unacked() == 0 {
		t.Fatalf("%d confirmations are asked for, and %d messages of the LAC wait for their acknowledgement; want one each", len(store.waiting), l.t.Unacked())
	}
	store.answer()
	r.run(1500 * time.Millisecond)
	if l.t.Unacked() != 0 {
		t.Fatal("the SCCCN is not acknowledged after the store has confirmed the tunnel")
	}

	told := l.dial("alice", nil)
	r.run(time.Second)
	store.answer()
	r.run(15 * time.Second)
	held := l.dial("bob", nil)
	r.run(time.Second)
	if s := r.session("bob"); !told.up || held.up || s == nil || s.state != stateUp {
		t.Fatalf("the first subscriber knows of its session: %v, the second: %v", told.up, held.up)
	}
	r.clock.now += 20 * time.Second // for longer than anybody waits nobody was there
	restart(r)
	r.run(100 * time.Millisecond)
	restart(r) // and that life was too short to let go of anything
	if r.run(1500 * time.Millisecond); held.up || len(store.waiting) != 1 {
		t.Fatalf("the subscriber knows of its session: %v; %d confirmations are asked for", held.up, len(store.waiting))
	}
	if n := len(r.srv.shards[0].held.byKey) + len(r.srv.shards[1].held.byKey); n != 1 {
		t.Errorf("%d things are held, want the second session alone", n)
	}
	store.answer()
	r.until(4*time.Second, "the session told of", func() bool { return held.up })

	r.run(15 * time.Second)
	l.dial("carol", nil)
	r.run(time.Second)
	restart(r) // a store that does not answer is waited for in vain
	r.run(3 * time.Second)
	if st := waits(r); st.ConfirmLate != 1 || len(r.srv.shards[0].held.byKey)+len(r.srv.shards[1].held.byKey) != 0 {
		t.Errorf("stats: %+v", st)
	}
}

// TestNothingIsHeldForDurabilityNode keeps the way of others short.
func TestNothingIsHeldForDurabilityNode(t *testing.T) {
	r, _, _ := oneUp(t, nil)
	if st := waits(r); st.Confirms != 0 {
		t.Errorf("%d waits", st.Confirms)
	}
	for _, sh := range r.srv.shards {
		if sh.held.byKey != nil {
			t.Error("a shard has a table of what it holds")
		}
	}
}
