package cluster

import (
	"net/netip"
	"testing"
	"time"
)

// move has an operator move an address to another node, with the old one lingering
// as lns/cluster has it: the transaction is repeated until its outcome is known, and when the
// old one has stopped it says so, unless the two are cut off from each other.
func (s *sim) move(from, to *simNode, local netip.AddrPort) {
	const lingers = DefaultLease
	from.inbox = append(from.inbox, func(*Effects) {
		a, err := from.m.BeginMove(s.now+from.offset, local, to.name, lingers)
		s.note("%s moves %v to %s: %v", from.name, local, to.name, err)
		if err == nil {
			s.transfer(from, to, a)
		}
	})
}

// transfer is the transaction of a move, from which an answer comes or not.
func (s *sim) transfer(from, to *simNode, a Address) {
	life, m := from.life, from.m
	again := func() { s.after(200*time.Millisecond, func() { s.transfer(from, to, a) }) }
	s.after(s.latency(), func() {
		if from.life != life || from.dead {
			return
		}
		if from.frozen || s.db.away || s.isCut(from.name, "db") {
			again()
			return
		}
		row, done := s.db.addresses[a.Local], false
		switch {
		case row.Owner == to.name && row.Epoch == a.Epoch+1:
			done = true
		case row.Owner == from.name && row.Epoch == a.Epoch:
			row.Owner, row.Lingers, done = to.name, a.Lingers, true
			row.Epoch++
			s.db.claims++
		}
		if s.rnd.IntN(5) == 0 { // the answer is lost
			again()
			return
		}
		from.inbox = append(from.inbox, func(fx *Effects) {
			if from.m != m {
				return
			}
			if !done {
				m.MoveFailed(a.Local)
				return
			}
			m.Moved(s.now+from.offset, a.Local, to.name, fx)
			s.after(s.latency(), func() { s.leave(from, to, m, a) })
		})
	})
}

// leave has the old owner stop and the new one hear of it.
func (s *sim) leave(from, to *simNode, m *Machine, a Address) {
	from.inbox = append(from.inbox, func(*Effects) {
		if from.m != m {
			return
		}
		m.Left(a.Local)
		s.note("%s has left %v", from.name, a.Local)
		next := to.m
		s.after(s.latency(), func() {
			if !s.isCut(from.name, to.name) && !to.dead {
				to.inbox = append(to.inbox, func(*Effects) { next.Stopped(a.Local, a.Epoch+1) })
			}
		})
	})
}

// TestMoveLingers moves an address: somebody answers nearly all the time, and never do two.
func TestMoveLingers(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(t, seed, "a", "b")
		s.run(time.Minute)
		s.move(s.nodes["a"], s.nodes["b"], x1)
		s.run(30 * time.Second)
		s.want("b", "b")
	}
}

// TestMoveNoWord moves an address from a node that dies, or is frozen, as soon as it has given it away.
func TestMoveNoWord(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(t, seed, "a", "b")
		s.run(time.Minute)
		a := s.nodes["a"]
		s.move(a, s.nodes["b"], x1)
		for s.db.addresses[x1].Owner == "a" {
			s.run(step)
		}
		a.frozen, a.dead = seed%2 == 0, seed%2 == 1
		s.run(2 * DefaultLease)
		s.want("b", "b")
		a.frozen = false
		s.run(time.Minute)
		s.want("b", "b")
	}
}

// TestMoveBlocks refuses what cannot be moved.
func TestMoveBlocks(t *testing.T) {
	s := newSim(t, 1, "a", "b")
	s.run(time.Minute)
	m, now := s.nodes["a"].m, s.now
	for what, c := range map[string]struct {
		local netip.AddrPort
		to    string
	}{"to itself": {x1, "a"}, "to nobody": {x1, "nobody"}, "what is another's": {x2, "b"}} {
		if _, err := m.BeginMove(now, c.local, c.to, time.Second); err == nil {
			t.Errorf("%s: moved", what)
		}
	}
	if _, err := m.BeginMove(now, x1, "b", 0); err != nil || m.Until(now, x1) != 0 {
		t.Errorf("%v; without lingering it is answered for until %v", err, m.Until(now, x1))
	}
	if _, err := m.BeginMove(now, x1, "b", 0); err == nil {
		t.Error("moved twice at once")
	}
	m.MoveFailed(x1)
	if m.Until(now, x1) <= now {
		t.Error("a move that failed leaves the address silent")
	}
}
