package main

import (
	"time"

	"culvert/lac"
	"culvert/lac/wheel"
	"culvert/proto/l2tp"
)

// lineReports have LACs tell of their subscribers' lines while sessions are up: other connect speeds
// (CSUN, RFC 5515) and errors on the line (WEN, RFC 2661 section 6.13).
type lineReports struct {
	worker *worker
	speed  wheel.Timer
	errors wheel.Timer
	round  uint32 // of speeds
	calls  []*lac.Call
}

// lineCounters count what LACs told of lines, and were asked.
type lineCounters struct {
	Speeds        uint64 `json:"speeds"`         // speeds of lines told in CSUNs
	Errors        uint64 `json:"errors"`         // WENs
	SpeedRequests uint64 `json:"speed_requests"` // CSURQs of the LNS, each answered by a CSUN
	LinkInfos     uint64 `json:"link_infos"`     // SLIs of the LNS
}

// speedsInCSUN bounds the lines of one message, which has to fit a datagram.
const speedsInCSUN = 50

// begin sets the timers as the run's options say.
func (l *lineReports) begin(now time.Duration) {
	o := &l.worker.plan.opt
	if o.SpeedEvery > 0 {
		l.worker.engine.Wheel().Set(&l.speed, now+o.SpeedEvery, l)
	}
	if o.ErrorsEvery > 0 {
		l.worker.engine.Wheel().Set(&l.errors, now+o.ErrorsEvery, l)
	}
}

// Expire is for the timer wheel.
func (l *lineReports) Expire(now time.Duration, t *wheel.Timer) {
	w := l.worker
	if w.hangup {
		return
	}
	every := w.plan.opt.ErrorsEvery
	if t == &l.speed {
		every = w.plan.opt.SpeedEvery
		l.round++
	}
	for i := range w.tunnels {
		if w.tunnels[i].state != tunnelUp {
			continue
		}
		if t == &l.speed {
			l.tellSpeeds(now, &w.tunnels[i])
		} else {
			l.tellErrors(now, &w.tunnels[i])
		}
	}
	w.engine.Wheel().Set(t, now+every, l)
}

// speeds are a line's in this round: each is a tenth slower than the one before, and the sixth is the first again.
func (l *lineReports) speeds() (tx, rx uint32) {
	o := &l.worker.plan.opt
	step := l.round % 6
	return o.TxSpeed - o.TxSpeed/10*step, o.RxSpeed - o.RxSpeed/10*step
}

func (l *lineReports) tellSpeeds(now time.Duration, t *tunnel) {
	tx, rx := l.speeds()
	l.calls = l.calls[:0]
	for i := range t.sessions {
		if s := &t.sessions[i]; s.state == sessionUp {
			s.call.SetSpeed(tx, rx)
			l.calls = append(l.calls, &s.call)
		}
	}
	l.worker.count.Lines.Speeds += uint64(len(l.calls))
	for rest := l.calls; len(rest) > 0; {
		n := min(len(rest), speedsInCSUN)
		l.worker.engine.ReportSpeed(now, t.lac, rest[:n]...)
		rest = rest[n:]
	}
}

func (l *lineReports) tellErrors(now time.Duration, t *tunnel) {
	for i := range t.sessions {
		s := &t.sessions[i]
		// A WEN is a message for each session: no more than the LNS takes at once.
		if t.lac.Unacked() >= t.lac.Window() {
			return
		}
		if s.state != sessionUp {
			continue
		}
		s.lineErrors++
		n := s.lineErrors
		l.worker.engine.ReportErrors(now, &s.call, l2tp.CallErrors{CRC: 10 * n, Framing: n, HardwareOverruns: n / 2, BufferOverruns: n / 3, Timeouts: n / 4, Alignment: n / 5})
		l.worker.count.Lines.Errors++
	}
}
