package link

import (
	"time"

	"culvert/proto/ppp"
)

// Deadline is when Tick is wanted next; Never when nothing is waited for.
func (l *Link) Deadline() time.Duration {
	at := min(l.lcp.Deadline(), l.ipcp.Deadline())
	at = earlier(at, l.echoAt)
	if n := l.neg; n != nil {
		for _, t := range [...]time.Duration{n.setupAt, n.authAt, n.resendAt, n.patienceAt} {
			at = earlier(at, t)
		}
	}
	return at
}

// Tick does what time asks for. A tick before Deadline does nothing.
func (l *Link) Tick(now time.Duration, fx *Effects) {
	lim := l.tickLimits()
	if e, ok := l.lcp.Timeout(now, &lim); ok {
		l.stepLCP(now, e, incoming{}, fx)
	}
	if e, ok := l.ipcp.Timeout(now, &lim); ok {
		l.stepIPCP(now, e, incoming{}, fx)
	}
	if l.neg != nil {
		l.tickSetup(now, fx)
	}
	if due(&l.echoAt, now) {
		l.keepalive(now, fx)
	}
}

// tickLimits are the limits, also of a link that was never started.
func (l *Link) tickLimits() ppp.Limits {
	if l.cfg == nil {
		return ppp.Limits{}
	}
	return l.limits()
}

// tickSetup looks at the timers of the set-up.
func (l *Link) tickSetup(now time.Duration, fx *Effects) {
	n := l.neg
	if due(&n.patienceAt, now) {
		l.abandon(now, ReasonPeerTerminate, fx)
		return
	}
	if due(&n.setupAt, now) {
		l.fail(now, ReasonSetupTimeout, fx)
	}
	if due(&n.authAt, now) {
		l.fail(now, ReasonAuthTimeout, fx)
	}
	if due(&n.resendAt, now) {
		l.resend(now, fx)
	}
}

// resend repeats what the peer has to answer in authentication.
func (l *Link) resend(now time.Duration, fx *Effects) {
	if l.method == MethodEAP {
		l.sendEAPRequest(now, fx)
		return
	}
	l.sendChallenge(now, fx)
}

// due reports whether a timer has expired, and stops it if so.
func due(at *time.Duration, now time.Duration) bool {
	if *at == 0 || now < *at {
		return false
	}
	*at = 0
	return true
}

// earlier is the earlier of a deadline and a timer, which is 0 when stopped.
func earlier(at, timer time.Duration) time.Duration {
	if timer == 0 {
		return at
	}
	return min(at, timer)
}

// armed is a timer's time that is not the zero of a stopped one.
func armed(at time.Duration) time.Duration { return max(at, 1) }
