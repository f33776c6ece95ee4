package lac

import (
	"net/netip"
	"time"

	"culvert/lac/wheel"
	"culvert/proto/l2tp"
)

// Tunnel is one control connection to an LNS. It belongs to its Engine.
type Tunnel struct {
	// User is the user's own.
	User any

	engine  *Engine
	cfg     *l2tp.TunnelConfig
	l2tp    *l2tp.Tunnel
	sock    uint16
	peer    netip.AddrPort
	timer   wheel.Timer
	calls   []*Call // by local session id
	ids     idPool
	active  int
	unacked int // as last counted in engine.unacked
	down    bool
	stopped bool // a StopCCN of ours is what ended it
	peerEnd bool // a StopCCN of the peer is
	closed  bool
	// failed is set while the tunnel waits for its recovery; what follows in recovery tunnels.
	failed    *failed
	recovers  *Tunnel
	round     uint64
	stopAt    time.Duration
	suggested l2tp.SuggestedSequence
}

// Open begins a tunnel from socket sock to the LNS at peer. cfg may be shared; it
// must not change any more.
func (e *Engine) Open(now time.Duration, sock uint16, peer netip.AddrPort, cfg *l2tp.TunnelConfig) (*Tunnel, error) {
	id := e.ids.take()
	if id == 0 {
		return nil, ErrNoTunnelID
	}
	t := &Tunnel{engine: e, cfg: cfg, sock: sock, peer: peer, l2tp: l2tp.NewTunnel(l2tp.RoleLAC, id, cfg)}
	e.tunnels = put(e.tunnels, id, t)
	e.open++
	fx := e.take()
	t.l2tp.Open(now, &fx.tunnel)
	e.settle(now, t, fx)
	return t, nil
}

// Stop ends the tunnel and its calls with a StopCCN.
func (e *Engine) Stop(now time.Duration, t *Tunnel, r l2tp.Result) {
	if t.down {
		return
	}
	fx := e.take()
	t.l2tp.Stop(now, r, &fx.tunnel)
	e.settle(now, t, fx)
}

func (e *Engine) tunnelDown(now time.Duration, t *Tunnel, ev *l2tp.Event) {
	t.down = true
	t.stopped = ev.Local && ev.Reason != l2tp.ReasonTimeout && ev.Reason != l2tp.ReasonTie && ev.Reason != l2tp.ReasonRecovery
	t.peerEnd = !ev.Local && ev.Reason != l2tp.ReasonTimeout
	end := End{Local: ev.Local && ev.Reason == l2tp.ReasonLocal, Tunnel: true, Reason: ev.Reason, Result: ev.Result, Err: ev.Err}
	for _, c := range t.calls {
		if c != nil {
			e.forget(c)
			e.handler.CallDown(now, c, end)
		}
	}
	e.handler.TunnelDown(now, t, end)
}

// schedule sets the tunnel's timer, or forgets a tunnel that is done.
func (e *Engine) schedule(now time.Duration, t *Tunnel) {
	if t.recovers != nil {
		e.scheduleRecovery(t)
		return
	}
	unacked := t.l2tp.Unacked()
	e.unacked += unacked - t.unacked
	t.unacked = unacked
	if t.down && !t.closed && (t.l2tp.Done() || t.stopped && t.l2tp.Unacked() == 0) {
		t.closed = true
		e.handler.TunnelClosed(now, t, t.l2tp.Unacked() == 0 && (t.stopped || t.peerEnd))
	}
	if !t.l2tp.Done() {
		e.wheel.Set(&t.timer, min(t.l2tp.Deadline(), t.failed.deadline()), t)
		return
	}
	if id := t.l2tp.LocalID(); e.tunnels[id] == t {
		e.wheel.Stop(&t.timer)
		e.tunnels[id] = nil
		e.ids.release(id)
		e.open--
		e.unacked -= t.unacked
		t.unacked = 0
	}
}

// Expire is for the Engine's timer wheel.
func (t *Tunnel) Expire(now time.Duration, _ *wheel.Timer) {
	switch {
	case t.failed.deadline() <= now:
		t.engine.openRecovery(now, t)
		return
	case t.recovers != nil && t.stopAt <= now:
		t.stopAt = l2tp.Never
		t.engine.Stop(now, t, l2tp.Result{Code: l2tp.StopGeneral})
		return
	}
	fx := t.engine.take()
	t.l2tp.Tick(now, &fx.tunnel)
	t.engine.settle(now, t, fx)
}

// float lets the LNS answer from another address and port than it was called at, once
// (RFC 2661 section 8.1).
func (t *Tunnel) float(from netip.AddrPort, control bool) bool {
	if !control || t.l2tp.State() != l2tp.TunnelWaitReply {
		return false
	}
	t.peer = from
	return true
}

func (t *Tunnel) call(id uint16) *Call {
	if int(id) < len(t.calls) {
		return t.calls[id]
	}
	return nil
}

// byPeer is the call that the LNS gave an id, nil where there is none.
func (t *Tunnel) byPeer(id uint16) *Call {
	for _, c := range t.calls {
		if c != nil && id != 0 && c.l2tp.PeerID() == id {
			return c
		}
	}
	return nil
}

// Up says whether calls may be placed.
func (t *Tunnel) Up() bool { return t.l2tp.State() == l2tp.TunnelEstablished }

// Window is the LNS's receive window, in messages, once the tunnel is up.
func (t *Tunnel) Window() int { return max(int(t.l2tp.PeerWindow()), 1) }

// Unacked is how many control messages the LNS has not acknowledged.
func (t *Tunnel) Unacked() int { return t.l2tp.Unacked() }

// Retransmissions is how many control messages were sent again, ever.
func (t *Tunnel) Retransmissions() uint32 { return t.l2tp.Retransmissions() }

// Calls is how many calls the tunnel has, those being set up included.
func (t *Tunnel) Calls() int { return t.active }

// ID and PeerID are the ids that this side and the LNS gave the tunnel.
func (t *Tunnel) ID() uint16 { return t.l2tp.LocalID() }

// PeerID is the LNS's id of the tunnel, 0 while it is not known.
func (t *Tunnel) PeerID() uint16 { return t.l2tp.PeerID() }

// PeerName is the LNS's Host Name, once the tunnel is up.
func (t *Tunnel) PeerName() string { return t.l2tp.PeerName() }

// Peer is where the LNS's end is.
func (t *Tunnel) Peer() netip.AddrPort { return t.peer }

// Opened says whether this end's SCCRQ made the tunnel; else the peer's did, which
// crossed it and had the lower tie breaker.
func (t *Tunnel) Opened() bool { return t.l2tp.Role() == l2tp.RoleLAC }
