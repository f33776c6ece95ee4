package cluster

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// TestNodes breaks node a in every way. Who answers for its address afterwards
// is in the table; in no case do both, which the packets show, and in no
// case is a session lost.
func TestNodes(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(l *lab, a, b *node)
		// moves says that b has a's address in the end.
		moves bool
	}{
		{"killed", func(l *lab, a, _ *node) {
			a.kill()
			l.silence()
			a.start() // and back, too late
		}, true},
		{"frozen", func(l *lab, a, _ *node) {
			a.signal(syscall.SIGSTOP)
			l.silence()
			time.Sleep(5 * lease)
			a.signal(syscall.SIGCONT)
		}, true},
		{"cut off from the database", func(l *lab, a, _ *node) {
			a.cut("db")
			time.Sleep(6 * lease)
			a.mend("db")
		}, false},
		{"cut off from the other node", func(l *lab, a, _ *node) {
			a.cut("mgm")
			time.Sleep(6 * lease)
			a.mend("mgm")
		}, false},
		{"cut off from both", func(l *lab, a, _ *node) {
			a.cut("db", "mgm")
			l.silence()
			time.Sleep(2 * lease)
			a.mend("db", "mgm")
		}, true},
		{"restarted", func(l *lab, a, _ *node) {
			a.kill()
			a.start()
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, pgtest.Start(t), "")
			l.dial()
			before := l.all("a", "b")
			l.tables("a", "b")
			began := time.Now()
			c.do(l, l.nodes["a"], l.nodes["b"])
			time.Sleep(2 * lease) // whoever would still answer has his time to
			owner, want := "a", "a"
			if c.moves {
				owner, want = "b", "a b"
			}
			l.owns(owner, "b")
			l.same(before, "a", "b")
			turns, gap := l.watch.turns(service[0], began)
			if turns != want {
				t.Errorf("in turn, %q sent from %v; want %q", turns, service[0], want)
			}
			t.Logf("silence before another node sent: %v", gap.Round(time.Millisecond))
			if other, _ := l.watch.turns(service[1], began); other != "b" {
				t.Errorf("in turn, %q sent from %v; want only b", other, service[1])
			}
			l.tables("a", "b")
			l.hangUp()
		})
	}
}

// silence waits until b speaks for a's address, and says how long nobody did.
func (l *lab) silence() {
	l.t.Helper()
	began := time.Now()
	must(l.t, proc.Await(takeover+patience, 20*time.Millisecond, nil, func() error {
		if turns, _ := l.watch.turns(service[0], began); turns != "a b" {
			return fmt.Errorf("%q sent from %v", turns, service[0])
		}
		return nil
	}))
	took := time.Since(began)
	l.t.Logf("first packet from the other node %v after the fault, with a lease of %v; %v are meant", took.Round(10*time.Millisecond), lease, takeover)
}

// TestMove moves a node's address to the other and back, as an operator does,
// under subscribers who ping.
func TestMove(t *testing.T) {
	l := newLab(t, pgtest.Start(t), "")
	l.dial()
	before := l.all("a", "b")
	a := l.nodes["a"]
	began := time.Now()
	if _, err := a.ctl("node", "drain", "--to", "nobody"); err == nil {
		t.Error("moved to a node that there is not")
	}
	out, err := a.ctl("node", "drain", "--to", "b")
	must(t, err)
	t.Log(out)
	l.owns("b", "b")
	_, gap := l.watch.turns(service[0], began)
	t.Logf("no packet for %v", gap.Round(time.Millisecond))
	l.same(before, "b")
	l.drain("b", "a")
	l.same(before, "a")
	turns, _ := l.watch.turns(service[0], began)
	if turns != "a b a" {
		t.Errorf("in turn, %q sent from %v", turns, service[0])
	}
	l.tables("a", "b")
	r := l.hangUp()
	if r.Lost > 0 {
		t.Errorf("%d packets were lost by moving", r.Lost)
	}
	l.octets(r, 0)
}
