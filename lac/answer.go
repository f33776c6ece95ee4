package lac

import (
	"net/netip"
	"time"

	"culvert/proto/l2tp"
)

// Answerer is a Handler whose Engine places calls that LNSs ask for (RFC 2661 section 7.5).
// Of a Handler that is none, every such call is refused.
type Answerer interface {
	Handler
	// Asked: the LNS wants a subscriber called, whom ocrq names. Give the Call to make of it, which the
	// Engine owns from then on, as if dialled: Answer it when the subscriber has answered, or Hangup. Nil
	// refuses it with the result.
	Asked(now time.Duration, t *Tunnel, ocrq *l2tp.Message) (*Call, l2tp.Result)
}

// Serve makes the Engine answer LNSs that open tunnels to it, as they do for calls that they ask
// for: the Handler is told of such a tunnel by TunnelUp. cfg must not change any more; nil, the
// default, answers none.
func (e *Engine) Serve(cfg *l2tp.TunnelConfig) { e.serve = cfg }

// accept makes a tunnel of an LNS's SCCRQ.
func (e *Engine) accept(now time.Duration, sock uint16, from netip.AddrPort, datagram []byte) {
	id := e.ids.take()
	if id == 0 {
		e.stats.Dropped++
		return
	}
	t := &Tunnel{engine: e, cfg: e.serve, sock: sock, peer: from, l2tp: l2tp.NewTunnel(l2tp.RoleLNS, id, e.serve)}
	e.tunnels = put(e.tunnels, id, t)
	e.open++
	e.input(now, t, datagram)
	if e.tunnels[id] == t && t.l2tp.State() == l2tp.TunnelIdle {
		// It was no SCCRQ to begin anything with.
		e.wheel.Stop(&t.timer)
		e.tunnels[id] = nil
		e.ids.release(id)
		e.open--
	}
}

// asked takes an OCRQ.
func (e *Engine) asked(now time.Duration, t *Tunnel, m *l2tp.Message) {
	refusal := l2tp.Result{Code: l2tp.CDNNoFacilitiesEnd, Message: "no outgoing calls here"}
	var c *Call
	if a, ok := e.handler.(Answerer); ok {
		c, refusal = a.Asked(now, t, m)
	}
	id := t.ids.take()
	if id == 0 {
		refusal = l2tp.Result{Code: l2tp.CDNNoFacilities, Message: ErrNoSessionID.Error()}
	}
	fx := e.take()
	if c == nil || id == 0 {
		refused := Call{tunnel: t, l2tp: l2tp.NewOutCall(l2tp.RoleLAC, id)}
		refused.l2tp.Refuse(m, refusal, &fx.call)
		e.send(now, &refused, fx)
		if id != 0 {
			t.ids.release(id)
		}
		e.settle(now, t, fx)
		return
	}
	*c = Call{User: c.User, tunnel: t, l2tp: l2tp.NewOutCall(l2tp.RoleLAC, id), accm: defaultACCM}
	t.calls = put(t.calls, id, c)
	t.active++
	c.l2tp.Receive(m, nil, &fx.call)
	e.send(now, c, fx)
	e.settle(now, t, fx)
}

// Answer says that the subscriber of an outgoing call has answered. occn holds what the OCCN
// says beside its type; nil means a minimal one. CallUp comes before it returns. It does nothing to a
// call that is down, that is up already, or that no LNS has asked for.
func (e *Engine) Answer(now time.Duration, c *Call, occn *l2tp.Message) {
	if c.tunnel == nil || c.l2tp.State() != l2tp.CallWaitAnswer {
		return
	}
	t, fx := c.tunnel, e.take()
	c.l2tp.Answer(occn, &fx.call)
	c.required = occn != nil && occn.Has(l2tp.AVPSequencingRequired)
	c.sequence = c.required
	e.send(now, c, fx)
	up := fx.call.Up
	e.settle(now, t, fx)
	if up && c.tunnel != nil {
		e.handler.CallUp(now, c)
	}
}

// Outgoing says that the LNS asked for the call.
func (c *Call) Outgoing() bool { return c.l2tp.Outgoing() }
