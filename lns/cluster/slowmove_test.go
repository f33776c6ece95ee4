package cluster

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"culvert/lns/dataplane"
)

// TestMoveLongerThanALease has the database take longer than a lease for a move, and the new owner load for three: the old one
// answers all the while, and what sessions count meanwhile is not lost.
func TestMoveLongerThanALease(t *testing.T) {
	w := newWorld()
	a, b, fa, fb := pair(t, w)
	slow := make(chan struct{})
	w.mu.Lock()
	w.slow, w.transfer = slow, 1300*time.Millisecond
	w.mu.Unlock()
	moved := make(chan error, 1)
	go func() {
		_, err := a.MoveAll(t.Context(), "b")
		moved <- err
	}()
	shut := 0
	watch := func() {
		if open(fb) {
			t.Fatal("b answers before a has stopped")
		}
		if !open(fa) {
			shut++
		}
	}
	eventually(t, "b loads", func() bool { watch(); return w.did("b loads") == 1 })
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		watch()
	}
	if shut > 0 {
		t.Errorf("a had stopped %d times when it was looked at", shut)
	}
	if err := b.ask(t.Context(), func() {
		if b.m.Arriving(b.now(), local) > 1300*time.Millisecond {
			t.Error("b leaves a more than a lease at a time")
		}
	}); err != nil {
		t.Error(err)
	}
	close(slow)
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	eventually(t, "b answers, and a has ended", func() bool { return open(fb) && !open(fa) && w.did("a ends") == 1 })
	eventually(t, "b has counted", func() bool { return w.did("b counts [{{0 1 2} {5 0 0 0 0}}]") == 2 })
}

// speaksAs connects to a node as another one that gives it the address.
func speaksAs(t *testing.T, to *Runner, o offer) *wire {
	t.Helper()
	c, err := net.Dial("tcp", to.moves.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	x, err := offerOn(c, []byte("secret"), o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestCountsComeBeforeTheirSessions has an old owner, of a version that asks for nothing, stop and end before the new one has
// loaded anything: counters and datagrams wait for it.
func TestCountsComeBeforeTheirSessions(t *testing.T) {
	w := newWorld()
	_, b, fa, fb := pair(t, w)
	slow := make(chan struct{})
	w.mu.Lock()
	w.slow = slow
	epoch := w.on(local).Epoch
	w.mu.Unlock()
	x := speaksAs(t, b, offer{From: "a", To: "b", Local: local, Epoch: epoch})
	w.mu.Lock()
	w.views["a"].own(w.on(local), "b")
	w.on(local).Lingers = time.Hour
	w.mu.Unlock()
	counts := appendCounts(nil, []dataplane.Counted{{Key: dataplane.Key{Tunnel: 1, Session: 2}, Counters: dataplane.Counters{InOctets: 5, Spoofed: 1}}})
	late := appendDatagram(nil, &dataplane.Datagram{Peer: netip.MustParseAddrPort("192.0.2.9:1701"), B: []byte("late")})
	for _, f := range []struct {
		kind frameKind
		b    []byte
	}{{frameGiven, nil}, {frameCame, late}, {frameCounts, counts}, {frameGone, nil}, {frameLeaves, late}, {frameCounts, counts}, {frameEnd, nil}} {
		if err := x.write(f.kind, f.b); err != nil {
			t.Fatal(err)
		}
		if f.kind == frameGiven {
			eventually(t, "b loads", func() bool { return w.did("b loads") == 1 })
		}
	}
	if _, _, err := x.read(); err == nil {
		t.Error("b has a word to say when it has heard the end")
	}
	sum, comes, leaves := "b counts [{{0 1 2} {10 0 0 0 2}}]", "b: late comes 192.0.2.9:1701 open true", "b: late leaves 192.0.2.9:1701 open true"
	if w.did(sum)+w.did(comes)+w.did(leaves) != 0 || open(fb) {
		t.Errorf("b has used what cannot be used yet: %v", w.happened)
	}
	close(slow)
	eventually(t, "b answers with all that came", func() bool {
		return open(fb) && w.did(sum) == 1 && w.did(comes) == 1 && w.did(leaves) == 1
	})
	eventually(t, "a has forgotten", func() bool { return !open(fa) })
}

// TestMoveToANodeThatIsLate has a new owner that grants nothing, as one of an earlier version, and is ready
// after the lease: the old one stops in time, and sends on what comes until the other is ready.
func TestMoveToANodeThatIsLate(t *testing.T) {
	w := newWorld()
	a, b, fa, _ := pair(t, w)
	at := b.moves.Addr().String()
	b.moves.Close()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	came := make(chan string, 100)
	ready := make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		x, err := acceptWire(c, []byte("secret"))
		if err != nil {
			return
		}
		go func() { <-ready; _ = x.write(frameReady, nil) }()
		for {
			kind, body, err := x.read()
			if err != nil {
				return
			}
			switch came <- map[frameKind]string{frameOffer: "offer", frameGiven: "given", frameAsks: "asks", frameCounts: "counts",
				frameGone: "gone", frameCame: "came " + string(body[max(0, len(body)-4):]), frameEnd: "end"}[kind]; kind {
			case frameOffer:
				_ = x.write(frameWelcome, nil)
			case frameEnd:
				return
			}
		}
	}()
	began := time.Now()
	if _, err := a.MoveAll(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); open(fa) || took < time.Second || took > 10*time.Second {
		t.Errorf("after %v a answers: %v", took, open(fa))
	}
	time.Sleep(lateTime + 500*time.Millisecond)
	late := fa.Diverted(0)
	if late == nil {
		t.Fatal("a sends nothing on any more, and the other is not ready yet")
	}
	late(false, []dataplane.Datagram{{Peer: netip.MustParseAddrPort("192.0.2.9:1701"), B: []byte("late")}})
	close(ready)
	for _, want := range []string{"offer", "given", "counts", "gone", "came late", "counts", "end"} {
		select {
		case got := <-came:
			if got != want {
				t.Errorf("a says %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("a does not say %q", want)
		}
	}
}
