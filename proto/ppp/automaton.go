package ppp

import (
	"math"
	"time"
)

// Never is the Deadline of an automaton whose restart timer is stopped.
const Never = time.Duration(math.MaxInt64)

// Limits are the timer and counters of RFC 1661 section 4.6, shared by many
// automata. All are set; DefaultLimits has usual values.
type Limits struct {
	// RestartFirst is the restart timer's first period. Each timeout
	// doubles it up to Restart, and it stays there for the automaton's life:
	// going back to a period shorter than the path's round trip would make every
	// renegotiation cross its own retransmission and start over.
	RestartFirst, Restart time.Duration
	// MaxConfigure and MaxTerminate are how often a request is sent;
	// MaxFailure how many Configure-Naks before they become Rejects.
	MaxConfigure, MaxTerminate, MaxFailure uint8
}

// DefaultLimits are the RFC's values, with a shorter first period.
func DefaultLimits() Limits {
	return Limits{
		RestartFirst: 500 * time.Millisecond, Restart: 3 * time.Second,
		MaxConfigure: 10, MaxTerminate: 2, MaxFailure: 5,
	}
}

// Automaton is the option negotiation automaton of RFC 1661 section 4: state, restart timer and
// counters, for LCP or an NCP. The zero value is in state Initial. Its owner
// classifies what it receives, calls Step and does the Actions that come
// back, in order. It belongs to one goroutine.
type Automaton struct {
	// deadline is when the restart timer expires; 0 is stopped.
	deadline time.Duration
	state    State
	// restart is the restart counter: how many more requests may be sent.
	restart uint8
	// backoff is how often the restart timer has doubled.
	backoff uint8
	// id is the identifier of the last Configure- or Terminate-Request;
	// answered says that it has had its answer.
	id       uint8
	answered bool
	// refused counts Configure-Naks and -Rejects sent since the last
	// Configure-Ack, refusals those received.
	refused, refusals uint8
}

// State is where the automaton stands.
func (a *Automaton) State() State { return a.state }

// ID is the identifier for the Configure- or Terminate-Request that Step
// last asked for: the same for a retransmission, a new one otherwise.
func (a *Automaton) ID() uint8 { return a.id }

// Deadline is when Timeout is wanted; Never while the timer is stopped.
func (a *Automaton) Deadline() time.Duration {
	if a.deadline == 0 {
		return Never
	}
	return a.deadline
}

// Answers reports whether a Configure-Ack, -Nak or -Reject with this
// identifier answers the outstanding request. One that does not is
// silently discarded (RFC 1661 sections 5.2 to 5.4); so is a second answer, which a
// retransmission brings about.
func (a *Automaton) Answers(id uint8) bool { return id == a.id && !a.answered }

// Step takes one event and returns what the owner is to do, in the order of
// the bits. An event that cannot happen in a state does nothing.
func (a *Automaton) Step(now time.Duration, l *Limits, e Event) Actions {
	if e >= numEvents {
		return 0
	}
	t := table[e][a.state]
	if !t.valid {
		return 0
	}
	a.count(e, t.actions)
	switch {
	case t.actions&ZRC != 0:
		// The peer needs one short time to see the acknowledgement, and
		// this end to send it again.
		a.restart = 0
		a.deadline = armed(now + l.RestartFirst)
	case t.actions&IRC != 0 && t.actions&STR != 0:
		a.restart = l.MaxTerminate
	case t.actions&IRC != 0:
		a.restart = l.MaxConfigure
	}
	if t.actions&(SCR|STR) != 0 {
		a.request(now, l, e)
	}
	a.state = t.next
	if !runs(a.state) {
		a.deadline = 0
	}
	return t.actions
}

// request accounts for a request that the owner is about to send.
func (a *Automaton) request(now time.Duration, l *Limits, e Event) {
	if a.restart > 0 {
		a.restart--
	}
	if e != TOPlus || a.answered {
		a.id++
	}
	a.answered = false
	a.deadline = armed(now + a.period(l))
}

// count keeps the counters of negotiations that do not converge.
func (a *Automaton) count(e Event, actions Actions) {
	switch e {
	case Up:
		a.refused, a.refusals = 0, 0
	case RCA:
		a.answered, a.refusals = true, 0
	case RCN:
		a.answered, a.refusals = true, saturate(a.refusals)
	}
	switch {
	case actions&SCA != 0:
		a.refused = 0
	case actions&SCN != 0:
		a.refused = saturate(a.refused)
	}
}

// Timeout is the event of a restart timer that has expired, TOPlus or
// TOMinus; ok is false when it has not.
func (a *Automaton) Timeout(now time.Duration, l *Limits) (e Event, ok bool) {
	if a.deadline == 0 || now < a.deadline {
		return 0, false
	}
	if a.restart == 0 {
		return TOMinus, true
	}
	if a.period(l) < l.Restart {
		a.backoff++
	}
	return TOPlus, true
}

// Adopt makes the automaton Opened without a negotiation, for one that
// another machine has held on its behalf.
func (a *Automaton) Adopt(l *Limits) {
	a.state, a.deadline, a.restart, a.answered = Opened, 0, l.MaxConfigure, true
}

// MayNak reports whether a Configure-Nak may still be sent; else it is to be
// a Configure-Reject, and options of our own wish are no longer appended
// (Max-Failure, RFC 1661 section 4.6).
func (a *Automaton) MayNak(l *Limits) bool { return a.refused < l.MaxFailure }

// Diverges reports whether either end has refused the other's requests so
// often, without an acknowledgement between, that going on is useless. The RFC leaves this bound to the
// implementation: here it is twice Max-Failure and one more.
func (a *Automaton) Diverges(l *Limits) bool {
	return int(max(a.refused, a.refusals)) > 2*int(l.MaxFailure)
}

// period is the restart timer's next period.
func (a *Automaton) period(l *Limits) time.Duration {
	if a.backoff >= 16 {
		return l.Restart
	}
	return min(l.RestartFirst<<a.backoff, l.Restart)
}

// runs says in which states the restart timer may run (RFC 1661 section 4.2).
func runs(s State) bool { return s >= Closing && s <= AckSent }

// armed is a deadline that is not the stopped timer's zero.
func armed(at time.Duration) time.Duration { return max(at, 1) }

// saturate is n plus one, if there is room.
func saturate(n uint8) uint8 {
	if n == math.MaxUint8 {
		return n
	}
	return n + 1
}
