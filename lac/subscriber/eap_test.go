package subscriber

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"culvert/proto/ppp"
	"culvert/proto/ppp/mschap"
)

const eap = ppp.ProtocolEAP

// eapPeerUp is a client whose LCP has agreed on EAP.
func eapPeerUp(t *testing.T, methods ...ppp.EAPType) *peer {
	p := newPeer(t, func(c *Config) { c.Auth, c.EAP, c.Compress = []ppp.Auth{ppp.AuthEAP}, methods, false })
	p.send(lcp, ppp.ConfigureRequest, 1, authEAP+peerMagic)
	p.send(lcp, ppp.ConfigureAck, 1, lastRequest(p))
	p.out = nil
	return p
}

// lastRequest is the data of the client's Configure-Request.
func lastRequest(p *peer) string {
	for _, line := range p.out {
		if data, ok := strings.CutPrefix(line, "LCP 1 1 "); ok {
			return data
		}
	}
	p.t.Fatalf("no Configure-Request in %q", p.out)
	return ""
}

func TestEAPMD5(t *testing.T) {
	p := eapPeerUp(t)
	p.send(eap, ppp.EAPRequest, 9, "01")
	p.want("EAP 2 9 01" + hex.EncodeToString([]byte("joe")))
	// A Success that nothing was done for is none.
	p.send(eap, ppp.EAPSuccess, 9, "")
	p.want()
	value := ppp.CHAPMD5(10, "secret", []byte{1, 2, 3, 4})
	response := fmt.Sprintf("EAP 2 10 0410%x%x", value, "joe")
	for range 2 {
		p.send(eap, ppp.EAPRequest, 10, "040401020304")
		p.want(response)
	}
	p.send(eap, ppp.EAPRequest, 11, "0261")
	p.want("EAP 2 11 02")
	p.send(eap, ppp.EAPSuccess, 10, "") // of an older Response
	p.want()
	p.send(eap, ppp.EAPSuccess, 11, "")
	p.want("IPCP 1 1 *")
}

func TestEAPNak(t *testing.T) {
	p := eapPeerUp(t, ppp.EAPMD5)
	p.send(eap, ppp.EAPRequest, 1, "1a 01 00 0005 00")
	p.want("EAP 2 1 0304")
	p = eapPeerUp(t)
	p.send(eap, ppp.EAPRequest, 1, "0d20")
	p.want("EAP 2 1 031a04")
}

func TestEAPRejected(t *testing.T) {
	p := eapPeerUp(t)
	p.send(eap, ppp.EAPRequest, 10, "040401020304")
	p.out = nil
	p.send(eap, ppp.EAPFailure, 10, "")
	if p.c.Phase() != PhaseClosing || p.c.Reason() != ReasonAuthRejected {
		t.Errorf("phase %v, reason %v", p.c.Phase(), p.c.Reason())
	}
}

// TestEAPSuccessLost: IPCP of the peer says as much.
func TestEAPSuccessLost(t *testing.T) {
	p := eapPeerUp(t)
	p.send(eap, ppp.EAPRequest, 10, "040401020304")
	p.out = nil
	p.send(ipcp, ppp.ConfigureRequest, 1, "0306c0000201")
	p.want("IPCP 1 1 *", "IPCP 2 1 0306c0000201")
}

// TestEAPMSCHAPv2 is a whole conversation, with a server that knows the
// password and with one that does not.
func TestEAPMSCHAPv2(t *testing.T) {
	for _, password := range []string{"secret", "guess"} {
		p := eapPeerUp(t)
		p.send(eap, ppp.EAPRequest, 20, "1a 01 33 001b 10 000102030405060708090a0b0c0d0e0f 6c6e73 313233")
		if len(p.out) != 1 || !strings.HasPrefix(p.out[0], "EAP 2 20 1a023300") {
			t.Fatalf("client sent %q", p.out)
		}
		b, _ := hex.DecodeString(strings.TrimPrefix(p.out[0], "EAP 2 20 "))
		p.out = nil
		if n := int(binary.BigEndian.Uint16(b[3:])); n != len(b)-1 || string(b[5+1+49:]) != "joe" {
			t.Errorf("MS-Length %d of %d octets, name %q", n, len(b), b[55:])
		}
		r, err := ppp.ParseMSCHAPv2Response(b[6:55])
		if err != nil {
			t.Fatal(err)
		}
		challenge := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
		if mschap.NTResponse(challenge, r.PeerChallenge, "joe", "secret") != r.NTResponse {
			t.Error("the response does not fit the password")
		}
		success := mschap.AuthenticatorResponse(challenge, r.PeerChallenge, r.NTResponse, "joe", password)
		p.send(eap, ppp.EAPRequest, 21, fmt.Sprintf("1a0333%04x%x", 4+len(success), success))
		if password == "secret" {
			p.want("EAP 2 21 1a03")
			p.send(eap, ppp.EAPSuccess, 21, "")
			p.want("IPCP 1 1 *")
			continue
		}
		p.want("EAP 2 21 1a04")
		p.send(eap, ppp.EAPSuccess, 21, "")
		p.want()
		p.send(eap, ppp.EAPFailure, 21, "")
		if p.c.Reason() != ReasonAuthServer {
			t.Errorf("reason %v for a server that proves nothing", p.c.Reason())
		}
	}
}

// TestEAPBadRequests: nothing is answered, and the client lives.
func TestEAPBadRequests(t *testing.T) {
	p := eapPeerUp(t)
	for _, data := range []string{
		"04", "0405", "0400", "1a", "1a01", "1a010000", "1a01000003", "1a0100ffff10", "1a010007020102",
		"1a0900041010", "1a09000004", "1a03000004",
	} {
		p.send(eap, ppp.EAPRequest, 30, data)
		if strings.HasPrefix(data, "1a03") {
			p.want("EAP 2 30 1a04") // a Success before any challenge proves nothing
			continue
		}
		p.want()
		if p.fx.Malformed != 1 {
			t.Errorf("%s: counted %d", data, p.fx.Malformed)
		}
	}
}

// FuzzEAPPeer: whatever a server asks, the answer is a Response to it.
func FuzzEAPPeer(f *testing.F) {
	f.Add([]byte{1, 1, 0, 5, 1}, []byte{1, 2, 0, 10, 4, 4, 1, 2, 3, 4})
	f.Add([]byte{1, 1, 0, 31, 26, 1, 0, 0, 26, 16, 15: 1, 30: 0}, []byte{1, 2, 0, 9, 26, 3, 0, 0, 4})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		peer := EAPPeer{User: "joe", Password: "secret", Rnd: fixed(7)}
		for _, request := range [][]byte{a, b, a} {
			p, err := ppp.ParseEAP(request)
			if err != nil || p.Code != ppp.EAPRequest {
				continue
			}
			answer := peer.Answer(&p)
			if answer == nil {
				continue
			}
			r, err := ppp.ParseEAP(answer)
			if err != nil || r.Code != ppp.EAPResponse || r.ID != p.ID || len(r.Packet) != len(answer) {
				t.Fatalf("%x is answered by %x: %v", request, answer, err)
			}
		}
	})
}

type fixed uint64

func (n fixed) Uint64() uint64 { return uint64(n) }
