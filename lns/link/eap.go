package link

import (
	"bytes"
	"cmp"
	"fmt"
	"time"

	"culvert/proto/ppp"
)

// EAP is passed through (RFC 3748 section 2.3, RFC 3579): the link asks the peer
// for its identity, and from then on carries Requests of the owner to the peer
// and Responses of the peer to the owner. It looks at Code, Identifier and Length,
// and repeats Requests; what a method says is none of its business.

// maxEAPRounds bounds the Requests of one authentication: methods that carry
// certificates need some twenty, and a server and a peer that never come to an
// end must not do so for ever.
const maxEAPRounds = 64

// eapState is what a negotiation by EAP needs. The identifier of the Request in
// hand is the link's authID.
type eapState struct {
	// request is the Request that the peer has to answer.
	request []byte
	// user is what the peer has called itself.
	user string
	// state is the owner's, of its last Challenge.
	state []byte
	// response is before the owner; other is one that came after it with the
	// same identifier, should the owner ignore the first.
	response, other []byte
	// timeout is the time between transmissions of an owner's Request; 0 for that of the identity.
	timeout time.Duration
	// rounds counts the owner's Requests; before the first, an identity is waited for.
	rounds uint8
}

// Challenge is the owner's answer to a Response of EAP: the authentication goes on.
type Challenge struct {
	// Packet is the Request for the peer. It is copied.
	Packet []byte
	// State is handed back with the next Credentials.
	State []byte
	// Timeout is how long to wait for the peer before the Request is repeated
	// (RFC 3579 section 2.3): who has to type a password needs longer. 0 is Config.Restart.
	Timeout time.Duration
	// Ignored says that the Response was invalid and does not count (RFC 3579
	// section 2.2, Error-Cause 202).
	Ignored bool
}

// startEAP asks the peer for its identity. The identifier begins at random
// (RFC 3748 section 4.1).
func (l *Link) startEAP(now time.Duration, fx *Effects) {
	var id [1]byte
	if !l.random(id[:]) {
		l.fail(now, ReasonLocal, fx)
		return
	}
	e := &eapState{request: ppp.AppendEAP(nil, ppp.EAPRequest, id[0], ppp.EAPIdentity, nil)}
	l.neg.eap, l.authID = e, id[0]
	l.neg.resends = l.cfg.MaxConfigure
	l.sendEAPRequest(now, fx)
}

// sendEAPRequest sends the Request in hand, and again, the same octets, until
// the peer answers (RFC 3748 section 4.3). That for the identity is repeated as soon as a
// challenge of CHAP. The server's are not: a peer has to compute for some of them, and
// pppd 2.4.9 takes a fragment of EAP-TLS that comes twice for two, and fails.
func (l *Link) sendEAPRequest(now time.Duration, fx *Effects) {
	n := l.neg
	if n.resends == 0 {
		return
	}
	after := n.eap.timeout
	if after == 0 {
		after = l.resendAfter()
	}
	n.resendAt = armed(now + after)
	n.resends--
	l.sendEAP(n.eap.request, fx)
}

func (l *Link) sendEAP(packet []byte, fx *Effects) {
	start := fx.begin(l, ppp.ProtocolEAP)
	fx.arena = append(fx.arena, packet...)
	fx.end(start)
}

// receiveEAP takes a Response with the identifier of the Request in hand;
// everything else is silently discarded (RFC 3748 section 4.1). While the owner judges
// one Response no other is given to it.
func (l *Link) receiveEAP(b []byte, fx *Effects) {
	p, err := ppp.ParseEAP(b)
	if err != nil || p.Code != ppp.EAPResponse || p.ID != l.authID || l.neg == nil {
		return
	}
	e := l.neg.eap
	switch l.auth {
	case authWaiting:
		if e.rounds == 0 && p.Type != ppp.EAPIdentity {
			return // an identity cannot be refused (RFC 3748 section 5.1)
		}
		if p.Type == ppp.EAPIdentity {
			e.user = string(p.Data)
		}
		l.askEAP(bytes.Clone(p.Packet), fx)
	case authPending:
		if e.rounds > 0 && e.other == nil && !bytes.Equal(p.Packet, e.response) {
			e.other = bytes.Clone(p.Packet)
		}
	case authGranted:
		l.sendVerdict(fx)
	}
}

// askEAP hands a Response, which becomes the credentials', to the owner.
func (l *Link) askEAP(response []byte, fx *Effects) {
	e := l.neg.eap
	e.response = response
	l.ask(&Credentials{
		Method: MethodEAP, User: e.user, ID: l.authID,
		EAP: &Response{Packet: response, State: e.state, MTU: min(l.peerMRU, l.cfg.MRU)},
	}, fx)
}

// Challenge goes on with EAP after Effects.Auth: the peer gets the owner's
// Request. An error says what makes that impossible; nothing has happened then,
// and the owner should Deny. When the link waits for no answer it does nothing.
func (l *Link) Challenge(now time.Duration, c *Challenge, fx *Effects) error {
	if !l.Awaits(l.serial) {
		return nil
	}
	if l.method != MethodEAP {
		return fmt.Errorf("a challenge to %v, which has none", l.method)
	}
	n, e := l.neg, l.neg.eap
	p, err := ppp.ParseEAP(c.Packet)
	switch {
	case err != nil:
		return fmt.Errorf("the server's EAP packet: %w", err)
	case p.Code != ppp.EAPRequest:
		return fmt.Errorf("an EAP %s in a challenge instead of a Request", ppp.EAPCodeName(p.Code))
	case len(p.Packet) > l.longestEAP():
		return fmt.Errorf("an EAP Request of %d octets, and the subscriber takes %d; let the server heed Framed-MTU", len(p.Packet), l.longestEAP())
	case e.rounds == maxEAPRounds:
		return fmt.Errorf("EAP has come to no end in %d rounds", maxEAPRounds)
	}
	e.rounds++
	e.state = bytes.Clone(c.State)
	if c.Ignored && e.other != nil {
		other := e.other
		e.other = nil
		l.askEAP(other, fx)
		return nil
	}
	e.request, e.response, e.other = bytes.Clone(p.Packet), nil, nil
	l.auth, l.authID = authWaiting, p.ID
	n.authAt = armed(now + l.cfg.AuthTimeout + c.Timeout)
	n.resends, e.timeout = l.cfg.MaxConfigure, cmp.Or(c.Timeout, l.cfg.Restart)
	l.sendEAPRequest(now, fx)
	return nil
}

// longestEAP is the longest packet to send, in octets: every peer has to take
// 1500, whatever MRU it asked for (RFC 1661 section 6.1).
func (l *Link) longestEAP() int { return int(max(l.peerMRU, ppp.DefaultMRU)) }

// eapVerdict is the packet that tells the peer of the owner's decision. A
// server's Success or Failure is passed on as it is and never made up in its
// place (RFC 3579 section 2.6.3). A Failure of ours tells of a decision that is not the
// server's: the message is then a text, which EAP has no room for.
func (l *Link) eapVerdict(granted bool, message string) []byte {
	if message == "" {
		return nil
	}
	if p, err := ppp.ParseEAP([]byte(message)); err == nil && (p.Code == ppp.EAPSuccess || p.Code == ppp.EAPFailure) {
		return p.Packet
	}
	if granted {
		return nil
	}
	return ppp.AppendEAPResult(nil, ppp.EAPFailure, l.authID)
}
