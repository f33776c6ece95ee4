package cluster

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// size is a number that a full run sets in the environment, and a short one leaves small.
func size(name string, small int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n >= 0 {
		return n
	}
	return small
}

// outage is what one takeover or move meant: how long after it the first packet came from the other node, and the
// last session's first; and how long nobody had sent any.
type outage struct{ first, all, silence time.Duration }

// pick gives the median and the worst.
func pick(list []outage, of func(outage) time.Duration) (median, worst time.Duration) {
	var d []time.Duration
	for _, o := range list {
		d = append(d, of(o).Round(time.Millisecond))
	}
	if len(d) == 0 {
		return 0, 0
	}
	slices.Sort(d)
	return d[len(d)/2], d[len(d)-1]
}

// line is a line of the table.
func line(t *testing.T, what string, all int, list []outage, lost int) {
	m, w := pick(list, func(o outage) time.Duration { return o.first })
	m2, w2 := pick(list, func(o outage) time.Duration { return o.all })
	m3, w3 := pick(list, func(o outage) time.Duration { return o.silence })
	n := max(1, len(list)*all)
	t.Logf("%-11s %d sessions, %d times: to the first packet median %v, worst %v; until all have had one median %v, worst %v; nobody sent for median %v, worst %v; %d packets lost, %.3f for each session and time",
		what, all, len(list), m, w, m2, w2, m3, w3, lost, float64(lost)/float64(n))
}

// fault is one way to lose the node of all sessions, or to move them.
type fault struct {
	what string
	// times is how often, by the environment variable that is named, else few.
	env  string
	few  int
	do   func(l *lab, owner, other *node)
	mend func(l *lab, owner *node)
	// lossless says that no packet may be lost.
	lossless bool
}

var takeovers = []fault{
	{"killed", "TAKEOVER_KILLS", 1, func(_ *lab, owner, _ *node) { owner.kill() }, func(_ *lab, owner *node) { owner.start() }, false},
	{"frozen", "TAKEOVER_FREEZES", 0, func(_ *lab, owner, _ *node) { owner.signal(syscall.SIGSTOP) }, func(_ *lab, owner *node) {
		owner.signal(syscall.SIGCONT)
		time.Sleep(2 * lease) // it may want to answer what has waited for it
	}, false},
	{"partitioned", "TAKEOVER_CUTS", 0, func(_ *lab, owner, _ *node) { owner.cut("db", "mgm") }, func(_ *lab, owner *node) {
		time.Sleep(lease)
		owner.mend("db", "mgm")
	}, false},
	{"moved", "TAKEOVER_MOVES", 2, func(l *lab, owner, other *node) {
		// On a busy machine there may be no lease of 3 s just now, and then nothing moves.
		must(l.t, proc.Await(patience, 500*time.Millisecond, owner.d, func() error {
			_, err := owner.ctl("node", "drain", "--to", other.name)
			return err
		}))
	}, func(l *lab, owner *node) {
		_, err := owner.ctl("undrain")
		must(l.t, err)
	}, true},
}

// TestTakeover has the node of all sessions killed, frozen and cut off from both database and other node, again and again with traffic in
// each session, and has the other take over: the same sessions are up, on the same ids, each is accounted once, and at no
// moment do both send. Then an operator moves them to and fro, and no packet is lost. TAKEOVER_TUNNELS, TAKEOVER_EACH,
// TAKEOVER_KILLS, TAKEOVER_FREEZES, TAKEOVER_CUTS, TAKEOVER_MOVES and TAKEOVER_PPS make it larger; TAKEOVER_LEASE is the lease in seconds;
// TAKEOVER_FAMILY=6 has it all in IPv6.
func TestTakeover(t *testing.T) {
	family := overIPv4
	if size("TAKEOVER_FAMILY", 4) == 6 {
		family = overIPv6
	}
	l := newLabBy(t, pgtest.Start(t), setup{family: family})
	l.tunnels, l.each = size("TAKEOVER_TUNNELS", 10), size("TAKEOVER_EACH", 10)
	l.lns, l.rate = []netip.Addr{l.service[0]}, cmp.Or(os.Getenv("TAKEOVER_PPS"), "1")
	l.dial()
	before := l.all("a")
	if len(before) != l.sessions() {
		t.Fatalf("%d sessions are up on a, want %d", len(before), l.sessions())
	}
	l.tables("a")
	owner, other, lost, faults := "a", "b", 0, 0
	for _, f := range takeovers {
		var list []outage
		was := lost
		for range size(f.env, f.few) {
			list = append(list, l.take(f, before, owner, other))
			owner, other = other, owner
			l.canTake(other)
			if !f.lossless {
				faults++
			}
		}
		if len(list) == 0 {
			continue
		}
		lost = l.lost()
		line(t, f.what, l.sessions(), list, lost-was)
		if f.lossless && lost != was {
			t.Errorf("%d packets were lost by moving", lost-was)
		}
		l.tables(owner)
	}
	l.noneMissed(time.Time{})
	r := l.hangUp()
	if r.Lost != lost {
		t.Errorf("%d packets were lost in the end, %d before", r.Lost, lost)
	}
	l.octets(r, faults)
}

// take has the owner of all sessions lose them to the other in one way, and checks what is left of them.
func (l *lab) take(f fault, before []string, owner, other string) (o outage) {
	l.t.Helper()
	if f.lossless {
		l.noneMissed(time.Time{})
	}
	l.watch.forget()
	l.speaks(owner)
	time.Sleep(rand.N(time.Second))
	began := time.Now()
	f.do(l, l.nodes[owner], l.nodes[other])
	o = l.served(other, began)
	_, o.silence = l.watch.turns(l.service[0], began)
	f.mend(l, l.nodes[owner])
	l.same(before, other)
	if turns, _ := l.watch.turns(l.service[0], began); turns != owner+" "+other {
		l.t.Errorf("%s: in turn, %q sent from %v", f.what, turns, l.service[0])
	}
	n := l.watch.both(l.service[0], owner, other, began)
	if n > 0 {
		l.t.Errorf("%s: %s sent %d packets after %s had begun to", f.what, owner, n, other)
	}
	l.t.Logf("%s: %d sessions before, %d after; first packet after %v, all sessions after %v, nobody sent for %v, and later for %v at most; %d packets of %s after the first of %s",
		f.what, len(before), len(l.nodes[other].ids()), o.first.Round(time.Millisecond), o.all.Round(time.Millisecond), o.silence.Round(time.Millisecond),
		l.watch.pause(other, l.service[0], began).Round(time.Millisecond), n, owner, other)
	return o
}

// served waits until each session has had a packet from a node.
func (l *lab) served(by string, since time.Time) (o outage) {
	l.t.Helper()
	must(l.t, proc.Await(takeover+patience, 50*time.Millisecond, l.nodes[by].d, func() error {
		if o.first, o.all = l.watch.serving(by, l.service[0], since, l.sessions()); o.all == 0 {
			return fmt.Errorf("%s does not serve all sessions (%w); the first packet came after %v", by, errNotAll, o.first)
		}
		return nil
	}))
	return o
}

// noneMissed tells where packets were lost since a moment, if any were.
func (l *lab) noneMissed(since time.Time) {
	l.t.Helper()
	rate, err := strconv.ParseFloat(l.rate, 64)
	must(l.t, err)
	for _, a := range l.lns {
		for _, s := range l.watch.missed(a, since, time.Duration(float64(time.Second)/rate), 10) {
			l.t.Logf("%v, %s", a, s)
		}
	}
}

// errNotAll is what is waited for.
var errNotAll = errors.New("not all have had a packet")

// canTake waits until a node is such that the other could give it everything, or lose it to it.
func (l *lab) canTake(node string) {
	l.t.Helper()
	must(l.t, proc.Await(patience, 100*time.Millisecond, l.nodes[node].d, func() error {
		if s := l.nodes[node].serving(); len(s) != 0 {
			return fmt.Errorf("%s serves %v", node, s)
		}
		for _, n := range l.nodes {
			s, err := n.status()
			if err != nil {
				return err
			}
			for _, x := range s.Nodes {
				if x.Name == node && x.Draining {
					return fmt.Errorf("for %s, %s is draining still", n.name, node)
				}
			}
		}
		return nil
	}))
	l.known()
}

// lost is how many packets lacsim has given up so far.
func (l *lab) lost() int {
	l.t.Helper()
	time.Sleep(answerTime + time.Second)
	lost := math.MaxInt
	for range 40 { // some are on their way, but hardly ever at each of so many moments
		r := l.ask()
		lost = min(lost, r.Packets.Sent-r.Packets.Answered)
		time.Sleep(25 * time.Millisecond) // lacsim's counters are 20 ms old
	}
	return lost
}

// untold is how much of what a node has counted the database may not know yet when the node is lost: cluster.counters (1 s), with room for
// a machine that is busy.
const untold = 10 * time.Second

// octets checks that what was accounted is what subscribers have sent and got. Of packets that were
// lost one way or the other may have been counted; and with each node that was lost goes what it had counted since it told the database last.
func (l *lab) octets(r report, faults int) {
	l.t.Helper()
	const octets = 64 // an echo is as long as its request
	rate, err := strconv.ParseFloat(l.rate, 64)
	must(l.t, err)
	c := l.radius.Counts()
	came, most := uint64(r.Packets.Answered)*octets, uint64(r.Packets.Answered+r.Lost)*octets
	second := rate * float64(l.sessions()) * octets
	least := came - min(came, uint64(float64(faults)*second*untold.Seconds()))
	for what, got := range map[string]uint64{"from": c.InOctets, "to": c.OutOctets} {
		l.t.Logf("%d octets %s subscribers were accounted; %d to %d came and went", got, what, came, most)
		if faults > 0 && got < came {
			l.t.Logf("not accounted: %.2f s of traffic for each node that was lost", float64(came-got)/second/float64(faults))
		}
		if got < least || got > most {
			l.t.Errorf("%d octets %s subscribers were accounted, want %d to %d", got, what, least, most)
		}
	}
}

// ask has lacsim tell its counters.
func (l *lab) ask() (r report) {
	l.t.Helper()
	before, _ := os.ReadFile(l.sim.Log)
	fmt.Fprintln(l.stdin, "status")
	must(l.t, proc.Await(patience, time.Millisecond, l.sim, func() error {
		after, _ := os.ReadFile(l.sim.Log)
		return json.Unmarshal(after[len(before):], &r)
	}))
	return r
}
