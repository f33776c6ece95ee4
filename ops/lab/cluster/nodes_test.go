package cluster

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// TestNodes breaks node a in every way, one after the other under the same sessions. Who answers for its address
// afterwards is in the table; in no case do both, which the packets show, and in no
// case is a session lost. What has moved is moved back before the next. FREEZE=60s has it frozen for so long.
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
			began := time.Now()
			a.signal(syscall.SIGSTOP)
			l.silence()
			time.Sleep(max(2*lease, time.Until(began.Add(frozen()))))
			a.signal(syscall.SIGCONT)
			took := time.Since(began)
			l.member(a)
			time.Sleep(lease) // it may want to answer what has waited for it
			n := l.watch.both(l.service[0], "a", "b", began)
			if l.t.Logf("frozen for %v; a has sent %d packets after b's first", took.Round(time.Second), n); n > 0 {
				l.t.Error("both have answered")
			}
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

// frozen is how long a node is frozen at least: FREEZE, such as 60s; a little longer than a takeover where it says nothing.
func frozen() time.Duration {
	d, _ := time.ParseDuration(os.Getenv("FREEZE"))
	return d
}

// member waits until a node that was away is one of the cluster's again, with a lease, and has nothing of what it had.
func (l *lab) member(n *node) {
	l.t.Helper()
	began := time.Now()
	must(l.t, proc.Await(patience, 50*time.Millisecond, n.d, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		c, err := pgx.Connect(ctx, l.dbURL)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		var ok bool
		err = c.QueryRow(ctx, `select member and clock_timestamp() - renewed_at < lease and renewed_at > $2
			and not exists (select from service_addresses where owner = name) from cluster_nodes where name = $1`, n.name, began).Scan(&ok)
		if err == nil && !ok {
			err = fmt.Errorf("%s is no member of the cluster, or has no lease, or owns an address", n.name)
		}
		return err
	}))
	must(l.t, proc.Await(patience, 50*time.Millisecond, n.d, func() error {
		if s, t := n.memory("session"), n.memory("tunnel"); len(s)+len(t)+len(n.serving()) > 0 {
			return fmt.Errorf("%s has %d sessions and %d tunnels, and serves %v", n.name, len(s), len(t), n.serving())
		}
		return nil
	}))
	l.t.Logf("%s is a member with a lease again, and has nothing, %v after it woke", n.name, time.Since(began).Round(time.Millisecond))
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
