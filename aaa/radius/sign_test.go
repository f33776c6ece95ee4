package radius

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 5997 section 6.1, whose secret is "xyzzy5461".
func TestSignaturesOfRFC5997(t *testing.T) {
	request := unhex(t, "0c da 00 26 8a 54 f4 68 6f b3 94 c5 28 66 e3 02 18 5d 06 23 50 12 5a 66 5e 2e 1e 84 11 f3 e2 43 82 20 97 c8 4f a3")
	reply := unhex(t, "02 da 00 14 ef 0d 55 2a 4b f2 d6 93 ec 2b 6f e8 b5 41 1d 66")
	s := newSigner([]byte("xyzzy5461"))
	auth := [16]byte(request[4:20])
	if s.signature(request, &auth) != isSigned || !s.genuine(reply, &auth) || s.signature(reply, &auth) != unsigned {
		t.Error("the RFC's packets are not accepted")
	}
	for i := range request {
		bad := bytes.Clone(request)
		bad[i] ^= 1
		badAuth := [16]byte(bad[4:20])
		if i != 20 && i != 21 && s.signature(bad, &badAuth) != forged {
			t.Errorf("octet %d of the request may be changed", i)
		}
	}
	for i := range reply {
		bad := bytes.Clone(reply)
		bad[i] ^= 1
		if s.genuine(bad, &auth) {
			t.Errorf("octet %d of the reply may be changed", i)
		}
	}
}

// idle makes a server whose goroutines have ended, for tests to play them.
func idle(t *testing.T, cfg Server) *server {
	t.Helper()
	cfg.Address, cfg.Secret = netip.MustParseAddrPort("127.0.0.1:9"), []byte("s")
	s, err := newServer(cfg.withDefaults(), RoleAuth, "lns", netip.Addr{}, testLog())
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	s.closed = false
	return s
}

// accept makes a reply that is signed as asked.
func accept(id byte, auth [16]byte, secret string, badMA bool) []byte {
	var w builder
	w.header(radius.CodeAccessAccept, id)
	at := w.placeSignature()
	p := w.finish()
	sign := newSigner([]byte(secret))
	sign.signResponse(p, &auth, at)
	if badMA {
		p[at] ^= 1
		copy(p[authenticator:], sign.digest(p, &auth))
	}
	return p
}

// Both authenticators must be right, an answer to the identifier's request
// before is late, and the right answer counts once.
func TestReceiveChecksBothAuthenticators(t *testing.T) {
	s := idle(t, Server{})
	k, sign := s.sockets[0], newSigner([]byte("s"))
	answers := 0
	var old [16]byte
	for round := range 2 {
		// All 256 identifiers are used in turn, so round two uses them again.
		for range 256 {
			x := &exchange{timer: -1, first: time.Now()}
			id, ok := s.take(x)
			if !ok {
				t.Fatal("no identifier")
			}
			x.slots, x.sent = []slotID{id}, 1
			if id != 7 {
				s.settle(x)
				continue
			}
			auth := s.slot(id).auth
			for range 2 {
				s.receive(k, sign, accept(7, auth, "other", false))
				s.receive(k, sign, accept(7, auth, "s", true))
				s.receive(k, sign, []byte("rubbish"))
			}
			if round == 1 {
				s.receive(k, sign, accept(7, old, "s", false))
			}
			if x.finish {
				t.Fatal("a wrong answer was taken")
			}
			s.receive(k, sign, accept(7, auth, "s", false))
			if !x.finish {
				t.Fatal("the right answer was not taken")
			}
			s.receive(k, sign, accept(7, auth, "s", false))
			answers++
			old = auth
		}
	}
	st := s.stats
	if answers != 2 || st.BadAuthenticators != 8 || st.Malformed != 4 || st.Late != 3 || st.ProbeReplies != 2 {
		t.Errorf("%d answers, stats %+v", answers, st)
	}
}
