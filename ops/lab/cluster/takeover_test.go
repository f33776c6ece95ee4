package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// size is a number that a full run sets in the environment, and a short one leaves small.
func size(name string, small int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return small
}

// outage is what one takeover or move meant.
type outage struct{ first, all time.Duration }

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
	n := max(1, len(list)*all)
	t.Logf("%-9s %d sessions, %d times: to the first packet median %v, worst %v; until all have had one median %v, worst %v; %d packets lost, %.3f for each session and time",
		what, all, len(list), m, w, m2, w2, lost, float64(lost)/float64(n))
}

// TestTakeover kills the node of all sessions again and again with traffic in each session, and
// has the other take over: the same sessions are up, on the same ids, and each is accounted once. Then an operator
// moves them to and fro, and no packet is lost. TAKEOVER_TUNNELS, TAKEOVER_EACH, TAKEOVER_KILLS,
// TAKEOVER_MOVES and TAKEOVER_PPS make it larger; the lease is 3 s.
func TestTakeover(t *testing.T) {
	kills, moves := size("TAKEOVER_KILLS", 1), size("TAKEOVER_MOVES", 2)
	l := newLab(t, pgtest.Start(t), "")
	l.tunnels, l.each = size("TAKEOVER_TUNNELS", 10), size("TAKEOVER_EACH", 10)
	l.lns, l.rate = []netip.Addr{service[0]}, cmp.Or(os.Getenv("TAKEOVER_PPS"), "1")
	l.dial()
	before := l.all("a")
	if len(before) != l.sessions() {
		t.Fatalf("%d sessions are up on a, want %d", len(before), l.sessions())
	}
	l.tables("a")
	owner, other := "a", "b"
	var killed, moved []outage
	for i := range kills + moves {
		l.watch.forget()
		began := time.Now()
		if i < kills {
			l.nodes[owner].kill()
		} else {
			_, err := l.nodes[owner].ctl("node", "drain", "--to", other)
			must(t, err)
		}
		o := l.served(other, began)
		if i < kills {
			killed = append(killed, o)
			l.nodes[owner].start()
		} else {
			moved = append(moved, o)
			_, err := l.nodes[owner].ctl("undrain")
			must(t, err)
		}
		l.same(before, other)
		if turns, _ := l.watch.turns(service[0], began); turns != other && turns != owner+" "+other {
			t.Errorf("in turn, %q sent from %v", turns, service[0])
		}
		owner, other = other, owner
		l.canTake(other)
		if i == kills-1 {
			line(t, "takeovers", l.sessions(), killed, l.lost())
		}
	}
	l.tables(owner)
	lost := l.lost()
	r := l.hangUp()
	line(t, "moves", l.sessions(), moved, r.Lost-lost)
	if r.Lost != lost {
		t.Errorf("%d packets were lost by moving", r.Lost-lost)
	}
	l.octets(r, r.Lost)
}

// served waits until each session has had a packet from a node.
func (l *lab) served(by string, since time.Time) (o outage) {
	l.t.Helper()
	must(l.t, proc.Await(takeover+patience, 50*time.Millisecond, l.nodes[by].d, func() error {
		if o.first, o.all = l.watch.serving(by, service[0], since, l.sessions()); o.all == 0 {
			return fmt.Errorf("%s does not serve all sessions; the first packet came after %v", by, o.first)
		}
		return nil
	}))
	return o
}

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

// octets checks that what was accounted is what subscribers have sent and got. Of packets that are
// lost one way or the other may have been counted, and what a node had counted since it told the database last is lost with it.
func (l *lab) octets(r report, lost int) {
	l.t.Helper()
	const octets = 64 // an echo is as long as its request
	c := l.radius.Counts()
	least, most := uint64(r.Packets.Answered)*octets, uint64(r.Packets.Answered+lost)*octets
	for what, got := range map[string]uint64{"from": c.InOctets, "to": c.OutOctets} {
		l.t.Logf("%d octets %s subscribers were accounted; %d to %d came and went", got, what, least, most)
		if lost == 0 && got != least {
			l.t.Errorf("%d octets %s subscribers were accounted, want %d", got, what, least)
		}
	}
}

// ask has lacsim tell its counters.
func (l *lab) ask() (r report) {
	l.t.Helper()
	before, _ := os.ReadFile(l.lacs.Log)
	fmt.Fprintln(l.stdin, "status")
	must(l.t, proc.Await(patience, time.Millisecond, l.lacs, func() error {
		after, _ := os.ReadFile(l.lacs.Log)
		return json.Unmarshal(after[len(before):], &r)
	}))
	return r
}
