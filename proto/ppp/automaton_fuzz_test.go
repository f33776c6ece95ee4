package ppp

import (
	"testing"
	"time"
)

// fuzzedAutomaton is an automaton under fire, with what its owner would see.
type fuzzedAutomaton struct {
	t   *testing.T
	l   *Limits
	a   Automaton
	now time.Duration
	up  bool
	// sent counts requests since the last event that was no timeout.
	sent int
}

// step gives one event and checks what must hold after any.
func (z *fuzzedAutomaton) step(e Event) {
	was, id := z.a.State(), z.a.ID()
	actions := z.a.Step(z.now, z.l, e)
	if !table[e][was].valid && (actions != 0 || z.a.State() != was) {
		z.t.Fatalf("%v, which cannot happen in %v, did %b", e, was, actions)
	}
	if e != TOPlus && e != TOMinus {
		z.sent = 0
	}
	if actions&(SCR|STR) != 0 {
		z.sent++
		if e != TOPlus && z.a.ID() == id {
			z.t.Fatalf("%v in %v: a new request with the identifier of the last", e, was)
		}
	} else if z.a.ID() != id {
		z.t.Fatalf("%v in %v changed the identifier and sent nothing", e, was)
	}
	if limit := int(max(z.l.MaxConfigure, z.l.MaxTerminate, 1)); z.sent > limit {
		z.t.Fatalf("%d requests in a row, at most %d are allowed", z.sent, limit)
	}
	switch {
	case actions&TLU != 0 && z.up, actions&TLD != 0 && !z.up, actions&TLU != 0 && actions&TLD != 0:
		z.t.Fatalf("%v in %v: the layer was up: %v, and the actions are %b", e, was, z.up, actions)
	}
	z.up = z.up && actions&TLD == 0 || actions&TLU != 0
	if z.up != (z.a.State() == Opened) {
		z.t.Fatalf("the layer is up: %v, in %v", z.up, z.a.State())
	}
	if running := z.a.Deadline() != Never; running != runs(z.a.State()) {
		z.t.Fatalf("%v in %v: the restart timer runs: %v, in %v", e, was, running, z.a.State())
	}
}

// expire lets the restart timer expire, if it runs.
func (z *fuzzedAutomaton) expire() {
	if d := z.a.Deadline(); d != Never {
		z.now = max(z.now, d)
	}
	if e, ok := z.a.Timeout(z.now, z.l); ok {
		z.step(e)
	}
}

// FuzzAutomaton gives the automaton events in any order, as an owner does that
// keeps to the contract. The layer's Up and Down alternate and agree with the state
// (RFC 1661 section 4.4), the timer runs in states 4 to 8 alone (section 4.2), identifiers
// change with each new request, and without a peer it comes to rest.
func FuzzAutomaton(f *testing.F) {
	f.Add(uint8(10), uint8(2), []byte{2, 0, 6, 8, 10, 4, 4})
	f.Add(uint8(3), uint8(0), []byte{2, 0, 8, 6, 7, 7, 8, 6, 3, 11, 1})
	f.Add(uint8(0), uint8(0), []byte{0, 2, 4, 4, 14, 0, 6})
	f.Add(uint8(1), uint8(1), []byte{16, 7, 10, 4, 6, 8, 14, 11, 17, 12, 13, 15})
	f.Fuzz(func(t *testing.T, configure, terminate uint8, events []byte) {
		z := fuzzedAutomaton{t: t, l: &Limits{
			RestartFirst: 500 * time.Millisecond, Restart: 3 * time.Second,
			MaxConfigure: configure, MaxTerminate: terminate, MaxFailure: 3,
		}}
		for _, op := range events {
			z.now += time.Duration(op/18) * 50 * time.Millisecond
			switch e := Event(op % 18); {
			case e == 16: // the LAC has negotiated
				if z.a.State() <= Starting {
					z.a.Adopt(z.l)
					z.up = true
				}
			case e == 17, e == TOPlus, e == TOMinus:
				z.expire()
			case (e == RCA || e == RCN) && !z.a.Answers(z.a.ID()):
				// The owner discards it (sections 5.2 to 5.4).
			default:
				z.step(e)
			}
			if z.a.MayNak(z.l) && z.a.refused > z.l.MaxFailure {
				t.Fatalf("after %d refusals another Nak is allowed", z.a.refused)
			}
		}
		for n := 0; z.a.Deadline() != Never; n++ {
			if n > 2*256 {
				t.Fatalf("still in %v after %d timeouts", z.a.State(), n)
			}
			z.expire()
		}
	})
}
