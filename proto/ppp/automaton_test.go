package ppp

import (
	"testing"
	"time"
	"unsafe"
)

// testLimits are short and distinct.
func testLimits() *Limits {
	return &Limits{
		RestartFirst: 500 * time.Millisecond, Restart: 3 * time.Second,
		MaxConfigure: 6, MaxTerminate: 2, MaxFailure: 3,
	}
}

// started is an automaton in Req-Sent at time 0.
func started(l *Limits) *Automaton {
	a := new(Automaton)
	a.Step(0, l, Open)
	a.Step(0, l, Up)
	return a
}

// expire runs the restart timer until it stops and gives the actions with
// their times.
func expire(t *testing.T, a *Automaton, l *Limits) (at []time.Duration, last Actions) {
	t.Helper()
	for a.Deadline() != Never {
		now := a.Deadline()
		if _, ok := a.Timeout(now-1, l); ok {
			t.Fatal("the timer expired before its deadline")
		}
		e, ok := a.Timeout(now, l)
		if !ok {
			t.Fatal("the timer did not expire at its deadline")
		}
		at, last = append(at, now), a.Step(now, l, e)
		if len(at) > 100 {
			t.Fatal("the timer never stops")
		}
	}
	return at, last
}

// The defaults of RFC 1661 section 4.6.
func TestDefaultLimits(t *testing.T) {
	l := DefaultLimits()
	if l.Restart != 3*time.Second || l.MaxTerminate != 2 || l.MaxConfigure != 10 || l.MaxFailure != 5 || l.RestartFirst > l.Restart {
		t.Errorf("%+v", l)
	}
}

func TestMaxConfigure(t *testing.T) {
	l := testLimits()
	a := started(l)
	first := a.ID()
	at, last := expire(t, a, l)
	// Six requests: at 0 and after 0.5, 1, 2, 3 and 3 seconds; then TO-.
	want := []time.Duration{500, 1500, 3500, 6500, 9500, 12500}
	if len(at) != len(want) {
		t.Fatalf("timeouts at %v, want %v ms", at, want)
	}
	for i := range want {
		if at[i] != want[i]*time.Millisecond {
			t.Errorf("timeout %d at %v, want %v ms", i, at[i], want[i])
		}
	}
	if last != TLF || a.State() != Stopped {
		t.Errorf("ended with actions %b in %v", last, a.State())
	}
	if a.ID() != first {
		t.Errorf("a retransmission changed the identifier from %d to %d", first, a.ID())
	}
}

func TestMaxTerminate(t *testing.T) {
	l := testLimits()
	a := started(l)
	a.Step(0, l, Close)
	at, last := expire(t, a, l)
	if len(at) != 2 || last != TLF || a.State() != Closed {
		t.Errorf("timeouts %v, actions %b, state %v: want two requests, then TLF in Closed", at, last, a.State())
	}
}

// A Terminate-Request in Opened leaves one period for the peer, no more.
func TestZeroRestartCount(t *testing.T) {
	l := testLimits()
	a := started(l)
	a.Adopt(l)
	if acts := a.Step(time.Second, l, RTR); acts != TLD|ZRC|STA {
		t.Fatalf("actions %b", acts)
	}
	at, last := expire(t, a, l)
	if len(at) != 1 || at[0] != 1500*time.Millisecond || last != TLF || a.State() != Stopped {
		t.Errorf("timeouts %v, actions %b, state %v", at, last, a.State())
	}
}

func TestIdentifiers(t *testing.T) {
	l := testLimits()
	a := started(l)
	id := a.ID()
	if !a.Answers(id) || a.Answers(id+1) {
		t.Error("only the request's own identifier answers it")
	}
	a.Step(0, l, RCN)
	if a.ID() == id || !a.Answers(a.ID()) {
		t.Error("a new request has to have a new identifier")
	}
	id = a.ID()
	a.Step(0, l, RCA)
	if a.State() != AckRcvd || a.Answers(id) {
		t.Error("the second answer to one request is not to count")
	}
	e, _ := a.Timeout(time.Hour, l)
	if a.Step(time.Hour, l, e); e != TOPlus || a.ID() == id {
		t.Error("a request after an answered one has to have a new identifier")
	}
}

// The restart timer does not go back to its first period in a renegotiation.
func TestBackoffStays(t *testing.T) {
	l := testLimits()
	a := started(l)
	e, _ := a.Timeout(time.Second, l)
	a.Step(time.Second, l, e)
	a.Step(time.Second, l, RCA)
	a.Step(time.Second, l, RCRPlus)
	if a.State() != Opened || a.Deadline() != Never {
		t.Fatalf("state %v, deadline %v", a.State(), a.Deadline())
	}
	a.Step(2*time.Second, l, RCRPlus)
	if got := a.Deadline() - 2*time.Second; got != time.Second {
		t.Errorf("the renegotiation's first period is %v, want 1s", got)
	}
	a.backoff = 200
	if got := a.period(l); got != l.Restart {
		t.Errorf("after many timeouts the period is %v", got)
	}
}

func TestMaxFailure(t *testing.T) {
	l := testLimits()
	a := started(l)
	for i := range 3 {
		if !a.MayNak(l) {
			t.Fatalf("no Nak after %d", i)
		}
		a.Step(0, l, RCRMinus)
	}
	if a.MayNak(l) || a.Diverges(l) {
		t.Error("after Max-Failure Naks only Rejects are allowed")
	}
	for range 4 {
		a.Step(0, l, RCRMinus)
	}
	if !a.Diverges(l) {
		t.Error("a peer that never converges is to be given up")
	}
	a.Step(0, l, RCRPlus)
	if a.Diverges(l) || !a.MayNak(l) {
		t.Error("an acknowledgement starts the count anew")
	}
	for range 7 {
		a.Step(0, l, RCN)
	}
	if !a.Diverges(l) {
		t.Error("a peer that refuses every request is to be given up")
	}
	for range 300 {
		a.Step(0, l, RCN)
	}
	if !a.Diverges(l) {
		t.Error("the count wrapped")
	}
}

func TestAutomatonSize(t *testing.T) {
	if size := unsafe.Sizeof(Automaton{}); size > 16 {
		t.Errorf("an Automaton has %d octets; two of them are in each of 200,000 links", size)
	}
}

// At time 0 with no period the timer still runs.
func TestTimerAtTimeZero(t *testing.T) {
	l := &Limits{MaxConfigure: 1}
	a := started(l)
	if a.Deadline() == Never {
		t.Error("a timer of no length is taken for a stopped one")
	}
}
