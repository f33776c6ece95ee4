package lns

import (
	"bytes"
	"fmt"

	"culvert/aaa"
	"culvert/proto/ppp"
)

// EAP as the simulation's subscribers and their RADIUS server speak it: the identity, then as many
// large packets as a method with certificates needs, each of them in fragments of up to what the
// link carries, down and up, then MD5-Challenge. What each side gets is compared with what the other
// has sent: the LNS passes it on whole, once and in order.

// The flags of a fragment, those of EAP-TLS (RFC 5216 section 3.1): more follows.
const eapMore = 0x40

// eapText is what one side sends in a conversation: n fragments of size octets.
func eapText(seed byte, n, size int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = bytes.Repeat([]byte{seed + byte(i)}, size)
	}
	return list
}

// eapPeer is the subscriber's part of the fragments; the rest is subscriber.Client's.
type eapPeer struct {
	u       *simUser
	c       *rigCall
	began   int              // the identifier of the Request that began the conversation, -1 for none
	answers map[uint8][]byte // in this conversation, by identifier: Requests may come again, and late
	down    int              // fragments heard
	up      [][]byte
}

// tap answers Requests that are fragments, and leaves all else to the client.
func (e *eapPeer) tap(frame []byte) bool {
	f, err := ppp.ParseFrame(frame)
	if err != nil || f.Protocol != ppp.ProtocolEAP {
		return false
	}
	p, err := ppp.ParseEAP(f.Payload)
	if err != nil || p.Code != ppp.EAPRequest {
		return false
	}
	if p.Type == ppp.EAPIdentity && int(p.ID) != e.began {
		*e = eapPeer{u: e.u, c: e.c, began: int(p.ID), answers: map[uint8][]byte{}}
	}
	if p.Type != ppp.EAPTLS || len(p.Data) == 0 || e.answers == nil {
		return false
	}
	if e.answers[p.ID] == nil {
		if len(p.Data) > 1 && p.Data[1] != byte(e.down) || len(p.Data) == 1 && len(e.up) == 0 {
			return true // a late one, of a conversation before this; without an answer none comes to its end
		}
		e.answers[p.ID] = ppp.AppendEAP([]byte{0xff, 3, 0xc2, 0x27}, ppp.EAPResponse, p.ID, ppp.EAPTLS, e.answer(p.Data))
	}
	e.c.data(e.answers[p.ID])
	return true
}

// answer takes the data of a Request that has not been answered yet.
func (e *eapPeer) answer(data []byte) []byte {
	if len(data) > 1 {
		e.down++
		if data[0]&eapMore != 0 {
			return []byte{0}
		}
		e.up = eapText(byte(e.u.index), 1+e.u.index%4, 1300)
	}
	flags, text := byte(0), e.up[0]
	if e.up = e.up[1:]; len(e.up) > 0 {
		flags = eapMore
	}
	return append([]byte{flags}, text...)
}

// eapServer is that of simRADIUS.
type simEAP struct {
	talks map[string]*eapTalk // by State
	last  int
}

// eapTalk is a conversation; next is what the server waits for.
type eapTalk struct {
	user     int
	acct     string
	down, up int // fragments sent, and heard
	md5      bool
	id       uint8
}

// eap decides about a Response.
func (r *simRADIUS) eap(req aaa.Request, grant *aaa.Grant) (*aaa.Grant, error) {
	p, err := ppp.ParseEAP(req.EAP.Packet)
	if err != nil || p.Code != ppp.EAPResponse {
		r.w.fail("well-formed", "the LNS asks about %x: %v", req.EAP.Packet, err)
	}
	reject := func() (*aaa.Grant, error) {
		return nil, &aaa.RejectError{Message: "no", EAP: ppp.AppendEAPResult(nil, ppp.EAPFailure, p.ID)}
	}
	if req.EAP.State == nil {
		if p.Type != ppp.EAPIdentity || string(p.Data) != req.Identity.User {
			r.w.fail("once and in order", "%s begins by %v %q", req.Identity.User, p.Type, p.Data)
		}
		return r.challenge(req, &eapTalk{user: userOf(req.Identity.User), acct: req.Identity.AcctSessionID}, p.ID)
	}
	t := r.talks.talks[string(req.EAP.State)]
	if delete(r.talks.talks, string(req.EAP.State)); t == nil || t.acct != req.Identity.AcctSessionID || t.id != p.ID {
		if !r.w.net.corrupted {
			r.w.fail("once and in order", "%s answers %d with State %q; the server remembers %+v", req.Identity.User, p.ID, req.EAP.State, t)
		}
		return reject()
	}
	if t.md5 {
		want := ppp.CHAPMD5(p.ID, "secret", md5Challenge)
		if p.Type != ppp.EAPMD5 || len(p.Data) < 17 || !bytes.Equal(p.Data[1:17], want[:]) {
			return reject()
		}
		grant.EAP = ppp.AppendEAPResult(nil, ppp.EAPSuccess, p.ID)
		return grant, nil
	}
	if p.Type != ppp.EAPTLS || len(p.Data) == 0 {
		return reject() // it was changed on its way
	}
	if len(p.Data) > 1 {
		if want := eapText(byte(t.user), t.up+1, 1300)[t.up]; !r.w.net.corrupted && !bytes.Equal(p.Data[1:], want) {
			r.w.fail("once and in order", "fragment %d of %s begins with %x", t.up, req.Identity.User, p.Data[:2])
		}
		t.up++
		t.md5 = p.Data[0]&eapMore == 0
	}
	return r.challenge(req, t, p.ID)
}

// challenge goes on with the next fragment, an acknowledgement, or in the end the challenge of MD5.
func (r *simRADIUS) challenge(req aaa.Request, t *eapTalk, id uint8) (*aaa.Grant, error) {
	t.id = id + 1
	var b []byte
	switch downs := 1 + t.user%3; {
	case t.md5:
		b = ppp.AppendEAP(nil, ppp.EAPRequest, t.id, ppp.EAPMD5, append([]byte{16}, md5Challenge...))
	case t.up > 0:
		b = ppp.AppendEAP(nil, ppp.EAPRequest, t.id, ppp.EAPTLS, []byte{0})
	default:
		flags := byte(eapMore)
		if t.down == downs-1 {
			flags = 0
		}
		text := append([]byte{flags}, bytes.Repeat([]byte{byte(t.down)}, int(req.EAP.MTU)-eapOverhead)...)
		b = ppp.AppendEAP(nil, ppp.EAPRequest, t.id, ppp.EAPTLS, text)
		t.down++
	}
	r.talks.last++
	state := fmt.Sprint(r.talks.last)
	r.talks.talks[state] = t
	return nil, &aaa.Challenge{EAP: b, State: []byte(state)}
}

// eapOverhead is a packet's header, its type and the flags.
const eapOverhead = 4 + 1 + 1
