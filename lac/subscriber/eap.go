package subscriber

import (
	"encoding/binary"
	"slices"
	"time"

	"culvert/proto/ppp"
	"culvert/proto/ppp/mschap"
)

// EAPPeer is the peer's side of EAP (RFC 3748): identity, MD5-Challenge, and
// MS-CHAPv2 inside of EAP (draft-kamath-pppext-eap-mschapv2). Other methods it refuses. Fill in the
// exported fields and call Answer for each Request.
type EAPPeer struct {
	User, Password string
	// Methods are those that it agrees to, the preferred one first; none means all that it knows.
	Methods []ppp.EAPType
	Rnd     Random

	lastID uint8
	last   []byte // the Response to lastID; nil before the first
	method ppp.EAPType
	proof  *proof
	proven bool
	// distrusts: the server has not proven that it knows the password.
	distrusts bool
}

// eapMethods are the methods that an EAPPeer knows.
var eapMethods = []ppp.EAPType{ppp.EAPMSCHAPv2, ppp.EAPMD5}

// The operations of MS-CHAPv2 inside of EAP, its codes by other names.
const (
	mschapChallenge = 1
	mschapResponse  = 2
	mschapSuccess   = 3
	mschapFailure   = 4
)

// mschapHeader is the size of operation, identifier and length.
const mschapHeader = 4

// Answer gives the Response to a Request, which is good until the next call,
// or nil where there is none. A repeated Request gets the same Response
// again (RFC 3748 section 4.1).
func (p *EAPPeer) Answer(request *ppp.EAP) []byte {
	if p.last != nil && request.ID == p.lastID && request.Type != ppp.EAPIdentity {
		return p.last
	}
	var b []byte
	switch {
	case request.Type == ppp.EAPIdentity:
		b = p.response(request, []byte(p.User))
	case request.Type == ppp.EAPNotification:
		b = p.response(request, nil)
	case !slices.Contains(p.methods(), request.Type):
		var wanted []byte
		for _, m := range p.methods() {
			wanted = append(wanted, byte(m))
		}
		b = ppp.AppendEAP(nil, ppp.EAPResponse, request.ID, ppp.EAPNak, wanted)
	case request.Type == ppp.EAPMD5:
		b = p.md5(request)
	default:
		b = p.mschap(request)
	}
	if b != nil {
		p.lastID, p.last = request.ID, b
	}
	return b
}

func (p *EAPPeer) methods() []ppp.EAPType {
	if len(p.Methods) == 0 {
		return eapMethods
	}
	return p.Methods
}

func (p *EAPPeer) response(request *ppp.EAP, data []byte) []byte {
	return ppp.AppendEAP(nil, ppp.EAPResponse, request.ID, request.Type, data)
}

// Done says that a method has come as far that a Success may follow: the peer
// has answered and, where the method tells, the server has proven itself.
func (p *EAPPeer) Done() bool {
	return p.method == ppp.EAPMD5 || p.method == ppp.EAPMSCHAPv2 && p.proven
}

// Distrusts says that the server has not proven that it knows the password.
func (p *EAPPeer) Distrusts() bool { return p.distrusts }

// md5 answers an MD5-Challenge, which is CHAP with EAP's identifier (RFC 3748 section 5.4).
func (p *EAPPeer) md5(request *ppp.EAP) []byte {
	challenge, _, err := ppp.ParseCHAPValue(request.Data)
	if err != nil {
		return nil
	}
	p.method = ppp.EAPMD5
	value := ppp.CHAPMD5(request.ID, p.Password, challenge)
	return p.response(request, append(append([]byte{byte(len(value))}, value[:]...), p.User...))
}

func (p *EAPPeer) mschap(request *ppp.EAP) []byte {
	d := request.Data
	if len(d) < mschapHeader {
		return nil
	}
	n := int(binary.BigEndian.Uint16(d[2:]))
	if n < mschapHeader || n > len(d) {
		return nil
	}
	d = d[:n]
	op, id, value := d[0], d[1], d[mschapHeader:]
	switch op {
	case mschapChallenge:
		challenge, _, err := ppp.ParseCHAPValue(value)
		if err != nil || len(challenge) != 16 {
			return nil
		}
		p.method, p.proven = ppp.EAPMSCHAPv2, false
		return p.mschapRespond(request, id, [16]byte(challenge))
	case mschapSuccess:
		p.proven = p.proof.proves(value, p.User, p.Password)
		if p.distrusts = !p.proven; p.distrusts {
			return p.response(request, []byte{mschapFailure})
		}
		return p.response(request, []byte{mschapSuccess})
	case mschapFailure:
		return p.response(request, []byte{mschapFailure})
	}
	return nil
}

func (p *EAPPeer) mschapRespond(request *ppp.EAP, id byte, challenge [16]byte) []byte {
	p.proof = &proof{challenge: challenge}
	binary.BigEndian.PutUint64(p.proof.peer[:], p.Rnd.Uint64())
	binary.BigEndian.PutUint64(p.proof.peer[8:], p.Rnd.Uint64())
	p.proof.nt = mschap.NTResponse(challenge, p.proof.peer, p.User, p.Password)
	r := ppp.MSCHAPv2Response{PeerChallenge: p.proof.peer, NTResponse: p.proof.nt}
	// The packet of MS-CHAPv2 stands in EAP as it would stand in CHAP.
	return p.response(request, ppp.AppendCHAPValue(nil, mschapResponse, id, r.Append(nil), p.User))
}

// eapPeer is the client's peer, made when it is first needed.
func (c *Client) eapPeer() *EAPPeer {
	if c.eap == nil {
		c.eap = &EAPPeer{User: c.user, Password: c.password, Methods: c.cfg.EAP, Rnd: c.rnd}
	}
	return c.eap
}

func (c *Client) receiveEAP(now time.Duration, payload []byte, fx *Effects) {
	p, err := ppp.ParseEAP(payload)
	if err != nil {
		fx.Malformed++
		return
	}
	if c.phase < PhaseAuth || c.phase > PhaseUp || c.peerAuth != ppp.AuthEAP {
		return
	}
	switch peer := c.eapPeer(); {
	case p.Code == ppp.EAPRequest:
		if b := peer.Answer(&p); b != nil {
			fx.end(append(fx.begin(c, ppp.ProtocolEAP), b...))
		} else {
			fx.Malformed++
		}
	case c.phase != PhaseAuth || peer.last == nil || p.ID != peer.lastID:
	case p.Code == ppp.EAPFailure && peer.Distrusts():
		c.close(now, ReasonAuthServer, fx)
	case p.Code == ppp.EAPFailure:
		c.rejected(now, nil, fx)
	case p.Code == ppp.EAPSuccess && peer.Done():
		c.authenticated(now, fx)
	}
}
