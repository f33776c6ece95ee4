package cluster

import (
	"testing"
	"time"

	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// TestIPv6 has LACs, service addresses and the wire between the nodes in IPv6: node a is killed and b takes its address,
// of which the neighbours hear by an unsolicited Neighbor Advertisement; then an operator moves it back and forth,
// and no packet is lost.
func TestIPv6(t *testing.T) {
	l := newLabBy(t, pgtest.Start(t), setup{family: overIPv6})
	l.dial()
	before := l.all("a", "b")
	l.tables("a", "b")
	l.speaks("a", "b")
	a := l.nodes["a"]

	began := time.Now()
	a.kill()
	l.silence()
	must(t, proc.Await(patience, 50*time.Millisecond, l.nodes["b"].d, func() error {
		_, all := l.watch.serving("b", l.service[0], began, l.sessions()/2)
		if all == 0 {
			return errNotAll
		}
		t.Logf("all %d sessions of the address have had a packet %v after the kill", l.sessions()/2, all.Round(time.Millisecond))
		return nil
	}))
	if !l.watch.announced("b", l.service[0], began) {
		t.Errorf("b has sent no unsolicited Neighbor Advertisement of %v", l.service[0])
	}
	l.same(before, "b")
	a.start()
	l.canTake("a")
	lost := l.lost()
	t.Logf("%d packets were lost by the kill", lost)

	l.watch.forget()
	l.speaks("b", "b")
	began = time.Now()
	l.drain("b", "a")
	l.same(before, "a")
	_, err := l.nodes["b"].ctl("undrain")
	must(t, err)
	l.canTake("b")
	l.drain("a", "b")
	l.same(before, "b")
	for i := range l.service {
		if turns, gap := l.watch.turns(l.service[i], began); turns != "b a b" {
			t.Errorf("in turn, %q sent from %v", turns, l.service[i])
		} else {
			t.Logf("%v: no packet for %v by moving", l.service[i], gap.Round(time.Millisecond))
		}
		if !l.watch.announced("a", l.service[i], began) {
			t.Errorf("a has sent no unsolicited Neighbor Advertisement of %v", l.service[i])
		}
	}
	l.tables("b")
	if r := l.hangUp(); r.Lost > lost {
		t.Errorf("%d packets were lost by moving", r.Lost-lost)
	}
}
