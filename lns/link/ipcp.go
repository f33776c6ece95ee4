package link

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"culvert/proto/ppp"
)

// addresses is a Network's in few octets; all zeros is absent.
type addresses struct {
	local, peer [4]byte
	dns, nbns   [2][4]byte
}

// addressesOf takes the IPv4 addresses out of n.
func addressesOf(n Network) addresses {
	return addresses{
		local: as4(n.Local), peer: as4(n.Peer),
		dns:  [2][4]byte{as4(n.DNS[0]), as4(n.DNS[1])},
		nbns: [2][4]byte{as4(n.NBNS[0]), as4(n.NBNS[1])},
	}
}

// as4 is a's four octets, or zeros where it has none.
func as4(a netip.Addr) [4]byte {
	if a = a.Unmap(); !a.Is4() {
		return [4]byte{}
	}
	return a.As4()
}

// of is the address for an IPCP option of this type, which is one with an address.
func (a *addresses) of(typ uint8) [4]byte {
	switch typ {
	case ppp.OptionIPAddress:
		return a.peer
	case ppp.OptionPrimaryDNS:
		return a.dns[0]
	case ppp.OptionSecondaryDNS:
		return a.dns[1]
	case ppp.OptionPrimaryNBNS:
		return a.nbns[0]
	}
	return a.nbns[1] // IPCPConfig.Addr knows no other
}

// startNetwork opens IPCP.
func (l *Link) startNetwork(now time.Duration, fx *Effects) {
	l.phase = PhaseNetwork
	l.neg.noAddress, l.neg.nagged, l.neg.heardIPCP = false, false, false
	l.stepIPCP(now, ppp.Open, incoming{}, fx)
	l.stepIPCP(now, ppp.Up, incoming{}, fx)
}

// receiveIPCP takes one IPCP packet; before the network phase they are
// silently discarded (RFC 1661 section 3.5).
func (l *Link) receiveIPCP(now time.Duration, b []byte, fx *Effects) {
	p, err := ppp.ParsePacket(b)
	if err != nil || l.phase != PhaseNetwork && l.phase != PhaseUp {
		return
	}
	if l.neg != nil {
		l.neg.heardIPCP = true
	}
	switch p.Code {
	case ppp.ConfigureRequest:
		l.ipcpRequested(now, p, fx)
	case ppp.ConfigureAck, ppp.ConfigureNak, ppp.ConfigureReject:
		l.ipcpAnswered(now, p, fx)
	case ppp.TerminateRequest:
		l.stepIPCP(now, ppp.RTR, incoming{packet: p}, fx)
		if l.ipcp.State() == ppp.Stopping {
			// There is nothing else on this link to keep it for.
			l.fail(now, ReasonPeerTerminate, fx)
		}
	case ppp.TerminateAck:
		l.stepIPCP(now, ppp.RTA, incoming{packet: p}, fx)
	case ppp.CodeReject:
		if rejected, ok := rejectedCode(p); ok && rejected >= ppp.ConfigureRequest && rejected <= ppp.CodeReject {
			l.fail(now, ReasonIPCPFailed, fx)
		}
	default:
		l.stepIPCP(now, ppp.RUC, incoming{packet: p}, fx)
	}
}

// stepIPCP gives the automaton an event and does its actions, in the order
// of RFC 1661 section 4.1.
func (l *Link) stepIPCP(now time.Duration, e ppp.Event, in incoming, fx *Effects) {
	lim := l.limits()
	acts := l.ipcp.Step(now, &lim, e)
	if acts&ppp.TLD != 0 {
		l.ipcpDown(now, fx)
	}
	if e == ppp.TOPlus && !l.neg.heardIPCP {
		// A peer that says nothing may wait for a verdict that was lost:
		// CHAP gives it no way to ask again.
		l.sendVerdict(fx)
	}
	if acts&ppp.SCR != 0 {
		fx.scratch = l.ipcpOptions(fx.scratch[:0])
		l.send(ppp.ProtocolIPCP, ppp.ConfigureRequest, l.ipcp.ID(), fx.scratch, fx)
	}
	l.answer(now, acts, ppp.ProtocolIPCP, in, fx)
	if acts&ppp.TLF != 0 {
		l.fail(now, ReasonIPCPFailed, fx)
	}
	if acts&ppp.TLU != 0 {
		l.phase, l.neg = PhaseUp, nil
		l.startKeepalive(now)
		fx.Up = true
	}
}

// ipcpDown takes a link that was up back to the network phase.
func (l *Link) ipcpDown(now time.Duration, fx *Effects) {
	l.renew(now)
	l.phase, l.echoAt = PhaseNetwork, 0
	fx.Restarted, fx.Up = true, false
}

// ipcpOptions appends the options of our Configure-Request.
func (l *Link) ipcpOptions(dst []byte) []byte {
	if l.neg.noAddress || l.net.local == ([4]byte{}) {
		return dst
	}
	return ppp.AppendOption(dst, ppp.OptionIPAddress, l.net.local[:])
}

// ipcpRequested judges the peer's Configure-Request.
func (l *Link) ipcpRequested(now time.Duration, p ppp.Packet, fx *Effects) {
	if ppp.CheckOptions(p.Data) != nil || l.ipcp.State() < ppp.ReqSent {
		return
	}
	l.renew(now)
	lim := l.limits()
	refusal := l.judgeIPCP(p.Data, l.ipcp.MayNak(&lim))
	e := ppp.RCRPlus
	if refusal.Code != 0 {
		e = ppp.RCRMinus
	}
	l.stepIPCP(now, e, incoming{p, refusal}, fx)
	if l.ipcp.Diverges(&lim) {
		l.fail(now, ReasonIPCPFailed, fx)
	}
}

// judgeIPCP looks at a Configure-Request's options, which are whole, and
// returns the refusal, or the zero Packet when they are acceptable.
func (l *Link) judgeIPCP(options []byte, mayNak bool) ppp.Packet {
	v := verdict{mayNak: mayNak}
	v.each(options, func(o ppp.Option) { l.judgeIPCPOption(&v, o) })
	if !v.repeated(ppp.OptionIPAddress) && mayNak && !l.neg.nagged && l.net.peer != ([4]byte{}) {
		// Asked for once; a peer that will not say its address has it
		// all the same.
		l.neg.nagged = true
		v.nak = ppp.AppendOption(v.nak, ppp.OptionIPAddress, l.net.peer[:])
	}
	return v.packet()
}

// judgeIPCPOption judges one option: addresses are ours to give, and
// anything else, header compression too, is refused.
func (l *Link) judgeIPCPOption(v *verdict, o ppp.Option) {
	var c ppp.IPCPConfig
	err := c.Set(o)
	field := c.Addr(o.Type)
	if field == nil {
		v.refuse(o)
		return
	}
	ours := l.net.of(o.Type)
	switch {
	case ours == ([4]byte{}):
		// Nothing to give. An address that the peer brings is its own affair.
		if o.Type != ppp.OptionIPAddress || err != nil || field.IsUnspecified() {
			v.refuse(o)
		}
	case errors.Is(err, ppp.ErrOptionValue) || field.As4() != ours:
		v.prefer(o, ours[:])
	}
}

// ipcpAnswered takes the answer to our Configure-Request. A Nak changes
// nothing, since our address is not the peer's to choose; a peer that goes
// on so is given up by Max-Failure.
func (l *Link) ipcpAnswered(now time.Duration, p ppp.Packet, fx *Effects) {
	if l.neg == nil || !l.ipcp.Answers(p.ID) || ppp.CheckOptions(p.Data) != nil {
		return
	}
	e := ppp.RCN
	asked := l.ipcpOptions(nil)
	switch p.Code {
	case ppp.ConfigureAck:
		e = ppp.RCA
		if !bytes.Equal(p.Data, asked) {
			return
		}
	case ppp.ConfigureReject:
		if len(asked) == 0 || !bytes.Equal(p.Data, asked) {
			return
		}
		l.neg.noAddress = true
	}
	l.stepIPCP(now, e, incoming{packet: p}, fx)
	lim := l.limits()
	if l.ipcp.Diverges(&lim) {
		l.fail(now, ReasonIPCPFailed, fx)
	}
}
