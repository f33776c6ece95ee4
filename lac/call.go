package lac

import (
	"encoding/binary"
	"time"

	"culvert/proto/l2tp"
)

// Call is one incoming call: a subscriber's PPP link through a tunnel. The
// user makes it, maybe as a field of something of its own; the Engine owns it from
// Dial to CallDown, after which it may be dialled again.
type Call struct {
	// User is the user's own.
	User any

	tunnel   *Tunnel
	l2tp     l2tp.Call
	sequence bool // number data messages
	required bool // because the ICCN said so
	ns       uint16
	in       l2tp.DataSequence
	accm     l2tp.ACCM
	tx, rx   uint32 // bit/s
}

// Dial places c in the tunnel. icrq holds what the ICRQ says beside its type and session id.
func (e *Engine) Dial(now time.Duration, t *Tunnel, c *Call, icrq *l2tp.Message) error {
	if !t.Up() {
		return ErrTunnelDown
	}
	id := t.ids.take()
	if id == 0 {
		return ErrNoSessionID
	}
	*c = Call{User: c.User, tunnel: t, l2tp: l2tp.NewCall(l2tp.RoleLAC, id), accm: defaultACCM}
	t.calls = put(t.calls, id, c)
	t.active++
	fx := e.take()
	c.l2tp.Dial(icrq, &fx.call)
	e.send(now, c, fx)
	e.settle(now, t, fx)
	return nil
}

// Hangup ends a call with a CDN. It does nothing to a call that is down.
func (e *Engine) Hangup(now time.Duration, c *Call, r l2tp.Result) {
	if c.tunnel != nil {
		e.hangup(now, c, End{Local: true, Result: r})
	}
}

func (e *Engine) hangup(now time.Duration, c *Call, end End) {
	t, fx := c.tunnel, e.take()
	c.l2tp.Close(end.Result, nil, &fx.call)
	e.send(now, c, fx)
	e.forget(c)
	e.settle(now, t, fx)
	e.handler.CallDown(now, c, end)
}

func (e *Engine) callMessage(now time.Duration, c *Call, m *l2tp.Message) {
	if m.Type == l2tp.MessageSLI {
		c.accm = m.ACCM
		e.stats.LinkInfos++
		return
	}
	t, fx := c.tunnel, e.take()
	if m.Type == l2tp.MessageICRP {
		fx.iccn.Reset()
		e.handler.Connect(now, c, m, &fx.iccn)
		if c.tunnel == nil {
			e.give(fx) // the handler hung up
			return
		}
		c.required = fx.iccn.Has(l2tp.AVPSequencingRequired)
		c.sequence = c.required
	}
	c.l2tp.Receive(m, &fx.iccn, &fx.call)
	e.send(now, c, fx)
	up, down := fx.call.Up, fx.call.Down
	end := End{Local: fx.call.Local, Result: fx.call.Result}
	if down {
		e.forget(c)
	}
	e.settle(now, t, fx)
	switch {
	case up:
		e.handler.CallUp(now, c)
	case down:
		e.handler.CallDown(now, c, end)
	}
}

// send gives the tunnel what a step of the call wants sent.
func (e *Engine) send(now time.Duration, c *Call, fx *effects) {
	if m := fx.call.Send; m != nil {
		c.tunnel.l2tp.Send(now, m, c.l2tp.PeerID(), &fx.tunnel)
	}
}

// forget takes a call out of its tunnel.
func (e *Engine) forget(c *Call) {
	id := c.l2tp.LocalID()
	c.tunnel.calls[id] = nil
	c.tunnel.ids.release(id)
	c.tunnel.active--
	c.tunnel = nil
}

// Send sends a PPP frame on an established call, and drops it on any other.
func (e *Engine) Send(c *Call, frame []byte) {
	t := c.tunnel
	if t == nil || c.l2tp.State() != l2tp.CallEstablished {
		return
	}
	b := append(e.out.Reserve(), 0, 2)
	if c.sequence {
		b[0] = 0x08
	}
	b = binary.BigEndian.AppendUint16(b, t.l2tp.PeerID())
	b = binary.BigEndian.AppendUint16(b, c.l2tp.PeerID())
	if c.sequence {
		b = binary.BigEndian.AppendUint16(b, c.ns)
		b = append(b, 0, 0)
		c.ns++
	}
	e.stats.DataOut++
	e.out.Queue(t.sock, t.peer, append(b, frame...))
}

// Tunnel is the tunnel of a call, nil when the call is down.
func (c *Call) Tunnel() *Tunnel { return c.tunnel }

// ID and PeerID are the ids that this side and the LNS gave the call.
func (c *Call) ID() uint16 { return c.l2tp.LocalID() }

// PeerID is the LNS's id of the call, 0 while it is not known.
func (c *Call) PeerID() uint16 { return c.l2tp.PeerID() }

// Established says whether frames may flow.
func (c *Call) Established() bool { return c.tunnel != nil && c.l2tp.State() == l2tp.CallEstablished }
