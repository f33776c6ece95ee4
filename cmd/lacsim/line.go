package main

import (
	"slices"
	"time"

	"culvert/lac/wheel"
)

// line is the subscribers' lines: frames from the LNS wait in it for the time that
// they and their answers would be on a line. It belongs to the worker.
type line struct {
	worker  *worker
	delay   time.Duration
	timer   wheel.Timer
	waiting []lineFrame // in the order in which they are due
}

// lineFrame is a frame on its way to a subscriber.
type lineFrame struct {
	due     time.Duration
	session *session
	dialled time.Duration // which call of the session it belongs to
	b       []byte
}

// put takes a frame of a session.
func (l *line) put(now time.Duration, s *session, frame []byte) {
	l.waiting = append(l.waiting, lineFrame{now + l.delay, s, s.dialled, slices.Clone(frame)})
	if !l.timer.Active() {
		l.worker.engine.Wheel().Set(&l.timer, now+l.delay, l)
	}
}

// Expire is for the timer wheel: it hands over what is due.
func (l *line) Expire(now time.Duration, _ *wheel.Timer) {
	n := 0
	for ; n < len(l.waiting) && l.waiting[n].due <= now; n++ {
		f := &l.waiting[n]
		if f.session.dialled == f.dialled && f.session.state != sessionDown {
			f.session.frame(now, f.b)
		}
	}
	l.waiting = slices.Delete(l.waiting, 0, n)
	if len(l.waiting) > 0 {
		l.worker.engine.Wheel().Set(&l.timer, l.waiting[0].due, l)
	}
}
