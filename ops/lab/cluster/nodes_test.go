package cluster

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// TestNodes breaks node a in every way, one after the other under the same sessions. Who answers for its address
// afterwards is in the table; in no case do both, which the packets show, and in no
// case is a session lost. What has moved is moved back before the next.
func TestNodes(t *testing.T) {
	l := newLab(t, pgtest.Start(t), "")
	l.dial()
	before := l.all("a", "b")
	l.tables("a", "b")
	second := "b" // who has the other address; b alone at first
	for _, c := range []struct {
		name string
		do   func(l *lab, a, b *node)
		// moves says that b has a's addresses in the end.
		moves bool
	}{
		{"cut off from the database", func(l *lab, a, _ *node) {
			a.cut("db")
			time.Sleep(3 * lease)
			a.mend("db")
		}, false},
		{"cut off from the other node", func(l *lab, a, _ *node) {
			a.cut("mgm")
			time.Sleep(3 * lease)
			a.mend("mgm")
		}, false},
		{"restarted", func(l *lab, a, _ *node) {
			a.kill()
			a.start()
		}, false},
		{"killed", func(l *lab, a, _ *node) {
			a.kill()
			l.silence()
			a.start() // and back, too late
		}, true},
		{"frozen", func(l *lab, a, _ *node) {
			a.signal(syscall.SIGSTOP)
			l.silence()
			time.Sleep(2 * lease)
			a.signal(syscall.SIGCONT)
		}, true},
		{"cut off from both", func(l *lab, a, _ *node) {
			a.cut("db", "mgm")
			l.silence()
			time.Sleep(lease)
			a.mend("db", "mgm")
		}, true},
	} {
		ok := t.Run(c.name, func(t *testing.T) {
			outer := l.t
			l.t = t
			defer func() { l.t = outer }()
			l.watch.forget()
			l.speaks("a", second)
			began := time.Now()
			c.do(l, l.nodes["a"], l.nodes["b"])
			time.Sleep(lease) // whoever would still answer has his time to
			want := [2]string{"a", second}
			if c.moves {
				want[0] = "a b"
				if second == "a" {
					want[1] = "a b"
				}
				second = "b"
				l.owns("b", "b")
			} else {
				l.owns("a", second)
			}
			l.same(before, "a", "b")
			for i, want := range want {
				turns, gap := l.watch.turns(l.service[i], began)
				if turns != want {
					t.Errorf("in turn, %q sent from %v; want %q", turns, l.service[i], want)
				}
				t.Logf("%v: silence before another node sent: %v", l.service[i], gap.Round(time.Millisecond))
			}
			l.tables("a", "b")
			l.known()
			if c.moves {
				l.drain("b", "a")
				second = "a"
				_, err := l.nodes["b"].ctl("undrain")
				must(t, err)
			}
		})
		if !ok {
			return // what comes next would begin from something else
		}
	}
	l.same(before, "a", "b")
	l.hangUp()
}

// speaks waits until these nodes have sent from the service addresses.
func (l *lab) speaks(nodes ...string) {
	l.t.Helper()
	must(l.t, proc.Await(patience, 20*time.Millisecond, nil, func() error {
		for i, node := range nodes {
			if turns, _ := l.watch.turns(l.service[i], time.Now()); turns != node {
				return fmt.Errorf("%q sent from %v, want %s", turns, l.service[i], node)
			}
		}
		return nil
	}))
}

// silence waits until b speaks for a's address, and says how long nobody did.
func (l *lab) silence() {
	l.t.Helper()
	began := time.Now()
	must(l.t, proc.Await(takeover+patience, 20*time.Millisecond, nil, func() error {
		if turns, _ := l.watch.turns(l.service[0], began); turns != "a b" {
			return fmt.Errorf("%q sent from %v", turns, l.service[0])
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
	_, gap := l.watch.turns(l.service[0], began)
	t.Logf("no packet for %v", gap.Round(time.Millisecond))
	l.same(before, "b")
	l.drain("b", "a")
	l.same(before, "a")
	turns, _ := l.watch.turns(l.service[0], began)
	if turns != "a b a" {
		t.Errorf("in turn, %q sent from %v", turns, l.service[0])
	}
	l.tables("a", "b")
	r := l.hangUp()
	if r.Lost > 0 {
		t.Errorf("%d packets were lost by moving", r.Lost)
	}
	l.octets(r, 0)
}
