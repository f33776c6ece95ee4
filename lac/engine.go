package lac

import (
	"errors"
	"net/netip"
	"time"

	"culvert/lac/wheel"
	"culvert/proto/l2tp"
)

// Errors of Open and Dial.
var (
	ErrNoTunnelID  = errors.New("lac: all 65,535 tunnel ids are in use")
	ErrNoSessionID = errors.New("lac: all 65,535 session ids of the tunnel are in use")
	ErrTunnelDown  = errors.New("lac: the tunnel is not up")
)

// Output sends datagrams; udp.Group is one. Reserve gives an empty buffer of at
// least 2,048 octets, which is appended to and handed back to Queue.
type Output interface {
	Reserve() []byte
	Queue(sock uint16, to netip.AddrPort, b []byte)
}

// Handler is told what happens to tunnels and calls. Its methods are called from
// within the Engine's methods and may call those in turn. They must not keep
// slices or messages they are given.
type Handler interface {
	// TunnelUp: calls may be placed.
	TunnelUp(now time.Duration, t *Tunnel)
	// TunnelDown comes once for every tunnel opened, after CallDown of its calls.
	TunnelDown(now time.Duration, t *Tunnel, end End)
	// TunnelClosed comes once after TunnelDown. clean says that a StopCCN ended the tunnel
	// and was acknowledged.
	TunnelClosed(now time.Duration, t *Tunnel, clean bool)
	// Connect: the LNS took the call with icrp. Fill in iccn: its type and ids
	// are set by the Engine.
	Connect(now time.Duration, c *Call, icrp, iccn *l2tp.Message)
	// CallUp: the ICCN is on its way, frames may flow.
	CallUp(now time.Duration, c *Call)
	// CallDown comes once for every call dialled, whoever ends it.
	CallDown(now time.Duration, c *Call, end End)
	// Frame is a PPP frame of an established call, as it came.
	Frame(now time.Duration, c *Call, frame []byte)
}

// End says how a tunnel or call ended.
type End struct {
	// Local: this side's Hangup or Stop ended it, or this side's verdict on a
	// message of the peer, which Err then holds.
	Local bool
	// Tunnel: the tunnel has ended. For a call, it means that it ended silently with its tunnel.
	Tunnel bool
	// Reason is why a tunnel ended.
	Reason l2tp.Reason
	// Result is what the CDN or StopCCN said.
	Result l2tp.Result
	Err    error
}

// Stats counts datagrams that were dropped, by why, and data messages.
type Stats struct {
	DataIn, DataOut uint64
	// Malformed had no valid header; NoTunnel and NoSession named none that exists; Stranger came
	// from another address than the tunnel's peer; Dropped were refused by the control connection; Late
	// were data messages that came twice, or after their turn.
	Malformed, NoTunnel, NoSession, Stranger, Dropped, Late uint64
	Failovers                                               FailoverStats
	// SpeedRequests are CSURQs, LinkInfos SLIs of LNSs.
	SpeedRequests, LinkInfos uint64
}

// Engine owns tunnels and calls.
type Engine struct {
	out     Output
	handler Handler
	wheel   *wheel.Wheel
	tunnels []*Tunnel // by local id
	ids     idPool
	open    int
	unacked int
	spare   []*effects
	serve   *l2tp.TunnelConfig // of tunnels that LNSs open; nil answers none
	stats   Stats
	rounds  uint64 // recovery tunnels made so far
}

// effects is what one step needs; steps nest when a Handler calls back.
type effects struct {
	tunnel l2tp.Effects
	call   l2tp.CallEffects
	iccn   l2tp.Message
}

// New makes an Engine that begins at time now.
func New(now time.Duration, out Output, handler Handler) *Engine {
	return &Engine{out: out, handler: handler, wheel: wheel.New(now)}
}

// Wheel is the Engine's timer wheel, for its user's timers too.
func (e *Engine) Wheel() *wheel.Wheel { return e.wheel }

// Stats are the counters since New.
func (e *Engine) Stats() Stats { return e.stats }

// Tunnels is how many tunnels there are, those included that are being closed.
func (e *Engine) Tunnels() int { return e.open }

// Unacked is how many control messages wait for acknowledgement, in all tunnels.
func (e *Engine) Unacked() int { return e.unacked }

// Next is when Advance should be called next, or wheel.Never.
func (e *Engine) Next() time.Duration { return e.wheel.Next() }

// Advance does what is due.
func (e *Engine) Advance(now time.Duration) { e.wheel.Advance(now) }

func (e *Engine) take() *effects {
	if n := len(e.spare); n > 0 {
		fx := e.spare[n-1]
		e.spare = e.spare[:n-1]
		return fx
	}
	return new(effects)
}

func (e *Engine) give(fx *effects) {
	fx.tunnel.Reset()
	e.spare = append(e.spare, fx)
}

// Receive takes one datagram that came to socket sock.
func (e *Engine) Receive(now time.Duration, sock uint16, from netip.AddrPort, datagram []byte) {
	h, payload, err := l2tp.ParseHeader(datagram)
	if err != nil {
		e.stats.Malformed++
		return
	}
	if h.Control && h.TunnelID == 0 {
		e.sccrq(now, sock, from, payload, datagram)
		return
	}
	if int(h.TunnelID) >= len(e.tunnels) || e.tunnels[h.TunnelID] == nil {
		e.stats.NoTunnel++
		return
	}
	t := e.tunnels[h.TunnelID]
	if t.sock != sock || from != t.peer && !t.float(from, h.Control) {
		e.stats.Stranger++
		return
	}
	if !h.Control {
		e.data(now, t, h, payload)
		return
	}
	e.input(now, t, datagram)
}

func (e *Engine) data(now time.Duration, t *Tunnel, h l2tp.Header, payload []byte) {
	c := t.call(h.SessionID)
	if c == nil || c.l2tp.State() != l2tp.CallEstablished {
		e.stats.NoSession++
		return
	}
	// RFC 2661 section 5.4: the LNS decides whether data is numbered.
	c.sequence = h.HasSequence || c.required
	if h.HasSequence {
		if _, ok := c.in.Accept(h.Ns); !ok {
			e.stats.Late++
			return
		}
	}
	e.stats.DataIn++
	e.handler.Frame(now, c, payload)
}

// settle sends what a step wants sent, tells what it has to tell and gives fx back.
func (e *Engine) settle(now time.Duration, t *Tunnel, fx *effects) {
	for _, p := range fx.tunnel.Packets {
		e.out.Queue(t.sock, t.peer, append(e.out.Reserve(), p...))
	}
	for i := range fx.tunnel.Events {
		e.event(now, t, &fx.tunnel.Events[i])
	}
	e.give(fx)
	e.schedule(now, t)
}

func (e *Engine) event(now time.Duration, t *Tunnel, ev *l2tp.Event) {
	if t.recovers != nil {
		e.recoveryEvent(now, t, ev)
		return
	}
	switch ev.Kind {
	case l2tp.EventUp:
		e.handler.TunnelUp(now, t)
	case l2tp.EventDown:
		e.tunnelDown(now, t, ev)
	case l2tp.EventMessage:
		switch ev.Message.Type {
		case l2tp.MessageCSURQ:
			e.stats.SpeedRequests++
			e.speedRequest(now, t, &ev.Message)
			return
		case l2tp.MessageOCRQ:
			e.asked(now, t, &ev.Message)
			return
		case l2tp.MessageFSQ:
			e.queried(now, t, &ev.Message)
			return
		case l2tp.MessageFSR:
			e.responded(now, t, &ev.Message)
			return
		}
		c := t.call(ev.SessionID)
		if ev.SessionID == 0 && ev.Message.Type == l2tp.MessageCDN {
			// The LNS does not know our id of the call: its own says which (RFC 2661 section 4.4.4).
			c = t.byPeer(ev.Message.AssignedSessionID)
		}
		if c != nil {
			e.callMessage(now, c, &ev.Message)
		}
	case l2tp.EventBadMessage:
		if c := t.call(ev.SessionID); c != nil {
			e.hangup(now, c, End{Local: true, Result: ev.Result, Err: ev.Err})
		}
	}
}
