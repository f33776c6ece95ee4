package cluster

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/lns/dataplane"
	"culvert/sessiondb/cluster"
)

// pair starts two nodes; a has the address, and they have heard of each other.
func pair(t *testing.T, w *world) (a, b *Runner, fa, fb *dataplane.Fence) {
	t.Helper()
	a, fa = w.start(t, "a", true, nil)
	eventually(t, "a answers", func() bool { return open(fa) })
	b, fb = w.start(t, "b", false, nil)
	eventually(t, "they have heard of each other", func() bool {
		s, err := a.Status(t.Context())
		i := slices.IndexFunc(s.Nodes, func(n NodeStatus) bool { return n.Name == "b" })
		return err == nil && i >= 0 && s.Nodes[i].Answered >= 0 && s.Lease > 0
	})
	return a, b, fa, fb
}

// TestMoveWithoutLoss hands an address over: the old node answers until the new one has loaded what is
// on it, what comes late to the one is given to the other, and counters arrive before it answers.
func TestMoveWithoutLoss(t *testing.T) {
	w := newWorld()
	a, _, fa, fb := pair(t, w)
	old := w.views["a"]
	peer := netip.MustParseAddrPort("192.0.2.9:1701")
	datagram := func(text string) []dataplane.Datagram { return []dataplane.Datagram{{Peer: peer, B: []byte(text)}} }
	w.mu.Lock()
	w.slow = make(chan struct{})
	slow := w.slow
	w.mu.Unlock()
	moved := make(chan error, 1)
	go func() {
		_, err := a.MoveAll(t.Context(), "b")
		moved <- err
	}()
	eventually(t, "b loads", func() bool { return w.did("b loads") == 1 })
	if !open(fa) || open(fb) {
		t.Errorf("while b loads, a answers: %v, b: %v", open(fa), open(fb))
	}
	old.late(datagram("control"))
	close(slow)
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	if open(fa) {
		t.Error("a answers when it has moved")
	}
	a.places[local].sendLate(datagram("data"))
	eventually(t, "b has all", func() bool {
		return w.did("b: control comes 192.0.2.9:1701 open true") == 1 && w.did("b: data leaves 192.0.2.9:1701 open true") == 1
	})
	eventually(t, "a has ended", func() bool { return w.did("a ends") == 1 && w.did("a forgets") > 0 })
	// When a stopped, before what was to leave, as that was counted on a, and at the end.
	counts := "b counts [{{0 1 2} {5 0 0 0 0}}]"
	eventually(t, "b has counted", func() bool { return w.did(counts) == 3 })
	w.mu.Lock()
	left := slices.Index(w.happened, "b: data leaves 192.0.2.9:1701 open true")
	before := 0
	for _, what := range w.happened[:max(0, left)] {
		if what == counts {
			before++
		}
	}
	w.mu.Unlock()
	if before != 2 {
		t.Errorf("b has counted %d times before it sent for a: %v", before, w.happened)
	}
	if !open(fb) || w.did("transferred 3") != 1 {
		t.Errorf("b answers: %v; %v", open(fb), w.happened)
	}
}

// TestMoveWaitsForTheHost has the new owner's host take its time until it has the address. Before, the kernel would
// refuse to send from it: nothing is answered, and what was sent on, came early or is to leave waits.
func TestMoveWaitsForTheHost(t *testing.T) {
	w := newWorld()
	a, b, fa, fb := pair(t, w)
	placing := make(chan struct{})
	w.mu.Lock()
	w.placing = placing
	w.mu.Unlock()
	if _, err := a.MoveAll(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	peer := netip.MustParseAddrPort("192.0.2.9:1701")
	a.places[local].sendLate([]dataplane.Datagram{{Peer: peer, B: []byte("late")}})
	var asked bool
	eventually(t, "b's host is told", func() bool {
		err := b.ask(t.Context(), func() { asked = b.places[local].on > 0 })
		return err == nil && asked
	})
	if open(fa) || open(fb) {
		t.Errorf("while b's host does not have the address, a answers: %v, b: %v", open(fa), open(fb))
	}
	for _, out := range []bool{false, true} {
		early := fb.Diverted(0)
		if early == nil {
			t.Fatal("nobody keeps what is early")
		}
		early(out, []dataplane.Datagram{{Peer: peer, B: []byte("early")}})
	}
	close(placing)
	for _, what := range []string{"late leaves", "early comes", "early leaves"} {
		word, verb, _ := strings.Cut(what, " ")
		eventually(t, what, func() bool { return w.did("b: "+word+" "+verb+" 192.0.2.9:1701 open true") == 1 })
	}
}

// TestAHookThatHangs has a host that never says that it has the address.
func TestAHookThatHangs(t *testing.T) {
	w := newWorld()
	placing := make(chan struct{})
	w.placing = placing
	_, f := w.start(t, "cc", true, nil)
	t.Cleanup(func() { close(placing) }) // before the node is closed
	eventually(t, "it answers", func() bool { return open(f) })
}

// sendLate is what the fence does with what is to leave too late.
func (p *place) sendLate(list []dataplane.Datagram) {
	if p.leaving != nil {
		p.leaving.late.add(true, list)
	}
}

// TestMoveToADeafNode moves to a node whose TCP port is closed: with a gap, but it moves.
func TestMoveToADeafNode(t *testing.T) {
	w := newWorld()
	a, b, _, fb := pair(t, w)
	b.moves.Close()
	if _, err := a.MoveAll(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b answers", func() bool { return open(fb) })
	if w.did("a hands over") != 0 {
		t.Error("handed over to nobody")
	}
}

// TestMoveAllWhileTheDatabaseIsBusy moves two addresses; the database takes longer than a lease for each, and no renewal
// comes through meanwhile. The second waits for one.
func TestMoveAllWhileTheDatabaseIsBusy(t *testing.T) {
	w := newWorld()
	w.addresses = append(w.addresses, cluster.Address{Local: other, Epoch: 1})
	a, _, fa, fb := pair(t, w)
	eventually(t, "a answers for both", func() bool { return fa.Until(1) > dataplane.BootTime() })
	w.mu.Lock()
	w.transfer, w.renewal = 1300*time.Millisecond, 150*time.Millisecond
	w.mu.Unlock()
	if moved, err := a.MoveAll(t.Context(), "b"); err != nil || len(moved) != 2 {
		t.Errorf("moved %v: %v", moved, err)
	}
	eventually(t, "b answers for both", func() bool { return open(fb) && fb.Until(1) > dataplane.BootTime() })
	if _, err := a.MoveAll(t.Context(), "nobody"); err != nil {
		t.Errorf("there is nothing left to move: %v", err)
	}
}

// TestMoveInterrupted has the connection break while the new node loads: the old one stops at
// once, and the new one waits until it would have stopped for certain.
func TestMoveInterrupted(t *testing.T) {
	w := newWorld()
	a, b, fa, fb := pair(t, w)
	w.mu.Lock()
	w.slow = make(chan struct{})
	slow := w.slow
	w.mu.Unlock()
	moved := make(chan error, 1)
	go func() {
		_, err := a.MoveAll(t.Context(), "b")
		moved <- err
	}()
	eventually(t, "b loads", func() bool { return w.did("b loads") == 1 })
	if err := b.ask(t.Context(), func() { b.places[local].arriving.w.c.Close() }); err != nil {
		t.Fatal(err)
	}
	if err := <-moved; err != nil || open(fa) {
		t.Errorf("%v; a answers: %v", err, open(fa))
	}
	close(slow)
	began := time.Now()
	eventually(t, "b answers", func() bool { return open(fb) })
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("b answers after %v, and could not know that a has stopped", took)
	}
}

// TestStrangersMayConnect has connections that are none of the cluster's.
func TestStrangersMayConnect(t *testing.T) {
	w := newWorld()
	a, _, _, _ := pair(t, w)
	for _, text := range []string{"", "culvert1", strings.Repeat("x", 100)} {
		c, err := net.Dial("tcp", a.moves.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(text)); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	c, err := net.Dial("tcp", a.moves.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, o := range map[string]offer{"to another": {From: "b", To: "x", Local: local}, "of no address": {From: "b", To: "a"}, "of what it has": {From: "b", To: "a", Local: local}} {
		if c, err = net.Dial("tcp", a.moves.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if _, err := offerOn(c, []byte("secret"), o); err == nil {
			t.Errorf("an offer %s is taken", name)
		}
		c.Close()
	}
}
