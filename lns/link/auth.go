package link

import (
	"strings"
	"time"

	"culvert/proto/ppp"
)

// authState is how far authentication is.
type authState uint8

const (
	authNone    authState = iota
	authWaiting           // for the peer's credentials
	authPending           // for the owner's Grant or Deny
	authGranted
	authDenied
)

// wireAuth is a method as LCP's option; methodOf is the way back, with
// MethodNone for what is not spoken here.
func wireAuth(m Method) ppp.Auth {
	switch m {
	case MethodPAP:
		return ppp.AuthPAP
	case MethodCHAP:
		return ppp.AuthCHAP
	case MethodMSCHAPv2:
		return ppp.AuthMSCHAPv2
	case MethodEAP:
		return ppp.AuthEAP
	}
	return ppp.Auth{}
}

func methodOf(a ppp.Auth) Method {
	switch a {
	case ppp.AuthPAP:
		return MethodPAP
	case ppp.AuthCHAP:
		return MethodCHAP
	case ppp.AuthMSCHAPv2:
		return MethodMSCHAPv2
	case ppp.AuthEAP:
		return MethodEAP
	}
	return MethodNone
}

// startAuth asks the peer who it is, by the method that LCP agreed on.
func (l *Link) startAuth(now time.Duration, fx *Effects) {
	n := l.neg
	l.phase, l.method = PhaseAuthenticating, methodOf(n.want.Auth)
	if l.method == MethodNone {
		l.ask(&Credentials{}, fx)
		return
	}
	l.auth = authWaiting
	n.authAt = armed(now + l.cfg.AuthTimeout)
	switch l.method {
	case MethodPAP:
		return
	case MethodEAP:
		l.startEAP(now, fx)
		return
	}
	if !l.random(n.challenge[:]) {
		// A predictable challenge would let a recorded answer in.
		l.fail(now, ReasonLocal, fx)
		return
	}
	l.authID = l.id()
	n.resends = l.cfg.MaxConfigure
	l.sendChallenge(now, fx)
}

// sendChallenge sends the challenge, and again until an answer comes. It
// stays the same one, so that an answer to any copy counts.
func (l *Link) sendChallenge(now time.Duration, fx *Effects) {
	n := l.neg
	if n.resends == 0 {
		return
	}
	n.resendAt = armed(now + l.resendAfter())
	n.resends--
	start := fx.begin(l, ppp.ProtocolCHAP)
	fx.arena = ppp.AppendCHAPValue(fx.arena, ppp.CHAPChallenge, l.authID, n.challenge[:], l.cfg.Name)
	fx.end(start)
}

// resendAfter is the period that follows the next transmission of a challenge:
// it doubles with each, from RestartFirst up to Restart.
func (l *Link) resendAfter() time.Duration {
	after := l.cfg.RestartFirst
	for i := l.neg.resends; i < l.cfg.MaxConfigure && after < l.cfg.Restart; i++ {
		after = min(2*after, l.cfg.Restart)
	}
	return after
}

// receiveAuth takes a PAP, CHAP or EAP packet. Those of a protocol that was not
// agreed on are discarded, and all while the link ends (RFC 1661 section 3.7).
func (l *Link) receiveAuth(now time.Duration, f ppp.Frame, fx *Effects) {
	if l.auth == authNone || l.phase >= PhaseClosing || f.Protocol != wireAuth(l.method).Protocol {
		return
	}
	if f.Protocol == ppp.ProtocolEAP {
		l.receiveEAP(f.Payload, fx)
		return
	}
	p, err := ppp.ParsePacket(f.Payload)
	if err != nil {
		return
	}
	if f.Protocol == ppp.ProtocolPAP {
		l.receivePAP(p, fx)
	} else {
		l.receiveCHAP(p, fx)
	}
}

// receivePAP takes an Authenticate-Request; a repeated one gets the same
// answer again (RFC 1334 section 2.2.1).
func (l *Link) receivePAP(p ppp.Packet, fx *Effects) {
	if p.Code != ppp.PAPRequest {
		return
	}
	user, password, err := ppp.ParsePAPRequest(p.Data)
	if err != nil {
		return
	}
	l.authID = p.ID
	switch l.auth {
	case authWaiting:
		l.ask(&Credentials{
			Method: MethodPAP, User: string(user), Password: append([]byte{}, password...), ID: p.ID,
		}, fx)
	case authGranted:
		l.sendVerdict(fx)
	}
}

// receiveCHAP takes a Response; a repeated one gets the same answer again
// (RFC 1994 section 4.2).
func (l *Link) receiveCHAP(p ppp.Packet, fx *Effects) {
	if p.Code != ppp.CHAPResponse || p.ID != l.authID {
		return
	}
	value, name, err := ppp.ParseCHAPValue(p.Data)
	if err != nil || len(value) != responseLen(l.method) {
		return
	}
	switch l.auth {
	case authWaiting:
		own := append(append([]byte(nil), l.neg.challenge[:]...), value...)
		n := len(l.neg.challenge)
		l.ask(&Credentials{
			Method: l.method, User: string(name), ID: p.ID,
			Challenge: own[:n:n], Response: own[n:],
		}, fx)
	case authGranted:
		l.sendVerdict(fx)
	}
}

// responseLen is how many octets a method's response has.
func responseLen(m Method) int {
	if m == MethodMSCHAPv2 {
		return ppp.MSCHAPv2ResponseLen
	}
	return 16
}

// ask hands the credentials to the owner.
func (l *Link) ask(c *Credentials, fx *Effects) {
	l.auth = authPending
	l.serial++
	c.Serial = l.serial
	l.neg.authAt, l.neg.resendAt = 0, 0
	fx.Auth = c
}

// Awaits reports whether the link waits for the answer to the Auth of this
// serial number.
func (l *Link) Awaits(serial uint16) bool {
	return l.phase == PhaseAuthenticating && l.auth == authPending && l.serial == serial
}

// Grant accepts the peer after Effects.Auth. message goes into the PAP
// Authenticate-Ack or CHAP Success; for MS-CHAPv2 it is the "S=..." string
// of RFC 2759 section 5, for EAP the server's EAP packet. In other phases it does nothing.
func (l *Link) Grant(now time.Duration, n Network, message string, fx *Effects) {
	if !l.Awaits(l.serial) {
		return
	}
	l.auth, l.neg.answer = authGranted, message
	l.net, l.mtu = addressesOf(n), n.MTU
	l.sendVerdict(fx)
	l.startNetwork(now, fx)
}

// Deny refuses the peer after Effects.Auth, with a message for its eyes
// (for MS-CHAPv2 either the whole "E=..." string of RFC 2759 section 6, or just the text
// in it; for EAP the server's EAP packet, or a text that makes a Failure of ours),
// and ends the link. In other phases it does nothing.
func (l *Link) Deny(now time.Duration, message string, fx *Effects) {
	if !l.Awaits(l.serial) {
		return
	}
	if l.method == MethodMSCHAPv2 && !strings.HasPrefix(message, "E=") {
		e := ppp.MSCHAPError{
			Code: ppp.MSCHAPAuthenticationFailure, Challenge: l.neg.challenge[:], Message: message,
		}
		message = e.String()
	}
	l.auth, l.neg.answer = authDenied, message
	l.sendVerdict(fx)
	l.fail(now, ReasonAuthFailed, fx)
}

// sendVerdict sends the owner's decision, the first time or again. The
// message is gone when the link is up: a late duplicate then gets none,
// and under MS-CHAPv2, where it is the proof that the peer has long accepted, no answer.
func (l *Link) sendVerdict(fx *Effects) {
	granted, message := l.auth == authGranted, ""
	if l.neg != nil {
		message = l.neg.answer
	}
	message = message[:min(len(message), int(l.peerMRU)-4)]
	switch l.method {
	case MethodPAP:
		code := ppp.PAPNak
		if granted {
			code = ppp.PAPAck
		}
		start := fx.begin(l, ppp.ProtocolPAP)
		fx.arena = ppp.AppendPAPReply(fx.arena, code, l.authID, message)
		fx.end(start)
	case MethodCHAP, MethodMSCHAPv2:
		if l.method == MethodMSCHAPv2 && l.neg == nil {
			return
		}
		code := ppp.CHAPFailure
		if granted {
			code = ppp.CHAPSuccess
		}
		start := fx.begin(l, ppp.ProtocolCHAP)
		fx.arena = ppp.AppendCHAPReply(fx.arena, code, l.authID, message)
		fx.end(start)
	case MethodEAP:
		if packet := l.eapVerdict(granted, message); packet != nil {
			l.sendEAP(packet, fx)
		}
	}
}
