package main

import (
	"math/rand/v2"
	"time"

	"culvert/lac"
	"culvert/lac/subscriber"
	"culvert/lac/wheel"
	"culvert/proto/l2tp"
)

// answeredCall is one call that an LNS has asked for, and its subscriber.
type answeredCall struct {
	a                *answerer
	number           int
	call             lac.Call
	client           subscriber.Client
	ring, link, hold wheel.Timer
	up, local        bool
}

// Asked is called by the engine with an OCRQ.
func (a *answerer) Asked(now time.Duration, t *lac.Tunnel, ocrq *l2tp.Message) (*lac.Call, l2tp.Result) {
	a.report.Asked++
	n := int(a.report.Asked)
	a.say(now, "call %d: tunnel %d asks for %q%s, %d to %d bit/s", n, t.ID(), ocrq.CalledNumber, subAddress(ocrq), ocrq.MinimumBPS, ocrq.MaximumBPS)
	if a.BusyEvery > 0 && n%a.BusyEvery == 0 {
		a.report.Busy++
		a.ended++
		a.say(now, "call %d: busy", n)
		return nil, l2tp.Result{Code: l2tp.CDNBusy, Message: "busy"}
	}
	c := &answeredCall{a: a, number: n}
	c.call.User = c
	a.engine.Wheel().Set(&c.ring, now+a.Rings, c)
	return &c.call, l2tp.Result{}
}

func subAddress(m *l2tp.Message) string {
	if len(m.SubAddress) == 0 {
		return ""
	}
	return " sub-address " + string(m.SubAddress)
}

// Expire is for the timer wheel.
func (c *answeredCall) Expire(now time.Duration, t *wheel.Timer) {
	a := c.a
	switch t {
	case &c.ring:
		a.report.Answered++
		occn := &l2tp.Message{TxSpeed: uint64(a.TxSpeed), RxSpeed: uint64(a.RxSpeed), FramingType: l2tp.FramingSync}
		occn.Set(l2tp.AVPTxSpeed, l2tp.AVPRxSpeed, l2tp.AVPFramingType)
		a.say(now, "call %d: the subscriber answers", c.number)
		a.engine.Answer(now, &c.call, occn)
	case &c.link:
		c.client.Tick(now, &a.fx)
		c.apply(now)
	case &c.hold:
		c.local = true
		a.engine.Hangup(now, &c.call, l2tp.Result{Code: l2tp.CDNLostCarrier})
	}
}

// CallUp is called by the engine when the OCCN is on its way.
func (a *answerer) CallUp(now time.Duration, lc *lac.Call) {
	c := lc.User.(*answeredCall)
	lc.SetSpeed(a.TxSpeed, a.RxSpeed)
	c.client.Start(now, &a.client, a.user.text(c.number), a.password.text(c.number), rand.NewPCG(rand.Uint64(), uint64(c.number)), &a.fx)
	c.apply(now)
}

// Frame is called by the engine with a PPP frame of the LNS.
func (a *answerer) Frame(now time.Duration, lc *lac.Call, frame []byte) {
	c := lc.User.(*answeredCall)
	c.client.Receive(now, frame, &a.fx)
	c.apply(now)
}

// apply does what a step of the subscriber wants done.
func (c *answeredCall) apply(now time.Duration) {
	a := c.a
	for _, f := range a.fx.Frames {
		a.engine.Send(&c.call, f)
	}
	up, down, reason := a.fx.Up, a.fx.Down, a.fx.Reason
	a.fx.Reset()
	a.engine.Wheel().Set(&c.link, c.client.Deadline(), c)
	if up && !c.up {
		c.up = true
		a.report.Up++
		a.say(now, "call %d: up, address %v", c.number, c.client.Address())
		if a.Hold > 0 {
			a.engine.Wheel().Set(&c.hold, now+a.Hold, c)
		}
	}
	if down {
		a.say(now, "call %d: PPP is down: %v", c.number, reason)
		// The CDN is the LNS's where it ended PPP; if it forgets, it is ours.
		a.engine.Wheel().Set(&c.hold, now+lingerForCDN, c)
	}
}

// CallDown is called by the engine when a call has ended, whoever ended it.
func (a *answerer) CallDown(now time.Duration, lc *lac.Call, end lac.End) {
	c := lc.User.(*answeredCall)
	for _, t := range []*wheel.Timer{&c.ring, &c.link, &c.hold} {
		a.engine.Wheel().Stop(t)
	}
	a.ended++
	cause := callCause(end)
	switch {
	case c.local:
		a.report.HungUp++
		cause = "hung up"
	case !c.up:
		a.report.Failures.add(cause, 1)
	case !end.Local:
		a.report.ByLNS++
	}
	a.say(now, "call %d: down: %s", c.number, cause)
}
