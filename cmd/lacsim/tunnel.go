package main

import (
	"crypto/rand"
	"net/netip"
	"time"

	"culvert/lac"
	"culvert/lac/wheel"
	"culvert/proto/l2tp"
)

// tunnel is one LAC: a control connection and the subscribers behind it.
type tunnel struct {
	worker   *worker
	lac      *lac.Tunnel
	sessions []session
	number   int // in the run, from 1
	lns      netip.AddrPort
	sock     uint16
	state    tunnelState
	queued   bool // in worker.ready
	next     int  // sessions before this one were dialled
	redial   []*session
	hung     int // sessions before this one were hung up
	opened   time.Duration
	timer    wheel.Timer // to open it again
}

type tunnelState uint8

const (
	tunnelIdle tunnelState = iota
	tunnelOpening
	tunnelUp
	tunnelStopping
	tunnelClosed
)

func (t *tunnel) open(now time.Duration) {
	w, o := t.worker, &t.worker.plan.opt
	cfg := &l2tp.TunnelConfig{
		HostName: w.plan.hostName.text(t.number), VendorName: "Culvert lacsim", Secret: []byte(o.Secret), Rand: rand.Reader,
		Control: l2tp.ControlConfig{Window: o.Window, Hello: o.Hello},
	}
	if o.Failover {
		cfg.Failover = l2tp.Failover{Control: true, Data: true, RecoveryTime: o.Recovery}
	}
	t.opened, t.state = now, tunnelOpening
	w.live++
	t.opens(true)
	w.count.Tunnels.Opened++
	w.count.Tunnels.Opening++
	var err error
	if t.lac, err = w.engine.Open(now, t.sock, t.lns, cfg); err != nil {
		w.live--
		w.count.Tunnels.Opening--
		t.opens(false)
		t.failed(now, err.Error())
		return
	}
	t.lac.User = t
}

// opens notes that the tunnel is, or is no more, the one being opened from its socket.
func (t *tunnel) opens(yes bool) {
	slot := &t.worker.socks[t.sock]
	switch {
	case yes:
		*slot = t
	case *slot == t:
		*slot = nil
	}
}

// failed is the end of a tunnel that was not asked for. Sessions that were to be
// dialled in it fail with it, unless it is opened again.
func (t *tunnel) failed(now time.Duration, cause string) {
	w := t.worker
	t.state = tunnelClosed
	w.count.Tunnels.Failed++
	w.count.TunnelFailures.add(cause, 1)
	if w.hangup {
		return
	}
	if w.plan.opt.Redial {
		t.state = tunnelIdle
		w.engine.Wheel().Set(&t.timer, now+w.plan.opt.RedialDelay, t)
		return
	}
	for ; t.next < len(t.sessions); t.next++ {
		t.sessions[t.next].fail("no tunnel: " + cause)
	}
}

// Expire opens a tunnel again.
func (t *tunnel) Expire(now time.Duration, _ *wheel.Timer) {
	if t.state == tunnelIdle && !t.worker.hangup {
		t.open(now)
	}
}

// wantsDial says whether the tunnel is up and has sessions to dial.
func (t *tunnel) wantsDial() bool {
	return t.state == tunnelUp && (t.next < len(t.sessions) || len(t.redial) > 0)
}

// enqueue puts the tunnel among those that dial.
func (t *tunnel) enqueue() {
	if !t.queued && t.wantsDial() && !t.worker.hangup {
		t.queued = true
		t.worker.ready = append(t.worker.ready, t)
	}
}

// dialNext dials one session if there is room in the LNS's window.
func (t *tunnel) dialNext(now time.Duration) bool {
	if !t.wantsDial() || t.lac.Unacked() >= t.lac.Window() {
		return false
	}
	if t.next < len(t.sessions) {
		t.next++
		t.sessions[t.next-1].dial(now)
		return true
	}
	s := t.redial[0]
	t.redial = t.redial[1:]
	s.dial(now)
	return true
}

// hangupSome ends sessions as far as the LNS's window permits, then the tunnel. It reports
// whether nothing is left to do.
func (t *tunnel) hangupSome(now time.Duration) bool {
	w := t.worker
	switch t.state {
	case tunnelOpening:
		t.stop(now)
		return true
	case tunnelUp:
	default:
		return true
	}
	if w.plan.opt.Hangup != "stopccn" {
		for ; t.hung < len(t.sessions) && w.underWay() < w.flight; t.hung++ {
			if t.lac.Unacked() >= t.lac.Window() || !t.sessions[t.hung].mayHangup(now) {
				return false
			}
			t.sessions[t.hung].hangup(now)
		}
		if t.hung < len(t.sessions) || t.lac.Calls() > 0 {
			return false
		}
	} else if t.waiting(now) {
		return false
	}
	t.stop(now)
	return true
}

// waiting says whether a session waits for its packets.
func (t *tunnel) waiting(now time.Duration) bool {
	for ; t.hung < len(t.sessions); t.hung++ {
		if !t.sessions[t.hung].mayHangup(now) {
			return true
		}
	}
	return false
}

func (t *tunnel) stop(now time.Duration) {
	t.worker.engine.Stop(now, t.lac, l2tp.Result{Code: l2tp.StopShutdown})
}

// TunnelUp is called by the engine.
func (w *worker) TunnelUp(now time.Duration, l *lac.Tunnel) {
	t := l.User.(*tunnel)
	t.state = tunnelUp
	t.opens(false)
	w.count.Tunnels.Opening--
	w.count.Tunnels.Up++
	w.count.Tunnels.Now++
	w.openTime.add(now - t.opened)
	t.enqueue()
}

// TunnelDown is called by the engine.
func (w *worker) TunnelDown(now time.Duration, l *lac.Tunnel, end lac.End) {
	t := l.User.(*tunnel)
	w.count.Wire.Retransmissions += uint64(l.Retransmissions())
	t.opens(false)
	opening := t.state == tunnelOpening
	if opening {
		w.count.Tunnels.Opening--
	} else {
		w.count.Tunnels.Now--
	}
	switch {
	case end.Local && opening:
		// Nobody has answered yet, so nobody may ever acknowledge the StopCCN.
		end.Reason = l2tp.ReasonTimeout
	case end.Local:
		t.state = tunnelStopping
		return
	}
	w.live--
	t.failed(now, tunnelCause(end))
}

// TunnelClosed is called by the engine.
func (w *worker) TunnelClosed(_ time.Duration, l *lac.Tunnel, clean bool) {
	t := l.User.(*tunnel)
	if t.lac != l || t.state != tunnelStopping {
		return
	}
	t.state = tunnelClosed
	w.live--
	if clean {
		w.count.Tunnels.Clean++
		return
	}
	w.count.Tunnels.Unclean++
	w.count.TunnelFailures.add("StopCCN not acknowledged", 1)
}

// tunnelCause is an End of a tunnel in words.
func tunnelCause(end lac.End) string {
	switch {
	case end.Err != nil && end.Reason != l2tp.ReasonPeer:
		return end.Reason.String() + ": " + end.Err.Error()
	case end.Reason == l2tp.ReasonPeer:
		return "StopCCN " + codes(end.Result) + end.Result.StopCCN()
	}
	return end.Reason.String()
}

// fail has every tunnel that is up fail and recover; those that cannot live on as they are.
func (w *worker) fail(now time.Duration) {
	for i := range w.tunnels {
		if t := &w.tunnels[i]; t.state == tunnelUp {
			_ = w.engine.Fail(now, t.lac)
		}
	}
}
