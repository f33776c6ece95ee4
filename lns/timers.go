package lns

import (
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/lns/link"
)

// sessionTimes are the deadlines of an established session, on the shard's
// clock; never where there is none.
type sessionTimes struct {
	end     time.Duration // Session-Timeout
	interim time.Duration
	idle    time.Duration // when to look for traffic again
	// octets is what had been counted when idle was set.
	octets uint64
}

// startTimes sets the deadlines of a session that came up.
func (sh *shard) startTimes(s *session) {
	s.times = sessionTimes{
		end:     deadline(sh.now, sh.sessionTimeout(s)),
		interim: deadline(sh.now, sh.interim(s)),
		idle:    deadline(sh.now, sh.idleTimeout(s)),
	}
}

func deadline(now, after time.Duration) time.Duration {
	if after <= 0 {
		return never
	}
	return now + after
}

func orElse(d, other time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return other
}

func (sh *shard) sessionTimeout(s *session) time.Duration {
	return orElse(s.terms.session, sh.srv.cfg.Subscriber.SessionTimeout)
}

func (sh *shard) idleTimeout(s *session) time.Duration {
	return orElse(s.terms.idle, sh.srv.cfg.Subscriber.IdleTimeout)
}

func (sh *shard) interim(s *session) time.Duration {
	return orElse(s.terms.interim, sh.srv.cfg.Subscriber.Interim)
}

// setTimer arms a session's one timer for its next deadline.
func (sh *shard) setTimer(s *session) {
	at := s.link.Deadline()
	if s.state == stateUp {
		at = min(at, s.times.end, s.times.interim, s.times.idle)
	}
	sh.wheel.set(&s.timer, at)
}

// expire does what a session's deadlines ask for.
func (s *session) expire(sh *shard) {
	if sh.isShut(s.key.Listener) {
		sh.wheel.set(&s.timer, sh.now+shutRetry)
		return
	}
	if s.state == stateDialling {
		sh.end(s, CauseSetupTimeout, s.unconnected())
		return
	}
	if s.state == stateUp {
		switch {
		case sh.now >= s.times.end:
			sh.end(s, CauseSessionTimeout, "Session-Timeout")
			return
		case sh.now >= s.times.idle && sh.isIdle(s):
			sh.end(s, CauseIdleTimeout, "Idle-Timeout")
			return
		case sh.now >= s.times.interim:
			sh.sendInterim(s)
		}
	}
	sh.linkStep(s, func(fx *link.Effects) { s.link.Tick(sh.now, fx) })
}

// unconnected says what a session that is dialling waited for in vain.
func (s *session) unconnected() string {
	if s.outgoing() {
		return "no OCCN came: nobody has answered"
	}
	return "no ICCN came"
}

// isIdle says whether nothing has passed since idle was set, and sets it anew if something has.
func (sh *shard) isIdle(s *session) bool {
	c := sh.counters(s)
	octets := c.InOctets + c.OutOctets
	if octets == s.times.octets {
		return true
	}
	s.times.octets = octets
	s.times.idle = deadline(sh.now, sh.idleTimeout(s))
	sh.keepAgain(s) // a restart must not take old traffic for new, nor new silence for old
	return false
}

func (sh *shard) counters(s *session) dataplane.Counters {
	keys, out := [1]dataplane.Key{s.key}, [1]dataplane.Counters{}
	sh.srv.cfg.Plane.Counters(keys[:], out[:])
	return out[0]
}

func (sh *shard) sendInterim(s *session) {
	s.times.interim = deadline(sh.now, sh.interim(s))
	c := sh.counters(s)
	now := sh.srv.clock.Wall()
	sh.keepSession(s, sh.account(s, aaa.UsageInterim, now, c), now, c)
}
