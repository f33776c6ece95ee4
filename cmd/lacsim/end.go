package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"culvert/lac"
	"culvert/lac/subscriber"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// linkDown is the end of PPP, whoever wanted it; the end of the call follows.
func (s *session) linkDown(now time.Duration, reason subscriber.Reason, unanswered bool) {
	w := s.worker
	if s.state == sessionUp || s.state == sessionDrain {
		s.endedByLNS("PPP: " + reason.String())
		s.closing(now, lingerForCDN)
	}
	if s.terminating && unanswered {
		w.count.Sessions.Unclean++
	}
	if reason == subscriber.ReasonPeerTerminate && !s.terminating {
		s.closing(now, lingerForCDN) // the CDN is the LNS's
		return
	}
	w.engine.Hangup(now, &s.call, l2tp.Result{Code: l2tp.CDNLostCarrier})
}

// CallDown is called by the engine when a call has ended, whoever ended it.
func (w *worker) CallDown(now time.Duration, c *lac.Call, end lac.End) {
	s := c.User.(*session)
	switch {
	case s.state == sessionDialled && end.Local && w.hangup:
		w.count.Sessions.SettingUp--
		w.count.Sessions.Abandoned++
		s.settle()
	case s.state == sessionDialled:
		w.count.Sessions.SettingUp--
		s.fail(callCause(end))
	case s.state == sessionUp || s.state == sessionDrain:
		if end.Local && end.Err == nil {
			w.count.Sessions.Now--
			w.count.Sessions.Ended++
			s.settle()
		} else {
			s.endedByLNS(callCause(end))
		}
	}
	s.down(now)
}

// down is the end of a call, once it has been counted.
func (s *session) down(now time.Duration) {
	w := s.worker
	wheel := w.engine.Wheel()
	s.state = sessionDown
	if s.terminating {
		s.terminating = false
		w.terminating--
	}
	wheel.Stop(&s.link)
	wheel.Stop(&s.packet)
	wheel.Stop(&s.due)
	if w.plan.opt.Redial && !w.hangup {
		wheel.Set(&s.due, now+w.plan.opt.RedialDelay, s)
	}
}

func (s *session) downBeforeUp(now time.Duration, cause string) {
	s.worker.count.Sessions.SettingUp--
	s.fail(cause)
	s.down(now)
}

// fail counts a call that did not come up.
func (s *session) fail(cause string) {
	s.worker.count.Sessions.Failed++
	s.worker.count.Failures.add(cause, 1)
	s.settle()
}

// endedByLNS counts a session that was up.
func (s *session) endedByLNS(cause string) {
	s.worker.count.Sessions.Now--
	s.worker.count.Sessions.ByLNS++
	s.worker.count.EndedByLNS.add(cause, 1)
	s.settle()
}

// settle: the outcome of this session is pending no more.
func (s *session) settle() {
	if !s.settled {
		s.settled = true
		s.worker.count.Sessions.Pending--
	}
}

// callCause is an End of a call in words.
func callCause(end lac.End) string {
	switch {
	case end.Tunnel:
		return "tunnel: " + tunnelCause(end)
	case errors.Is(end.Err, lac.ErrUnknownCall) || errors.Is(end.Err, lac.ErrNotEstablished):
		return "failover: " + strings.TrimPrefix(end.Err.Error(), "lac: ")
	case end.Err != nil:
		return "bad message: " + end.Err.Error()
	}
	return "CDN " + codes(end.Result) + end.Result.CDN()
}

// codes are a result's numbers.
func codes(r l2tp.Result) string {
	text := strconv.Itoa(int(r.Code))
	if r.Error != 0 {
		text += "/" + strconv.Itoa(int(r.Error))
	}
	return text + " "
}

// beginHangup stops sending packets; the session ends when their answers are in.
func (s *session) beginHangup(now time.Duration) {
	wheel := s.worker.engine.Wheel()
	if s.state == sessionDown {
		wheel.Stop(&s.due)
	}
	if s.state == sessionIdle {
		s.settle()
	}
	s.mayHangup(now)
}

// mayHangup says whether the session need not wait for answers to its packets any more. If it has to,
// it sends no more and gets a time to wait.
func (s *session) mayHangup(now time.Duration) bool {
	w := s.worker
	switch {
	case s.state == sessionUp && s.sent > s.answered && w.plan.traffic.on:
		s.state = sessionDrain
		w.engine.Wheel().Stop(&s.packet)
		w.engine.Wheel().Set(&s.due, now+w.plan.traffic.wait, s)
		return false
	case s.state == sessionDrain:
		return s.sent <= s.answered || !s.due.Active()
	}
	return true
}

// hangup ends the session the way --hangup says.
func (s *session) hangup(now time.Duration) {
	w := s.worker
	switch s.state {
	case sessionDialled:
		w.engine.Hangup(now, &s.call, l2tp.Result{Code: l2tp.CDNLostCarrier})
	case sessionUp, sessionDrain:
		if w.plan.opt.Hangup != "lcp" || s.client.Phase() != subscriber.PhaseUp {
			w.engine.Hangup(now, &s.call, l2tp.Result{Code: l2tp.CDNLostCarrier})
			return
		}
		s.terminating = true
		w.terminating++
		w.count.Sessions.Now--
		w.count.Sessions.Ended++
		s.settle()
		s.closing(now, closeTimeout(&w.plan.client.Limits))
		s.client.Close(now, &w.fx)
		s.apply(now)
	}
}

// closeTimeout is how long Terminate-Requests are repeated, and a little more.
func closeTimeout(l *ppp.Limits) time.Duration {
	return time.Duration(int(l.MaxTerminate)+1)*l.Restart + time.Second
}
