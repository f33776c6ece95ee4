package main

import (
	"strconv"
	"time"

	"culvert/lac"
	"culvert/lac/subscriber"
	"culvert/lac/wheel"
	"culvert/proto/l2tp"
)

// session is one subscriber: a call and the PPP client behind it.
type session struct {
	worker *worker
	tunnel *tunnel
	call   lac.Call
	client subscriber.Client
	index  uint32 // in worker.sessions
	number int    // in the run

	state sessionState
	// terminating: hung up by a Terminate-Request, and the call has not ended yet
	terminating bool
	settled     bool // its outcome is known, and no more pending in the counters
	// lcpAnew and authAnew: the LNS made nothing of the proxy AVPs for them
	lcpAnew, authAnew bool
	lineErrors        uint32 // WENs sent
	link              wheel.Timer
	due               wheel.Timer // what it is for depends on state
	packet            wheel.Timer
	dialled           time.Duration

	// Packets of this call.
	sent, answered uint32
	target         uint32 // how many to send; 0 is no end
	newest         uint32 // answered sequence number, plus one
	seen           uint64 // bit i: newest-1-i was answered
}

type sessionState uint8

const (
	sessionIdle    sessionState = iota
	sessionDialled              // due: set-up has taken too long
	sessionUp                   // due: the hold time is over
	sessionDrain                // answers are waited for; due: long enough
	sessionClosing              // LCP has ended, or is to; due: the LNS has sent no CDN
	sessionDown                 // due: dial again
)

// lingerForCDN is how long a LAC waits for the LNS's CDN after the LNS has terminated LCP.
const lingerForCDN = time.Second

func (s *session) dial(now time.Duration) {
	w, o := s.worker, &s.worker.plan.opt
	s.state, s.dialled = sessionDialled, now
	s.sent, s.answered, s.newest, s.seen, s.target = 0, 0, 0, 0, uint32(w.plan.traffic.packets)
	s.call.User = s
	s.lcpAnew, s.authAnew, s.lineErrors = false, false, 0
	w.count.Sessions.Dialled++
	w.count.Sessions.SettingUp++
	m := &w.msg
	m.Reset()
	m.CallSerial, m.BearerType = uint32(s.number), l2tp.BearerDigital
	m.Set(l2tp.AVPCallSerial, l2tp.AVPBearerType)
	if o.Calling != "" {
		m.CallingNumber = []byte(w.plan.calling.text(s.number))
		m.Set(l2tp.AVPCallingNumber)
	}
	if o.Called != "" {
		m.CalledNumber = []byte(o.Called)
		m.Set(l2tp.AVPCalledNumber)
	}
	if o.SpeedEvery > 0 {
		m.SpeedUpdateEnable = true
		m.Set(l2tp.AVPSpeedUpdateEnable)
	}
	w.engine.Wheel().Set(&s.due, now+o.SetupTimeout, s)
	if err := w.engine.Dial(now, s.tunnel.lac, &s.call, m); err != nil {
		must(err)
		s.downBeforeUp(now, err.Error())
	}
}

// Connect is called by the engine when the LNS has taken a call: it fills in the ICCN.
func (w *worker) Connect(now time.Duration, c *lac.Call, _, iccn *l2tp.Message) {
	s, o := c.User.(*session), &w.plan.opt
	iccn.TxSpeed, iccn.FramingType = uint64(o.TxSpeed), l2tp.FramingSync
	iccn.Set(l2tp.AVPTxSpeed, l2tp.AVPFramingType)
	if o.RxSpeed != 0 {
		iccn.RxSpeed = uint64(o.RxSpeed)
		iccn.Set(l2tp.AVPRxSpeed)
	}
	if o.Sequenced {
		iccn.SequencingRequired = true
		iccn.Set(l2tp.AVPSequencingRequired)
	}
	if o.Proxy != "none" {
		s.startProxied(now, iccn)
	}
}

// CallUp is called by the engine: frames may flow.
func (w *worker) CallUp(now time.Duration, c *lac.Call) {
	s := c.User.(*session)
	s.call.SetSpeed(w.plan.opt.TxSpeed, w.plan.opt.RxSpeed)
	if w.plan.opt.Proxy == "none" {
		s.client.Start(now, &w.plan.client, w.plan.user.text(s.number), w.plan.password.text(s.number), w.rnd, &w.fx)
	}
	s.apply(now)
}

// Frame is called by the engine with a PPP frame of the LNS.
func (w *worker) Frame(now time.Duration, c *lac.Call, frame []byte) {
	s := c.User.(*session)
	if w.line.delay > 0 {
		w.line.put(now, s, frame)
		return
	}
	s.frame(now, frame)
}

// frame takes a frame that has come to the subscriber.
func (s *session) frame(now time.Duration, frame []byte) {
	w := s.worker
	if w.plan.opt.Proxy != "none" && s.state == sessionDialled {
		s.sawAnew(frame, false)
	}
	s.client.Receive(now, frame, &w.fx)
	w.count.Wire.Malformed += uint64(w.fx.Malformed)
	if p := w.fx.Packet; p != nil {
		w.receivePacket(now, s, p)
	}
	s.apply(now)
}

// apply does what a step of the client wants done.
func (s *session) apply(now time.Duration) {
	w, fx := s.worker, &s.worker.fx
	for _, f := range fx.Frames {
		if w.plan.opt.Proxy == "auth" && s.state == sessionDialled {
			s.sawAnew(f, true)
		}
		w.engine.Send(&s.call, f)
	}
	if s.state == sessionDialled && (fx.Down || s.client.Phase() == subscriber.PhaseClosing) {
		cause := s.client.Reason().String()
		if len(fx.Message) > 0 {
			cause += " " + strconv.Quote(string(fx.Message))
		}
		w.count.Sessions.SettingUp--
		s.fail(cause)
		s.closing(now, closeTimeout(&w.plan.client.Limits))
	}
	up, restarted, down, reason, unanswered := fx.Up, fx.Restarted, fx.Down, fx.Reason, fx.Unanswered
	fx.Reset()
	w.engine.Wheel().Set(&s.link, s.client.Deadline(), s)
	if restarted {
		w.engine.Wheel().Stop(&s.packet)
	}
	if up {
		s.up(now)
	}
	if down {
		s.linkDown(now, reason, unanswered)
	}
}

// closing: the link has ended or is being ended; the call follows, at the latest after wait.
func (s *session) closing(now, wait time.Duration) {
	s.state = sessionClosing
	s.worker.engine.Wheel().Stop(&s.packet)
	s.worker.engine.Wheel().Set(&s.due, now+wait, s)
}

// up is IPCP opened.
func (s *session) up(now time.Duration) {
	w := s.worker
	if s.state == sessionDialled {
		s.state = sessionUp
		w.setup.add(now - s.dialled)
		w.count.Sessions.SettingUp--
		w.count.Sessions.Up++
		w.count.Sessions.Now++
		w.engine.Wheel().Stop(&s.due)
		if w.plan.opt.Hold > 0 {
			w.engine.Wheel().Set(&s.due, now+w.plan.opt.Hold, s)
		}
	}
	if s.state == sessionUp {
		s.startPackets(now)
	}
}

// Expire is for the timer wheel.
func (s *session) Expire(now time.Duration, t *wheel.Timer) {
	switch t {
	case &s.link:
		s.client.Tick(now, &s.worker.fx)
		s.apply(now)
	case &s.packet:
		s.sendPacket(now)
	case &s.due:
		s.timeout(now)
	}
}

func (s *session) timeout(now time.Duration) {
	w := s.worker
	switch s.state {
	case sessionDialled:
		w.count.Sessions.SettingUp--
		stage := s.client.Phase().String()
		if !s.call.Established() {
			stage = "ICRP"
		}
		s.fail("no answer in time: " + stage)
		s.state = sessionClosing // it is counted already
		w.engine.Hangup(now, &s.call, l2tp.Result{Code: l2tp.CDNTimeout})
	case sessionUp, sessionDrain:
		if !w.hangup && s.mayHangup(now) { // else it is hung up in its turn
			s.hangup(now)
		}
	case sessionClosing:
		w.engine.Hangup(now, &s.call, l2tp.Result{Code: l2tp.CDNLostCarrier})
	case sessionDown:
		s.tunnel.redial = append(s.tunnel.redial, s)
		s.tunnel.enqueue()
	}
}
