package lac

import (
	"errors"
	"net/netip"
	"time"

	"culvert/proto/l2tp"
)

// The LAC's part of RFC 4951: as the remote endpoint, when the LNS has failed and recovers a
// tunnel, and as the recovery endpoint, after Fail. Tunnels are recovered whose configuration
// and whose LNS offer it (TunnelConfig.Failover).

// Errors in the End of a call or tunnel.
var (
	// ErrNotEstablished: the tunnel was recovered while the call was being set up.
	ErrNotEstablished = errors.New("lac: the call was not established when its tunnel was recovered")
	// ErrUnknownCall: after a recovery the LNS said that it does not have the call.
	ErrUnknownCall = errors.New("lac: the LNS does not have the call, by its Failover-Session-Response")
	// ErrNoFailover is of Fail.
	ErrNoFailover = errors.New("lac: failover was not negotiated for the tunnel")
)

// FailoverStats counts recoveries of tunnels.
type FailoverStats struct {
	// Recovered tunnels had lost their numbers here, Failed ones could not be recovered, and Remote ones were
	// recovered by their LNS. Cleared calls were known to one end only, or not established.
	Recovered uint64 `json:"recovered"`
	Failed    uint64 `json:"failed"`
	Remote    uint64 `json:"remote"`
	Cleared   uint64 `json:"cleared"`
}

// failed is the state of a tunnel that waits for its recovery.
type failed struct {
	until time.Duration // when to give up
	retry time.Duration // when to open a recovery tunnel
}

func (f *failed) deadline() time.Duration {
	if f == nil {
		return l2tp.Never
	}
	return f.retry
}

// recoveryRetry is the pause before another recovery tunnel, where the one before lost a tie
// that nobody won.
const recoveryRetry = time.Second

// Fail has the LAC lose what a failure may lose of a tunnel, the numbers of its control channel and the calls that
// are not established, and recover it (RFC 4951 section 3.2). Calls end with ErrNotEstablished at
// once, with ErrUnknownCall when the LNS does not have them. Should the recovery fail, the tunnel
// ends with ReasonRecovery. The error is ErrTunnelDown or ErrNoFailover.
func (e *Engine) Fail(now time.Duration, t *Tunnel) error {
	switch {
	case !t.Up():
		return ErrTunnelDown
	case !t.l2tp.Failover().Control:
		return ErrNoFailover
	}
	t.l2tp.Hold()
	t.failed = &failed{until: now + 2*t.cfg.Control.Cycle(), retry: l2tp.Never}
	e.clearCalls(now, t, func(c *Call) error {
		if c.l2tp.State() != l2tp.CallEstablished {
			return ErrNotEstablished
		}
		c.ns, c.in = 0, l2tp.DataSequence{} // section 3.2.3
		return nil
	})
	e.openRecovery(now, t)
	return nil
}

// openRecovery opens a recovery tunnel, unless one of the LNS's is under way.
func (e *Engine) openRecovery(now time.Duration, old *Tunnel) {
	f := old.failed
	for _, t := range e.tunnels {
		if t != nil && t.recovers == old && t.l2tp.State() == l2tp.TunnelWaitConn {
			f.retry = now + recoveryRetry
			e.schedule(now, old)
			return
		}
	}
	var t *Tunnel
	if now < f.until {
		t = e.makeRecovery(old, l2tp.RoleLAC)
	}
	if t == nil {
		e.recoveryFailed(now, old)
		return
	}
	f.retry = l2tp.Never
	fx := e.take()
	t.l2tp.OpenRecovery(now, l2tp.Recovery{Tunnel: old.ID(), Remote: old.PeerID()}, &fx.tunnel)
	e.settle(now, t, fx)
	e.schedule(now, old)
}

// makeRecovery is nil when no tunnel id is left.
func (e *Engine) makeRecovery(old *Tunnel, role l2tp.Role) *Tunnel {
	id := e.ids.take()
	if id == 0 {
		return nil
	}
	e.rounds++
	t := &Tunnel{
		engine: e, cfg: old.cfg, sock: old.sock, peer: old.peer, l2tp: l2tp.NewTunnel(role, id, old.cfg),
		recovers: old, round: e.rounds, stopAt: l2tp.Never,
	}
	e.tunnels = put(e.tunnels, id, t)
	return t
}

// recoverySCCRQ takes an SCCRQ with a Tunnel Recovery, and says whether it was one.
func (e *Engine) recoverySCCRQ(now time.Duration, sock uint16, from netip.AddrPort, payload, datagram []byte) bool {
	var m l2tp.Message
	_ = l2tp.ParseMessage(payload, nil, &m)
	if m.Type != l2tp.MessageSCCRQ || !m.Has(l2tp.AVPTunnelRecovery) {
		return false
	}
	old := e.oldTunnel(sock, from, m.Recovery)
	if old == nil {
		e.refuseRecovery(sock, from, &m)
		return true
	}
	for _, t := range e.tunnels {
		if t == nil || t.recovers != old {
			continue
		}
		fx := e.take()
		tie := t.l2tp.Collide(now, datagram, &fx.tunnel)
		e.settle(now, t, fx)
		switch {
		case tie == l2tp.TieWon:
			return true
		case tie == l2tp.TieBoth:
			old.failed.retry = now + recoveryRetry
			e.schedule(now, old)
			return true
		}
	}
	if t := e.makeRecovery(old, l2tp.RoleLNS); t != nil {
		t.peer, t.suggested = from, old.l2tp.Suggest()
		t.l2tp.AnswerRecovery(t.suggested)
		e.input(now, t, datagram)
	}
	return true
}

// oldTunnel is the one that an LNS wants recovered, nil where that is not possible
// (RFC 4951 section 3.2.1).
func (e *Engine) oldTunnel(sock uint16, from netip.AddrPort, r l2tp.Recovery) *Tunnel {
	if int(r.Remote) >= len(e.tunnels) {
		return nil
	}
	t := e.tunnels[r.Remote]
	if t == nil || t.recovers != nil || !t.Up() || t.sock != sock || t.peer.Addr() != from.Addr() || t.PeerID() != r.Tunnel || !t.l2tp.Failover().Control {
		return nil
	}
	return t
}

// refuseRecovery says that there is no such tunnel, in an id that nobody gets.
func (e *Engine) refuseRecovery(sock uint16, from netip.AddrPort, m *l2tp.Message) {
	e.stats.NoTunnel++
	id := e.ids.take()
	if id == 0 || m.AssignedTunnelID == 0 {
		return
	}
	e.ids.release(id)
	e.out.Queue(sock, from, l2tp.AppendRefusal(e.out.Reserve(), m, id, l2tp.ResultNoRecovery))
}

// recoveryEvent is an event of a recovery tunnel.
func (e *Engine) recoveryEvent(now time.Duration, t *Tunnel, ev *l2tp.Event) {
	old := t.recovers
	switch {
	case ev.Kind == l2tp.EventUp && old.Up():
		e.recovered(now, t, ev.Message.SuggestedSequence)
	case ev.Kind == l2tp.EventUp:
		t.stopAt = now // for a tunnel that has ended meanwhile
	case ev.Kind != l2tp.EventDown:
		return
	case t.down || old.failed == nil || ev.Reason == l2tp.ReasonTie:
	case ev.Reason == l2tp.ReasonPeer && t.l2tp.Role() == l2tp.RoleLAC:
		e.recoveryFailed(now, old) // section 3.2.1: the LNS does not want it
	default:
		old.failed.retry = now + recoveryRetry
		e.schedule(now, old)
	}
	t.down = t.down || ev.Kind == l2tp.EventDown
}

// recovered is the reset of the old tunnel's control channel (RFC 4951 section 3.2.2), and what
// follows it.
func (e *Engine) recovered(now time.Duration, t *Tunnel, s l2tp.SuggestedSequence) {
	old, ours := t.recovers, t.l2tp.Role() == l2tp.RoleLAC
	if ours {
		e.stats.Failovers.Recovered++
	} else {
		e.stats.Failovers.Remote++
		s = l2tp.SuggestedSequence{Ns: t.suggested.Nr, Nr: t.suggested.Ns}
		t.stopAt = now + t.cfg.Control.Cycle() // should the LNS not end it
	}
	old.failed = nil
	fx := e.take()
	if ours {
		t.l2tp.Stop(now, l2tp.Result{Code: l2tp.StopGeneral}, &fx.tunnel)
		e.settle(now, t, fx)
		fx = e.take()
	}
	old.l2tp.Reset(now, s.Ns, s.Nr, &fx.tunnel)
	e.settle(now, old, fx)
	e.overtake(now, t)
	e.synchronize(now, old)
}

// overtake ends recovery tunnels of the same tunnel that were begun before t: they must not
// reset it once more.
func (e *Engine) overtake(now time.Duration, t *Tunnel) {
	for _, o := range e.tunnels {
		if o != nil && o.recovers == t.recovers && o.round < t.round && o.l2tp.State() != l2tp.TunnelStopping {
			fx := e.take()
			o.l2tp.Abandon(&fx.tunnel)
			e.settle(now, o, fx)
		}
	}
}

// synchronize clears the calls that are not established, and asks for all others
// (RFC 4951 section 3.3).
func (e *Engine) synchronize(now time.Duration, t *Tunnel) {
	var states []l2tp.SessionState
	e.clearCalls(now, t, func(c *Call) error {
		if c.l2tp.State() != l2tp.CallEstablished {
			return ErrNotEstablished
		}
		states = append(states, l2tp.SessionState{Session: c.ID(), Remote: c.PeerID()})
		return nil
	})
	fx := e.take()
	_ = t.l2tp.SendStates(now, l2tp.MessageFSQ, states, &fx.tunnel) // a full queue ends the tunnel by an event
	e.settle(now, t, fx)
}

// clearCalls ends the calls that why names an error for, silently.
func (e *Engine) clearCalls(now time.Duration, t *Tunnel, why func(*Call) error) {
	for _, c := range t.calls {
		if c == nil {
			continue
		}
		if err := why(c); err != nil {
			e.clearCall(now, c, err)
		}
	}
}

func (e *Engine) clearCall(now time.Duration, c *Call, err error) {
	e.stats.Failovers.Cleared++
	e.forget(c)
	e.handler.CallDown(now, c, End{Local: true, Err: err})
}

// queried answers an FSQ, and asks for calls that the LNS knows by another id.
func (e *Engine) queried(now time.Duration, t *Tunnel, m *l2tp.Message) {
	answer, stale := l2tp.AnswerFSQ(m, func(id uint16) (uint16, bool) {
		c := t.call(id)
		if c == nil {
			return 0, false
		}
		return c.PeerID(), true
	})
	var ask []l2tp.SessionState
	for _, id := range stale {
		ask = append(ask, l2tp.SessionState{Session: id, Remote: t.call(id).PeerID()})
	}
	fx := e.take()
	if t.l2tp.SendStates(now, l2tp.MessageFSR, answer, &fx.tunnel) == nil {
		_ = t.l2tp.SendStates(now, l2tp.MessageFSQ, ask, &fx.tunnel)
	}
	e.settle(now, t, fx)
}

// responded clears the calls that the LNS does not have.
func (e *Engine) responded(now time.Duration, t *Tunnel, m *l2tp.Message) {
	for _, s := range m.SessionStates {
		if c := t.call(s.Remote); c != nil && s.Session == 0 && c.l2tp.State() == l2tp.CallEstablished {
			e.clearCall(now, c, ErrUnknownCall)
		}
	}
}

// recoveryFailed clears the old tunnel silently (RFC 4951 section 3.2.1).
func (e *Engine) recoveryFailed(now time.Duration, old *Tunnel) {
	e.stats.Failovers.Failed++
	old.failed = nil
	fx := e.take()
	old.l2tp.Abandon(&fx.tunnel)
	e.settle(now, old, fx)
}

// scheduleRecovery sets a recovery tunnel's timer, or forgets it: at once when our StopCCN is
// acknowledged, or the old tunnel is gone.
func (e *Engine) scheduleRecovery(t *Tunnel) {
	unacked := t.l2tp.Unacked()
	e.unacked += unacked - t.unacked
	t.unacked = unacked
	over := t.l2tp.Done() || t.down && t.l2tp.Role() == l2tp.RoleLAC && unacked == 0 || t.l2tp.State() == l2tp.TunnelIdle
	if !over {
		e.wheel.Set(&t.timer, min(t.l2tp.Deadline(), t.stopAt), t)
		return
	}
	if id := t.l2tp.LocalID(); e.tunnels[id] == t {
		e.wheel.Stop(&t.timer)
		e.tunnels[id] = nil
		e.ids.release(id)
		e.unacked -= t.unacked
		t.unacked = 0
	}
}
