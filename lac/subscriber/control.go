package subscriber

import (
	"bytes"
	"time"

	"culvert/proto/ppp"
)

// answer is what an event is answered with: the code and identifier of the reply, and its
// data.
type answer struct {
	code ppp.Code
	id   uint8
	data []byte
	bad  ppp.Packet // for a Code-Reject
}

func (c *Client) automaton(p ppp.Protocol) *ppp.Automaton {
	if p == ppp.ProtocolLCP {
		return &c.lcp
	}
	return &c.ipcp
}

// control takes a packet of LCP or IPCP.
func (c *Client) control(now time.Duration, f ppp.Frame, fx *Effects) {
	p, err := ppp.ParsePacket(f.Payload)
	if err != nil {
		fx.Malformed++
		return
	}
	a := c.automaton(f.Protocol)
	switch p.Code {
	case ppp.ConfigureRequest:
		c.configureRequest(now, f.Protocol, p, fx)
	case ppp.ConfigureAck:
		var buf [64]byte
		if a.Answers(p.ID) && bytes.Equal(p.Data, c.appendOptions(buf[:0], f.Protocol)) {
			c.step(now, f.Protocol, ppp.RCA, answer{}, fx)
		}
	case ppp.ConfigureNak, ppp.ConfigureReject:
		if a.Answers(p.ID) && ppp.CheckOptions(p.Data) == nil {
			c.refused(f.Protocol, p)
			c.step(now, f.Protocol, ppp.RCN, answer{}, fx)
		}
	case ppp.TerminateRequest:
		c.step(now, f.Protocol, ppp.RTR, answer{id: p.ID}, fx)
	case ppp.TerminateAck:
		c.step(now, f.Protocol, ppp.RTA, answer{}, fx)
	case ppp.CodeReject:
		c.codeReject(now, f.Protocol, p, fx)
	default:
		if f.Protocol == ppp.ProtocolLCP && p.Code <= ppp.TimeRemaining && p.Code != 0 {
			c.lcpOnly(now, p, fx)
			return
		}
		c.step(now, f.Protocol, ppp.RUC, answer{bad: p}, fx)
	}
}

// lcpOnly takes the packets that only LCP has.
func (c *Client) lcpOnly(now time.Duration, p ppp.Packet, fx *Effects) {
	switch p.Code {
	case ppp.ProtocolReject:
		rejected, _, err := ppp.ParseProtocolReject(p.Data)
		if err == nil && (rejected == ppp.ProtocolLCP || rejected == ppp.ProtocolIPCP) {
			c.step(now, rejected, ppp.RXJMinus, answer{}, fx)
		}
	case ppp.EchoRequest:
		if _, rest, err := ppp.ParseMagic(p.Data); err == nil {
			c.step(now, ppp.ProtocolLCP, ppp.RXR, answer{id: p.ID, data: rest}, fx)
		}
	}
}

// codeReject: a peer that does not know the codes up to Code-Reject cannot be
// talked to (RFC 1661 section 4.3, RXJ-).
func (c *Client) codeReject(now time.Duration, p ppp.Protocol, pkt ppp.Packet, fx *Effects) {
	e := ppp.RXJPlus
	if len(pkt.Data) > 0 && ppp.Code(pkt.Data[0]) <= ppp.CodeReject {
		e = ppp.RXJMinus
	}
	c.step(now, p, e, answer{}, fx)
}

// step gives an event to the automaton of a protocol and does what it says.
func (c *Client) step(now time.Duration, p ppp.Protocol, e ppp.Event, r answer, fx *Effects) {
	a := c.automaton(p)
	acts := a.Step(now, &c.cfg.Limits, e)
	if acts&ppp.TLD != 0 {
		c.layerDown(now, p, e, fx)
	}
	c.send(p, acts, r, fx)
	if acts&ppp.TLF != 0 {
		c.layerFinished(p, e, fx)
	}
	if e == ppp.RTR && acts&ppp.TLD != 0 {
		// The peer waits for nothing but the Terminate-Ack: there is nothing to linger for. Without
		// IPCP the link is of no use either.
		c.down(ReasonPeerTerminate, fx)
	}
	if acts&ppp.TLU != 0 {
		c.layerUp(now, p, fx)
	}
	if a.Diverges(&c.cfg.Limits) && c.phase < PhaseClosing {
		c.close(now, pick(p, ReasonLCPFailed, ReasonIPCPFailed), fx)
	}
}

// send does the actions that send a packet, in the order of the RFC's table.
func (c *Client) send(p ppp.Protocol, acts ppp.Actions, r answer, fx *Effects) {
	a := c.automaton(p)
	if acts&ppp.SCR != 0 {
		b := ppp.BeginPacket(fx.begin(c, p), ppp.ConfigureRequest, a.ID())
		fx.end(ppp.EndPacket(c.appendOptions(b, p), len(b)-4))
	}
	if acts&ppp.STR != 0 {
		fx.end(ppp.AppendPacket(fx.begin(c, p), ppp.TerminateRequest, a.ID(), nil))
	}
	if acts&(ppp.SCA|ppp.SCN) != 0 {
		fx.end(ppp.AppendPacket(fx.begin(c, p), r.code, r.id, r.data))
	}
	if acts&ppp.STA != 0 {
		fx.end(ppp.AppendPacket(fx.begin(c, p), ppp.TerminateAck, r.id, nil))
	}
	if acts&ppp.SCJ != 0 {
		c.nextID++
		fx.end(ppp.AppendCodeReject(fx.begin(c, p), c.nextID, r.bad, int(c.peerMRU)))
	}
	if acts&ppp.SER != 0 {
		fx.end(ppp.AppendMagic(fx.begin(c, p), ppp.EchoReply, r.id, c.magic, r.data))
	}
}

func pick(p ppp.Protocol, lcp, ipcp Reason) Reason {
	if p == ppp.ProtocolLCP {
		return lcp
	}
	return ipcp
}

// layerUp: LCP is followed by authentication, IPCP by packets.
func (c *Client) layerUp(now time.Duration, p ppp.Protocol, fx *Effects) {
	if p == ppp.ProtocolLCP {
		c.authenticate(now, fx)
		return
	}
	if c.address == [4]byte{} {
		c.close(now, ReasonIPCPFailed, fx)
		return
	}
	c.phase = PhaseUp
	fx.Up = true
}

// layerDown: what stands on the layer goes down with it.
func (c *Client) layerDown(now time.Duration, p ppp.Protocol, e ppp.Event, fx *Effects) {
	if e == ppp.RTR || e == ppp.RXJMinus {
		if p == ppp.ProtocolLCP {
			c.phase, c.closing = PhaseClosing, ReasonPeerTerminate
		}
	} else if c.phase == PhaseUp {
		fx.Restarted = true
	}
	if p == ppp.ProtocolLCP {
		if c.phase < PhaseClosing {
			c.phase = PhaseLCP
		}
		c.authDeadline = 0
		c.step(now, ppp.ProtocolIPCP, ppp.Down, answer{}, fx)
		return
	}
	if c.phase == PhaseUp {
		c.phase = PhaseNetwork
	}
}

// layerFinished: the link has ended, or an NCP has, without which it is of no use.
func (c *Client) layerFinished(p ppp.Protocol, e ppp.Event, fx *Effects) {
	timeout := e == ppp.TOMinus
	switch {
	case p == ppp.ProtocolLCP && timeout:
		fx.Unanswered = c.phase == PhaseClosing
		c.down(ReasonLCPTimeout, fx)
	case p == ppp.ProtocolLCP:
		c.down(ReasonPeerTerminate, fx)
	case c.phase == PhaseNetwork && timeout:
		c.down(ReasonIPCPTimeout, fx)
	case c.phase == PhaseNetwork:
		c.down(ReasonPeerTerminate, fx)
	}
}
