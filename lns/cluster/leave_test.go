package cluster

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/lns/dataplane"
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
	eventually(t, "b has counted twice", func() bool { return w.did("b counts [{{0 1 2} {5 0 0 0 0}}]") == 2 })
	if !open(fb) || w.did("transferred 3") != 1 {
		t.Errorf("b answers: %v; %v", open(fb), w.happened)
	}
}

// sendLate is what the fence does with what is to leave too late.
func (p *place) sendLate(list []dataplane.Datagram) {
	if p.leaving != nil {
		p.leaving.lateFrom(true, list)
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
