package subscriber

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"culvert/proto/ppp"
	"culvert/proto/ppp/mschap"
)

func TestPAP(t *testing.T) { upWithPAP(t) }

func TestCHAP(t *testing.T) {
	p := newPeer(t, nil)
	p.lcpUp(authCHAP)
	p.want()
	p.send(chap, ppp.CHAPChallenge, 42, "04aabbccdd"+hex.EncodeToString([]byte("lns")))
	value := ppp.CHAPMD5(42, "secret", []byte{0xaa, 0xbb, 0xcc, 0xdd})
	response := fmt.Sprintf("CHAP 2 42 10%x6a6f65", value)
	p.want(response)
	p.send(chap, ppp.CHAPSuccess, 41, "")
	p.want() // not the answer to our response
	p.send(chap, ppp.CHAPSuccess, 42, "")
	p.network()
	p.send(chap, ppp.CHAPChallenge, 42, "04aabbccdd") // challenged again while up
	p.want(response)
	if p.c.Phase() != PhaseUp {
		t.Error("a second challenge took the link down")
	}
}

func TestMSCHAPv2(t *testing.T) {
	for _, honest := range []bool{true, false} {
		p := newPeer(t, nil)
		p.lcpUp(authMS)
		p.send(chap, ppp.CHAPChallenge, 9, "10"+strings.Repeat("ab", 16))
		if len(p.out) != 1 {
			t.Fatalf("sent %q", p.out)
		}
		data, _ := hex.DecodeString(strings.Fields(p.out[0])[3])
		p.out = nil
		value, name, err := ppp.ParseCHAPValue(data)
		if err != nil || string(name) != "joe" {
			t.Fatal(err, string(name))
		}
		r, err := ppp.ParseMSCHAPv2Response(value)
		if err != nil {
			t.Fatal(err)
		}
		challenge := [16]byte([]byte(strings.Repeat("\xab", 16)))
		if r.NTResponse != mschap.NTResponse(challenge, r.PeerChallenge, "joe", "secret") {
			t.Error("wrong response")
		}
		password := "secret"
		if !honest {
			password = "guess"
		}
		proof := mschap.AuthenticatorResponse(challenge, r.PeerChallenge, r.NTResponse, "joe", password) + " M=hi"
		p.send(chap, ppp.CHAPSuccess, 9, hex.EncodeToString([]byte(proof)))
		if honest {
			p.network()
			continue
		}
		p.want("LCP 5 2 ")
		p.send(lcp, ppp.TerminateAck, 2, "")
		p.wantDown(ReasonAuthServer)
	}
}

func TestNoAuthentication(t *testing.T) {
	p := newPeer(t, nil)
	p.lcpUp("")
	p.network()
}

func TestAuthenticationIsNegotiated(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.Auth = []ppp.Auth{ppp.AuthCHAP, ppp.AuthPAP} })
	p.out = nil
	p.send(lcp, ppp.ConfigureRequest, 1, authEAP)
	p.want("LCP 3 1 " + authCHAP)
	p.send(lcp, ppp.ConfigureRequest, 2, authMS)
	p.want("LCP 3 2 " + authCHAP)
	p.send(lcp, ppp.ConfigureRequest, 3, authPAP)
	p.want("LCP 2 3 " + authPAP)
	p = newPeer(t, func(c *Config) { c.Auth = nil })
	p.out = nil
	p.send(lcp, ppp.ConfigureRequest, 1, authPAP)
	p.want("LCP 4 1 " + authPAP)
}

func TestAuthenticationRejected(t *testing.T) {
	p := newPeer(t, nil)
	p.lcpUp(authPAP)
	p.out = nil
	p.send(pap, ppp.PAPNak, 1, "03"+hex.EncodeToString([]byte("bad")))
	p.want("LCP 5 2 ")
	if string(p.fx.Message) != "bad" || p.c.Reason() != ReasonAuthRejected || p.fx.Down {
		t.Errorf("message %q, reason %v", p.fx.Message, p.c.Reason())
	}
	p.send(lcp, ppp.TerminateRequest, 50, "") // crosses ours
	p.want("LCP 6 50 ")
	p.send(lcp, ppp.TerminateAck, 2, "")
	p.wantDown(ReasonAuthRejected)
	p.send(lcp, ppp.ConfigureRequest, 8, authPAP)
	p.want() // nothing more
}
