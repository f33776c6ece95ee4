package cluster

import (
	"net/netip"
	"testing"
	"time"
)

// slowMove moves x1 by a transaction that takes its time, in which nobody else's transactions come through, and has the old
// owner ask for more time, as lns/cluster does: ten times in a lease, and without an answer while the two are cut off from each other.
type slowMove struct {
	s        *sim
	from, to *simNode
	m, next  *Machine
	a        Address
	// over ends the asking; moved says that the database has the address moved.
	over, moved bool
}

func (s *sim) slowMove(from, to *simNode, takes time.Duration) *slowMove {
	v := &slowMove{s: s, from: from, to: to, m: from.m, next: to.m}
	from.inbox = append(from.inbox, func(*Effects) {
		var err error
		if v.a, err = v.m.BeginMove(s.now+from.offset, x1, to.name, DefaultLease); err != nil {
			s.note("no move: %v", err)
			v.over = true
			return
		}
		s.note("%s moves %v to %s slowly", from.name, x1, to.name)
		v.ask()
		s.db.away = takes > 0
		s.after(takes, v.commit)
	})
	return v
}

// commit is the end of the transaction.
func (v *slowMove) commit() {
	s, row := v.s, v.s.db.addresses[x1]
	s.db.away = false
	switch {
	case v.from.m != v.m || v.from.dead:
		v.over = true
		return
	case row.Owner != v.from.name || row.Epoch != v.a.Epoch:
		v.over = true
		v.from.inbox = append(v.from.inbox, func(*Effects) { v.m.MoveFailed(x1) })
		return
	case v.from.frozen || s.isCut(v.from.name, "db"): // its connection is gone, or was ended
		s.after(200*time.Millisecond, v.commit)
		return
	}
	s.note("%v has moved", x1)
	row.Owner, row.Lingers = v.to.name, v.a.Lingers
	row.Epoch++
	s.db.claims++
	v.moved = true
	v.from.inbox = append(v.from.inbox, func(fx *Effects) { v.m.Moved(s.now+v.from.offset, x1, v.to.name, fx) })
}

// ask asks once, and again later.
func (v *slowMove) ask() {
	s := v.s
	if v.over || v.from.m != v.m {
		return
	}
	sent := s.now + v.from.offset
	s.after(s.latency(), func() {
		if s.isCut(v.from.name, v.to.name) || v.to.dead {
			return
		}
		v.to.inbox = append(v.to.inbox, func(*Effects) {
			if v.to.m != v.next {
				return
			}
			d := v.next.Grant(s.now+v.to.offset, x1, v.a.Epoch+1)
			s.after(s.latency(), func() {
				if d > 0 && !s.isCut(v.from.name, v.to.name) && !v.from.dead {
					v.from.inbox = append(v.from.inbox, func(*Effects) { v.m.Linger(s.now+v.from.offset, x1, sent+d) })
				}
			})
		})
	})
	s.after(DefaultLease/10, func() { v.from.inbox = append(v.from.inbox, func(*Effects) { v.ask() }) })
}

// stay lets time pass in which the old owner answers, but for moments: without the database and with a network that keeps some
// messages for seconds, promises run out now and then.
func (v *slowMove) stay(d time.Duration) {
	v.s.t.Helper()
	dark := 0
	for end := v.s.now + d; v.s.now < end; {
		v.s.run(step)
		if who := v.s.answers(x1); len(who) == 0 {
			dark++
		} else if who[0] != "a" {
			v.s.t.Fatalf("%v: %v answer, want a:\n%v", v.s.now, who, v.s.trace)
		}
	}
	if time.Duration(dark)*step > d/20 {
		v.s.t.Errorf("nobody answered for %v of %v:\n%v", time.Duration(dark)*step, d, v.s.trace)
	}
}

// TestGrant moves an address by a transaction that takes three leases, and loads it for three more: the old owner answers all the while,
// and the new one as soon as it says that it has stopped.
func TestGrant(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(t, seed, "a", "b", "c")
		s.run(time.Minute)
		v := s.slowMove(s.nodes["a"], s.nodes["b"], 3*DefaultLease)
		v.stay(6*DefaultLease + 3*time.Second)
		if !v.moved {
			t.Fatal("the database has it not moved")
		}
		s.leave(s.nodes["a"], s.nodes["b"], v.m, v.a)
		v.over = true
		s.run(10 * time.Second)
		s.want("b", "b")
	}
}

// TestGrantEnds has the two nodes cut off from each other while the new owner loads: the old one stops within a lease, and the
// new one begins after it, by itself.
func TestGrantEnds(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(t, seed, "a", "b")
		s.run(time.Minute)
		v := s.slowMove(s.nodes["a"], s.nodes["b"], 2*DefaultLease)
		v.stay(3 * DefaultLease)
		s.cut["a b"] = true
		s.run(DefaultLease + time.Second)
		if who := s.answers(x1); len(who) > 1 || len(who) == 1 && who[0] != "b" {
			t.Errorf("%v answer when nothing was granted for a lease", who)
		}
		s.run(DefaultLease)
		s.want("b", "b")
	}
}

// TestGrantFaults has anything happen to three nodes while an address moves slowly: never do two answer, which each step checks, and
// somebody does when all is well again.
func TestGrantFaults(t *testing.T) {
	moved, asked := 0, 0
	for seed := range uint64(150) {
		s := newSim(t, seed, "a", "b", "c")
		s.run(time.Minute)
		v := s.slowMove(s.nodes["a"], s.nodes["b"], time.Duration(s.rnd.IntN(40))*time.Second)
		for range 1 + s.rnd.IntN(6) {
			s.run(time.Duration(s.rnd.IntN(12_000)) * time.Millisecond)
			what := s.rnd.IntN(7)
			if what != 3 { // the transaction itself has the database away
				s.faultOf(what, s.rnd.IntN(3), s.rnd.IntN(3))
			}
		}
		s.run(time.Duration(s.rnd.IntN(40)) * time.Second)
		if v.moved {
			moved++
		}
		if len(s.answers(x1)) == 1 && s.answers(x1)[0] == "a" && v.moved {
			asked++
		}
		if v.moved && v.from.m == v.m && !v.from.dead {
			s.leave(v.from, v.to, v.m, v.a)
		}
		v.over = true
		s.run(45 * time.Second)
		s.heal()
		s.run(90 * time.Second)
		if len(s.answers(x1)) != 1 {
			t.Fatalf("seed %d: %v answer for %v when all is well:\n%v", seed, s.answers(x1), x1, s.trace)
		}
	}
	if moved < 50 || asked < 5 {
		t.Errorf("%d of 150 moved, in %d the old owner answered long after: the faults leave too little", moved, asked)
	}
}

// TestClaimWaitsForWhoLingers has the new owner die before it answers: who claims from it waits for the old one's time.
func TestClaimWaitsForWhoLingers(t *testing.T) {
	m, err := New(Config{Node: "c", Serves: []netip.AddrPort{x1}}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var fx Effects
	view := func(owner string, epoch uint64, lingers time.Duration) View {
		return View{Members: 3, Claims: epoch, Addresses: []Address{{Local: x1, Owner: owner, Epoch: epoch, Lingers: lingers}},
			Nodes: []Node{{Name: "c", Member: true, Joined: 1, Seen: 3, Lease: DefaultLease}}}
	}
	m.Tick(0, &fx)
	m.Renewed(0, view("a", 1, 0), &fx)
	m.Tick(2*time.Second, &fx)
	m.Renewed(2*time.Second, view("b", 2, DefaultLease), &fx)
	for _, at := range []time.Duration{4 * time.Second, 6 * time.Second, 8 * time.Second} {
		m.Tick(at, &fx)
		m.Renewed(at, view("b", 2, DefaultLease), &fx) // it is no news any more
	}
	m.Tick(10*time.Second, &fx)
	m.Renewed(10*time.Second, view("c", 3, 0), &fx)
	end := 2*time.Second + DefaultLease + DefaultLease/5
	if m.Until(end-time.Millisecond, x1) > end-time.Millisecond || m.Until(end, x1) <= end {
		t.Errorf("the claimant answers from %v on, want from %v on", m.mine[x1].from, end)
	}
}

// TestNoGrant lists when nothing is granted.
func TestNoGrant(t *testing.T) {
	s := newSim(t, 1, "a", "b")
	s.run(time.Minute)
	a, b := s.nodes["a"], s.nodes["b"]
	now := s.now + b.offset
	if d := b.m.Grant(now, x1, 3); d != DefaultLease && d < DefaultLease/2 {
		t.Errorf("for what is to come %v are granted", d)
	}
	for what, c := range map[string]struct {
		m     *Machine
		now   time.Duration
		epoch uint64
	}{
		"for what it answers for itself": {a.m, s.now, 2}, "for what has gone to another": {b.m, now, 2}, "without a lease or a promise": {b.m, now + time.Hour, 3},
	} {
		if d := c.m.Grant(c.now, x1, c.epoch); d != 0 {
			t.Errorf("%s %v are granted", what, d)
		}
	}
	a.m.Linger(s.now, x1, s.now+time.Hour)
	if a.m.mine[x1].lingers != 0 {
		t.Error("it lingers on what it does not give away")
	}
	if _, err := a.m.BeginMove(s.now, x1, "b", 0); err != nil {
		t.Fatal(err)
	}
	if a.m.Linger(s.now, x1, s.now+time.Hour); a.m.Until(s.now, x1) != 0 {
		t.Error("it goes on for what it has stopped to answer for")
	}
}
