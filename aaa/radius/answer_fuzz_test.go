package radius

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"culvert/aaa"

	"layeh.com/radius"
)

// FuzzAnswer has a server's socket receive whatever comes for a request: without the secret nothing
// is taken for the answer, with it and both authenticators right the request gets one, and only one.
func FuzzAnswer(f *testing.F) {
	eap := []byte{80, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 79, 6, 1, 80, 0, 4}
	f.Add(uint8(2), []byte{}, true, true, false)
	f.Add(uint8(3), []byte{18, 4, 'n', 'o'}, true, true, false)
	f.Add(uint8(11), eap, true, false, true)
	f.Add(uint8(2), []byte{1, 0}, true, true, true)
	f.Add(uint8(5), []byte{}, true, true, false)
	f.Add(uint8(2), []byte{8, 6, 100, 64, 0, 1}, false, true, false)
	cfg := Server{Address: netip.MustParseAddrPort("127.0.0.1:9"), Secret: []byte("s")}
	s, err := newServer(cfg.withDefaults(), RoleAuth, "lns", netip.Addr{}, testLog())
	if err != nil {
		f.Fatal(err)
	}
	s.close() // its goroutines have ended: the test plays them
	s.closed = false
	sign := newSigner([]byte("s"))
	f.Fuzz(func(t *testing.T, code uint8, b []byte, genuine, signed, byEAP bool) {
		if len(b) > maxPacket-headerLen-18 {
			return
		}
		answers := 0
		x := &exchange{timer: -1, first: time.Now(), sent: 1, req: &aaa.Request{Credentials: aaa.Credentials{Method: aaa.MethodCHAP}}}
		if byEAP {
			x.req.Method = aaa.MethodEAP
		}
		x.doneAuth = func(g *aaa.Grant, err error) {
			if answers++; g == nil && err == nil {
				t.Fatal("an answer that is neither a grant nor an error")
			}
		}
		id, ok := s.take(x)
		if !ok {
			t.Fatal("no identifier is left")
		}
		x.slots = []slotID{id}
		auth := s.slot(id).auth
		p := append(make([]byte, headerLen), b...)
		at := 0
		if signed {
			p = append(p, byte(typeMessageAuthenticator), 18)
			at = len(p)
			p = append(p, make([]byte, 16)...)
		}
		p[0], p[1] = code, byte(id)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		if genuine {
			sign.signResponse(p, &auth, at)
		}
		s.receive(s.sockets[id>>8], sign, p)
		s.receive(s.sockets[id>>8], sign, p)
		s.receive(s.sockets[id>>8], sign, b)
		want := radius.Code(code) == radius.CodeAccessAccept || radius.Code(code) == radius.CodeAccessReject || radius.Code(code) == radius.CodeAccessChallenge
		if answers > 1 || answers == 1 && (!genuine || !want || sign.signature(p, &auth) != isSigned) {
			t.Fatalf("%d answers; code %d, genuine %v, signed %v", answers, code, genuine, signed)
		}
		if answers == 0 && genuine && want && sign.signature(p, &auth) == isSigned {
			t.Fatalf("the right answer % x was not taken", p)
		}
		if !x.finish {
			s.mu.Lock()
			s.settle(x)
			s.mu.Unlock()
		}
	})
}
