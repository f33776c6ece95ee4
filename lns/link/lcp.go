package link

import (
	"bytes"
	"time"

	"culvert/proto/ppp"
)

// receiveLCP takes one LCP packet.
func (l *Link) receiveLCP(now time.Duration, b []byte, fx *Effects) {
	p, err := ppp.ParsePacket(b)
	if err != nil {
		return
	}
	switch p.Code {
	case ppp.ConfigureRequest:
		l.lcpRequested(now, p, fx)
	case ppp.ConfigureAck, ppp.ConfigureNak, ppp.ConfigureReject:
		l.lcpAnswered(now, p, fx)
	case ppp.TerminateRequest:
		l.lcpTerminated(now, p, fx)
	case ppp.TerminateAck:
		l.stepLCP(now, ppp.RTA, incoming{packet: p}, fx)
	case ppp.CodeReject:
		l.lcpCodeRejected(now, p, fx)
	case ppp.ProtocolReject:
		l.protocolRejected(now, p, fx)
	case ppp.EchoRequest, ppp.EchoReply:
		l.lcpEcho(now, p, fx)
	case ppp.DiscardRequest, ppp.Identification, ppp.TimeRemaining:
		// Nothing is asked for.
	default:
		l.stepLCP(now, ppp.RUC, incoming{packet: p}, fx)
	}
}

// stepLCP gives the automaton an event and does its actions, in the order
// of RFC 1661 section 4.1.
func (l *Link) stepLCP(now time.Duration, e ppp.Event, in incoming, fx *Effects) {
	lim := l.limits()
	acts := l.lcp.Step(now, &lim, e)
	if acts&ppp.TLD != 0 {
		l.lcpDown(now, fx)
	}
	if acts&ppp.SCR != 0 {
		l.neg.askedAt = now
		fx.scratch = l.neg.want.Append(fx.scratch[:0])
		l.send(ppp.ProtocolLCP, ppp.ConfigureRequest, l.lcp.ID(), fx.scratch, fx)
	}
	if acts&ppp.STR != 0 {
		l.send(ppp.ProtocolLCP, ppp.TerminateRequest, l.lcp.ID(), []byte(l.reason.String()), fx)
	}
	l.answer(now, acts, ppp.ProtocolLCP, in, fx)
	if acts&ppp.SCA != 0 {
		l.neg.peer = l.neg.offered
	}
	if acts&ppp.TLF != 0 {
		why := ReasonLCPTimeout
		if l.neg != nil && !l.neg.heardLCP {
			why = ReasonLCPSilent
		}
		l.finish(why, fx)
	}
	if acts&ppp.TLU != 0 {
		l.lcpUp(now, fx)
	}
}

// startTime tells a peer that was there when our Configure-Request came, and whose own has
// crossed it, from one that has only now begun: a LAC such as xl2tpd starts its
// PPP after the ICCN, and what was sent before is lost. To such a peer the request is
// repeated as soon as it is heard, not when the restart timer expires.
const startTime = 50 * time.Millisecond

// lcpRequested judges the peer's Configure-Request.
func (l *Link) lcpRequested(now time.Duration, p ppp.Packet, fx *Effects) {
	if l.lcp.State() < ppp.ReqSent || ppp.CheckOptions(p.Data) != nil {
		return
	}
	l.renew(now)
	l.neg.patienceAt = 0
	lim := l.limits()
	refusal := l.judgeLCP(p.Data, l.lcp.MayNak(&lim))
	if l.neg.loops >= maxLoops {
		l.fail(now, ReasonLoop, fx)
		return
	}
	e := ppp.RCRPlus
	if refusal.Code != 0 {
		e = ppp.RCRMinus
	}
	late := !l.neg.heardLCP && now-l.neg.askedAt >= startTime
	l.neg.heardLCP = true
	l.stepLCP(now, e, incoming{p, refusal}, fx)
	if s := l.lcp.State(); late && (s == ppp.ReqSent || s == ppp.AckSent) {
		l.stepLCP(now, ppp.TOPlus, incoming{}, fx)
	}
	if l.lcp.Diverges(&lim) {
		l.fail(now, ReasonLCPFailed, fx)
	}
}

// lcpAnswered takes the answer to our Configure-Request. One that does not
// fit the request is discarded (RFC 1661 sections 5.2 to 5.4).
func (l *Link) lcpAnswered(now time.Duration, p ppp.Packet, fx *Effects) {
	if l.neg == nil || !l.lcp.Answers(p.ID) || ppp.CheckOptions(p.Data) != nil {
		return
	}
	e, refused := ppp.RCN, false
	switch p.Code {
	case ppp.ConfigureAck:
		e = ppp.RCA
		if !bytes.Equal(p.Data, l.neg.want.Append(nil)) {
			return
		}
	case ppp.ConfigureNak:
		refused = !l.lcpNaked(p.Data)
	case ppp.ConfigureReject:
		if !l.lcpAsked(p.Data) {
			return
		}
		refused = !l.lcpRejected(p.Data)
	}
	if refused {
		l.fail(now, ReasonAuthRefused, fx)
		return
	}
	l.stepLCP(now, e, incoming{packet: p}, fx)
	lim := l.limits()
	if l.lcp.Diverges(&lim) {
		l.fail(now, ReasonLCPFailed, fx)
	}
}

// lcpTerminated takes a Terminate-Request. In the middle of a negotiation
// the automaton goes on, since the peer may begin anew, but not for long:
// a call whose peer left would otherwise stay for all of Max-Configure.
func (l *Link) lcpTerminated(now time.Duration, p ppp.Packet, fx *Effects) {
	switch s := l.lcp.State(); {
	case s == ppp.Opened && l.phase != PhaseClosing:
		l.reason = ReasonPeerTerminate
		l.closing()
	case s >= ppp.ReqSent && l.neg != nil:
		l.neg.patienceAt = armed(now + l.cfg.Restart)
	}
	l.stepLCP(now, ppp.RTR, incoming{packet: p}, fx)
}

// lcpCodeRejected takes a Code-Reject: without the codes of negotiation
// there is no link; without Echo-Request there is no keepalive.
func (l *Link) lcpCodeRejected(now time.Duration, p ppp.Packet, fx *Effects) {
	rejected, ok := rejectedCode(p)
	switch {
	case !ok:
		return
	case rejected < ppp.ConfigureRequest || rejected > ppp.CodeReject:
		if rejected == ppp.EchoRequest {
			l.echoAt = 0
		}
		l.stepLCP(now, ppp.RXJPlus, incoming{packet: p}, fx)
	default:
		l.rejectedLCP(now, p, fx)
	}
}

// rejectedCode is the code that a Code-Reject names.
func rejectedCode(p ppp.Packet) (ppp.Code, bool) {
	if len(p.Data) < 4 {
		return 0, false
	}
	return ppp.Code(p.Data[0]), true
}

// rejectedLCP ends a link whose peer does not speak LCP as we do.
func (l *Link) rejectedLCP(now time.Duration, p ppp.Packet, fx *Effects) {
	if l.reason == ReasonNone {
		l.reason = ReasonLCPFailed
	}
	l.closing()
	l.stepLCP(now, ppp.RXJMinus, incoming{packet: p}, fx)
}

// protocolRejected takes a Protocol-Reject; it counts only while LCP is
// opened (RFC 1661 section 5.7).
func (l *Link) protocolRejected(now time.Duration, p ppp.Packet, fx *Effects) {
	protocol, _, err := ppp.ParseProtocolReject(p.Data)
	if err != nil || l.lcp.State() != ppp.Opened {
		return
	}
	switch {
	case protocol == ppp.ProtocolLCP:
		l.rejectedLCP(now, p, fx)
	case protocol == ppp.ProtocolIPCP && (l.phase == PhaseNetwork || l.phase == PhaseUp):
		l.fail(now, ReasonIPCPFailed, fx)
	case protocol == wireAuth(l.method).Protocol && l.phase == PhaseAuthenticating:
		l.fail(now, ReasonAuthRefused, fx)
	}
}

// lcpUp takes over what was agreed and asks the peer who it is.
func (l *Link) lcpUp(now time.Duration, fx *Effects) {
	l.agree()
	l.startAuth(now, fx)
}

// agree makes the negotiated options the link's.
func (l *Link) agree() {
	n := l.neg
	l.magic, l.accm, l.ownACCM = n.want.Magic, accmOf(&n.peer), accmOf(&n.want)
	// A LAC may have agreed in our name to what is refused here.
	l.acfc, l.pfc = n.peer.ACFC && !l.cfg.RejectACFC, n.peer.PFC && !l.cfg.RejectPFC
	l.peerMRU = ppp.DefaultMRU
	if n.peer.MRU != 0 {
		l.peerMRU = n.peer.MRU
	}
	n.patienceAt = 0
}

// accmOf is the map of control characters that options agree on. Without one all
// are escaped (RFC 1662 section 7.1).
func accmOf(c *ppp.LCPConfig) uint32 {
	if !c.HasACCM {
		return 0xffffffff
	}
	return c.ACCM
}

// lcpDown undoes what stands on LCP. The link is either at its end or
// about to negotiate anew, and then to authenticate anew as well.
func (l *Link) lcpDown(now time.Duration, fx *Effects) {
	wasUp := l.phase == PhaseUp
	l.acfc, l.pfc, l.echoAt = false, false, 0
	lim := l.limits()
	l.ipcp.Step(now, &lim, ppp.Down)
	if s := l.lcp.State(); s == ppp.Closing || s == ppp.Stopping {
		return
	}
	l.renew(now)
	l.phase, l.auth = PhaseLCP, authNone
	l.neg.authAt, l.neg.resendAt, l.neg.answer, l.neg.eap = 0, 0, "", nil
	fx.Restarted = fx.Restarted || wasUp
	fx.Up = fx.Up && !wasUp
}
