package link

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"culvert/proto/ppp"
	"culvert/proto/ppp/mschap"
)

// server is a Link with an owner that knows the client's password.
type server struct {
	link     Link
	fx       *Effects
	net      Network
	password string
	// grantAt answers the credentials in hand.
	grantAt time.Duration
	creds   *Credentials
	delay   time.Duration
	ups     int
	downs   []Reason
	asked   int
}

func (s *server) drain(now time.Duration) (out [][]byte) {
	for _, f := range s.fx.Frames {
		out = append(out, bytes.Clone(f))
	}
	if s.fx.Auth != nil {
		s.creds, s.grantAt = s.fx.Auth, armed(now+s.delay)
		s.asked++
	}
	if s.fx.Up {
		s.ups++
	}
	if s.fx.Down {
		s.downs = append(s.downs, s.fx.Reason)
	}
	s.fx.Reset()
	return out
}

func (s *server) deadline() time.Duration { return earlier(s.link.Deadline(), s.grantAt) }

func (s *server) tick(now time.Duration) {
	s.link.Tick(now, s.fx)
	if s.fx.Auth == nil && due(&s.grantAt, now) {
		s.decide(now)
	}
}

// decide does what a RADIUS server would.
func (s *server) decide(now time.Duration) {
	c, ok, message := s.creds, false, "welcome"
	switch c.Method {
	case MethodPAP:
		ok = string(c.Password) == s.password
	case MethodCHAP:
		ok = ppp.CHAPMD5(c.ID, s.password, c.Challenge) == [16]byte(c.Response)
	case MethodMSCHAPv2:
		r, err := ppp.ParseMSCHAPv2Response(c.Response)
		challenge := [16]byte(c.Challenge)
		ok = err == nil && mschap.NTResponse(challenge, r.PeerChallenge, c.User, s.password) == r.NTResponse
		message = mschap.AuthenticatorResponse(challenge, r.PeerChallenge, r.NTResponse, c.User, s.password)
	case MethodEAP:
		s.decideEAP(now, c)
		return
	case MethodNone:
		ok = true
	}
	if ok {
		s.link.Grant(now, s.net, message, s.fx)
	} else {
		s.link.Deny(now, "no such user", s.fx)
	}
}

// eapChallenges is how many challenges the server wants answered.
const eapChallenges = 3

// decideEAP challenges some times, by what its State says, and ignores a Response now and then.
func (s *server) decideEAP(now time.Duration, c *Credentials) {
	p, err := ppp.ParseEAP(c.EAP.Packet)
	if err != nil || p.Code != ppp.EAPResponse || p.ID != c.ID || c.User == "" {
		panic("the link hands over no Response")
	}
	round, challenge := byte(0), []byte("challenge")
	if c.EAP.State != nil {
		round = c.EAP.State[0]
		sum := ppp.CHAPMD5(p.ID, s.password, challenge)
		if p.Type != ppp.EAPMD5 || !bytes.Equal(p.Data[1:], sum[:]) {
			s.link.Deny(now, string(ppp.AppendEAPResult(nil, ppp.EAPFailure, p.ID)), s.fx)
			return
		}
	}
	if round == eapChallenges {
		s.link.Grant(now, s.net, string(ppp.AppendEAPResult(nil, ppp.EAPSuccess, p.ID)), s.fx)
		return
	}
	again := Challenge{Packet: ppp.AppendEAP(nil, ppp.EAPRequest, p.ID+1, ppp.EAPMD5, append([]byte{9}, challenge...)), State: []byte{round + 1}}
	if round > 0 && s.asked%4 == 0 {
		again = Challenge{Packet: ppp.AppendEAP(nil, ppp.EAPRequest, p.ID, ppp.EAPMD5, append([]byte{9}, challenge...)), State: []byte{round}, Ignored: true}
	}
	if err := s.link.Challenge(now, &again, s.fx); err != nil {
		panic(err)
	}
}

// testNetwork is what test subscribers get.
func testNetwork() Network {
	return Network{
		Local: netip.MustParseAddr("192.0.2.1"), Peer: netip.MustParseAddr("198.51.100.7"),
		DNS: [2]netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.0.2.54")},
	}
}

// seeded is deterministic randomness for links.
func seeded(seed uint64) io.Reader { return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}) }
