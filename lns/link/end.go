package link

import (
	"time"

	"culvert/proto/ppp"
)

// Close ends the link with a Terminate-Request; Effects.Down follows when
// the peer has acknowledged it or does not answer.
func (l *Link) Close(now time.Duration, fx *Effects) { l.fail(now, ReasonLocal, fx) }

// Ending is why the link is being closed, or was; ReasonNone while it is not.
// What comes after it, such as a LAC that clears the call, is a consequence.
func (l *Link) Ending() Reason { return l.reason }

// fail begins the link's end from this side. The first reason stays.
func (l *Link) fail(now time.Duration, r Reason, fx *Effects) {
	if l.phase == PhaseIdle || l.phase >= PhaseClosing {
		return
	}
	l.reason = r
	l.closing()
	l.stepLCP(now, ppp.Close, incoming{}, fx)
}

// abandon ends the link at once: it sends one Terminate-Request, for a peer
// that is not there to acknowledge it.
func (l *Link) abandon(now time.Duration, r Reason, fx *Effects) {
	l.fail(now, r, fx)
	l.finish(r, fx)
}

// closing enters the phase that only LCP's end is left in.
func (l *Link) closing() {
	l.phase, l.echoAt = PhaseClosing, 0
	if n := l.neg; n != nil {
		n.setupAt, n.authAt, n.resendAt, n.patienceAt = 0, 0, 0, 0
	}
}

// finish is the one way to Down. fallback is the reason where none is known
// yet.
func (l *Link) finish(fallback Reason, fx *Effects) {
	if l.reason == ReasonNone {
		l.reason = fallback
	}
	l.phase, l.neg, l.echoAt = PhaseDown, nil, 0
	l.lcp, l.ipcp = ppp.Automaton{}, ppp.Automaton{}
	fx.Down, fx.Reason = true, l.reason
}
