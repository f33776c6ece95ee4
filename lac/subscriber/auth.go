package subscriber

import (
	"encoding/binary"
	"time"

	"culvert/proto/ppp"
	"culvert/proto/ppp/mschap"
)

// proof is what the server's answer to an MS-CHAPv2 Response has to prove.
type proof struct {
	challenge, peer [16]byte
	nt              [24]byte
}

// authenticate follows LCP: what the peer asked for in its request is what is
// done.
func (c *Client) authenticate(now time.Duration, fx *Effects) {
	c.phase, c.authTries, c.proxied, c.eap = PhaseAuth, 0, false, nil
	switch {
	case c.peerAuth == ppp.Auth{}:
		c.authenticated(now, fx)
	case c.peerAuth == ppp.AuthPAP:
		c.nextID++
		c.authID = c.nextID
		c.sendPAP(now, fx)
	default:
		c.authDeadline = now + c.cfg.AuthRetry
	}
}

func (c *Client) sendPAP(now time.Duration, fx *Effects) {
	c.authDeadline = now + c.cfg.AuthRetry
	fx.end(ppp.AppendPAPRequest(fx.begin(c, ppp.ProtocolPAP), c.authID, c.user, c.password))
}

// authTimeout repeats a PAP request; with CHAP repeating is the peer's part.
func (c *Client) authTimeout(now time.Duration, fx *Effects) {
	c.authTries++
	switch {
	case int(c.authTries) >= c.cfg.AuthTries:
		c.close(now, ReasonAuthTimeout, fx)
	case c.peerAuth == ppp.AuthPAP && !c.proxied:
		c.sendPAP(now, fx)
	default:
		c.authDeadline = now + c.cfg.AuthRetry
	}
}

// authenticated begins IPCP.
func (c *Client) authenticated(now time.Duration, fx *Effects) {
	if c.phase != PhaseAuth {
		return
	}
	c.phase, c.authDeadline, c.proof, c.eap = PhaseNetwork, 0, nil, nil
	if c.ipcp.State() == ppp.Initial {
		c.step(now, ppp.ProtocolIPCP, ppp.Open, answer{}, fx)
	}
	c.step(now, ppp.ProtocolIPCP, ppp.Up, answer{}, fx)
}

func (c *Client) rejected(now time.Duration, message []byte, fx *Effects) {
	fx.Message = message
	c.close(now, ReasonAuthRejected, fx)
}

func (c *Client) receivePAP(now time.Duration, payload []byte, fx *Effects) {
	p, err := ppp.ParsePacket(payload)
	if err != nil {
		fx.Malformed++
		return
	}
	if c.phase != PhaseAuth || c.peerAuth != ppp.AuthPAP || p.ID != c.authID {
		return
	}
	switch p.Code {
	case ppp.PAPAck:
		c.authenticated(now, fx)
	case ppp.PAPNak:
		c.rejected(now, ppp.ParsePAPMessage(p.Data), fx)
	}
}

func (c *Client) receiveCHAP(now time.Duration, payload []byte, fx *Effects) {
	p, err := ppp.ParsePacket(payload)
	if err != nil {
		fx.Malformed++
		return
	}
	if c.phase < PhaseAuth || c.phase > PhaseUp || c.peerAuth.Protocol != ppp.ProtocolCHAP {
		return
	}
	switch {
	case p.Code == ppp.CHAPChallenge:
		c.respond(p, fx)
	case p.ID != c.authID || c.phase != PhaseAuth:
	case p.Code == ppp.CHAPSuccess:
		if !c.proven(p.Data) {
			c.close(now, ReasonAuthServer, fx)
			return
		}
		c.authenticated(now, fx)
	case p.Code == ppp.CHAPFailure:
		c.rejected(now, p.Data, fx)
	}
}

// respond answers a challenge; the peer may challenge again while the link is up
// (RFC 1994 section 2).
func (c *Client) respond(p ppp.Packet, fx *Effects) {
	challenge, _, err := ppp.ParseCHAPValue(p.Data)
	if err != nil {
		fx.Malformed++
		return
	}
	if c.peerAuth == ppp.AuthMSCHAPv2 {
		c.respondMSCHAPv2(p.ID, challenge, fx)
		return
	}
	c.authID = p.ID
	value := ppp.CHAPMD5(p.ID, c.password, challenge)
	fx.end(ppp.AppendCHAPValue(fx.begin(c, ppp.ProtocolCHAP), ppp.CHAPResponse, p.ID, value[:], c.user))
}

func (c *Client) respondMSCHAPv2(id uint8, challenge []byte, fx *Effects) {
	if len(challenge) != 16 {
		fx.Malformed++
		return
	}
	c.authID = id
	c.proof = &proof{challenge: [16]byte(challenge)}
	binary.BigEndian.PutUint64(c.proof.peer[:], c.rnd.Uint64())
	binary.BigEndian.PutUint64(c.proof.peer[8:], c.rnd.Uint64())
	c.proof.nt = mschap.NTResponse(c.proof.challenge, c.proof.peer, c.user, c.password)
	r := ppp.MSCHAPv2Response{PeerChallenge: c.proof.peer, NTResponse: c.proof.nt}
	var value [ppp.MSCHAPv2ResponseLen]byte
	b := fx.begin(c, ppp.ProtocolCHAP)
	fx.end(ppp.AppendCHAPValue(b, ppp.CHAPResponse, id, r.Append(value[:0]), c.user))
}

// proven checks the authenticator response of an MS-CHAPv2 Success (RFC 2759
// section 5), which begins with "S=" and 40 digits.
func (c *Client) proven(message []byte) bool {
	return c.peerAuth != ppp.AuthMSCHAPv2 || c.proof.proves(message, c.user, c.password)
}

// proves says whether a Success's message proves it; without a challenge before it, nothing does.
func (p *proof) proves(message []byte, user, password string) bool {
	if p == nil || len(message) < 42 {
		return false
	}
	return string(message[:42]) == mschap.AuthenticatorResponse(p.challenge, p.peer, p.nt, user, password)
}
