package radius_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/aaa/radius"
	"culvert/aaa/radius/radtest"
	"culvert/lac/subscriber"
	"culvert/proto/ppp"

	lradius "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
)

// eapIdentity is the first request of a conversation.
func eapIdentity(name string) aaa.Request {
	return eapRequest(name, nil, ppp.AppendEAP(nil, ppp.EAPResponse, 5, ppp.EAPIdentity, []byte(name)))
}

func eapRequest(name string, state, packet []byte) aaa.Request {
	return aaa.Request{Identity: identity(name, "s-"+name), Credentials: aaa.Credentials{
		Method: aaa.MethodEAP, ID: packet[1], EAP: &aaa.EAPResponse{Packet: packet, State: state, MTU: 1400}}}
}

// converse is a subscriber's whole conversation; rounds are its requests.
func converse(t testing.TB, c *radius.Client, name, password string, methods ...ppp.EAPType) (g *aaa.Grant, rounds int, err error) {
	t.Helper()
	peer := subscriber.EAPPeer{User: name, Password: password, Methods: methods, Rnd: rand.NewPCG(1, 2)}
	req := eapIdentity(name)
	for rounds = 1; ; rounds++ {
		if rounds > 20 {
			t.Fatal("no end")
		}
		g, err = ask(t, c, req)
		var more *aaa.Challenge
		if !errors.As(err, &more) {
			return g, rounds, err
		}
		p, err := ppp.ParseEAP(more.EAP)
		if err != nil || p.Code != ppp.EAPRequest {
			t.Fatalf("the server's packet %x: %v", more.EAP, err)
		}
		req = eapRequest(name, more.State, bytes.Clone(peer.Answer(&p)))
	}
}

func isEAP(b []byte, code ppp.Code) bool {
	p, err := ppp.ParseEAP(b)
	return err == nil && p.Code == code
}

func TestEAPConversation(t *testing.T) {
	s := newServer(t, radtest.Config{})
	c, _ := newClient(t, []radius.Server{quick(s.AuthAddr())}, nil)
	g, rounds, err := converse(t, c, "ann", "password", ppp.EAPMD5)
	if err != nil || rounds != 2 || !isEAP(g.EAP, ppp.EAPSuccess) {
		t.Errorf("%+v, %v after %d requests", g, err, rounds)
	}
	var rej *aaa.RejectError
	if _, _, err := converse(t, c, "ann", "wrong", ppp.EAPMD5); !errors.As(err, &rej) || !isEAP(rej.EAP, ppp.EAPFailure) {
		t.Errorf("wrong password: %v", err)
	}
	if st := c.Stats()[0]; st.Challenges != 2 || st.Accepts != 1 || st.Rejects != 1 {
		t.Errorf("stats %+v", st)
	}
}

// TestEAPStaysWithItsServer: of several servers, the one that has challenged gets the Response, also where
// requests are spread, and nobody else when it has died meanwhile.
func TestEAPStaysWithItsServer(t *testing.T) {
	servers := []*radtest.Server{newServer(t, radtest.Config{}), newServer(t, radtest.Config{}), newServer(t, radtest.Config{})}
	var list []radius.Server
	for _, s := range servers {
		q := quick(s.AuthAddr())
		q.NoProbe, q.DeadTime = true, time.Hour
		list = append(list, q)
	}
	c, _ := newClient(t, list, nil, func(cfg *radius.Config) { cfg.Auth.Mode = radius.Balance })
	const calls = 60
	for i := range calls {
		if _, _, err := converse(t, c, user(i), "password", ppp.EAPMD5); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range servers {
		if n := s.Counts(); n.Challenges != n.Accepts || n.Rejects != 0 || n.Accepts < calls/6 {
			t.Errorf("server %d: %d challenges, %d accepts", i, n.Challenges, n.Accepts)
		}
	}
	_, err := ask(t, c, eapIdentity("ann"))
	var more *aaa.Challenge
	if !errors.As(err, &more) {
		t.Fatalf("no challenge: %v", err)
	}
	before := [3]uint64{}
	for i, s := range servers {
		before[i] = s.Counts().AccessRequests
		if i == int(more.State[0]) {
			s.Behave(radtest.Behaviour{Silent: true})
		}
	}
	_, err = ask(t, c, eapRequest("ann", more.State, []byte{2, more.EAP[1], 0, 6, 3, 26}))
	wantUnavailable(t, err)
	for i, s := range servers {
		if n := s.Counts().AccessRequests; n != before[i] {
			t.Errorf("server %d was asked in the middle of another's conversation", i)
		}
	}
	if _, _, err := converse(t, c, "bob", "password", ppp.EAPMD5); err != nil {
		t.Errorf("a new conversation: %v", err)
	}
	wantUnavailable(t, second(ask(t, c, eapRequest("ann", []byte{7, 1}, []byte{2, 1, 0, 6, 3, 26}))))
}

func second(_ *aaa.Grant, err error) error { return err }

// scripted is a client of a server that answers as told, and what it was asked last.
func scripted(t *testing.T, answer func(p *lradius.Packet) *lradius.Packet, behave radtest.Behaviour, change func(*radius.Server)) (*radius.Client, func() *lradius.Packet) {
	t.Helper()
	var mu sync.Mutex
	var last *lradius.Packet
	s := newServer(t, radtest.Config{Script: func(p *lradius.Packet) *lradius.Packet {
		mu.Lock()
		last = p
		mu.Unlock()
		return answer(p)
	}})
	s.Behave(behave)
	q := quick(s.AuthAddr())
	if change != nil {
		change(&q)
	}
	c, _ := newClient(t, []radius.Server{q}, nil)
	return c, func() *lradius.Packet {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

// TestEAPOnTheWire looks at the request: EAP-Messages side by side, of 253 octets but for the last, State,
// Framed-MTU, User-Name and Message-Authenticator.
func TestEAPOnTheWire(t *testing.T) {
	c, last := scripted(t, func(p *lradius.Packet) *lradius.Packet { return p.Response(lradius.CodeAccessReject) }, radtest.Behaviour{}, nil)
	for _, n := range []int{1, 248, 249, 253, 501, 1395} {
		packet := ppp.AppendEAP(nil, ppp.EAPResponse, 9, ppp.EAPTLS, bytes.Repeat([]byte{0xab}, n))
		if _, err := ask(t, c, eapRequest("ann", []byte{0, 0xca, 0xfe}, packet)); !errors.Is(err, aaa.ErrReject) {
			t.Fatal(err)
		}
		p := last()
		var sizes, at []int
		var joined []byte
		for i, a := range p.Attributes {
			if a.Type == rfc2869.EAPMessage_Type {
				sizes, at, joined = append(sizes, len(a.Attribute)), append(at, i), append(joined, a.Attribute...)
			}
		}
		if !bytes.Equal(joined, packet) || at[len(at)-1]-at[0] != len(at)-1 || len(sizes) != (len(packet)+252)/253 {
			t.Errorf("%d octets: EAP-Messages of %v at %v", len(packet), sizes, at)
		}
		for _, s := range sizes[:len(sizes)-1] {
			if s != 253 {
				t.Errorf("%d octets: EAP-Messages of %v", len(packet), sizes)
			}
		}
		if s := rfc2865.State_Get(p); !bytes.Equal(s, []byte{0xca, 0xfe}) || rfc2865.FramedMTU_Get(p) != 1400 || rfc2865.UserName_GetString(p) != "ann" {
			t.Errorf("State %x, Framed-MTU %d, User-Name %q", s, rfc2865.FramedMTU_Get(p), rfc2865.UserName_GetString(p))
		}
		if len(p.Get(rfc2869.MessageAuthenticator_Type)) != 16 || p.Get(rfc2865.UserPassword_Type) != nil {
			t.Error("no Message-Authenticator, or a password")
		}
	}
	if _, err := ask(t, c, eapIdentity("ann")); !errors.Is(err, aaa.ErrReject) || last().Get(rfc2865.State_Type) != nil {
		t.Errorf("the first request: %v, State %x", err, last().Get(rfc2865.State_Type))
	}
}

// TestEAPAnswers is what comes of each answer to a request by EAP.
func TestEAPAnswers(t *testing.T) {
	request := []byte{1, 6, 0, 6, 4, 1}
	challenge := func(f func(r *lradius.Packet)) func(*lradius.Packet) *lradius.Packet {
		return func(p *lradius.Packet) *lradius.Packet {
			r := p.Response(lradius.CodeAccessChallenge)
			_ = rfc2869.EAPMessage_Set(r, request)
			_ = rfc2865.State_SetString(r, "st")
			if f != nil {
				f(r)
			}
			return r
		}
	}
	code := func(c lradius.Code, eap []byte) func(*lradius.Packet) *lradius.Packet {
		return func(p *lradius.Packet) *lradius.Packet {
			r := p.Response(c)
			if eap != nil {
				_ = rfc2869.EAPMessage_Set(r, eap)
			}
			return r
		}
	}
	good := &aaa.Challenge{EAP: request, State: []byte("\x00st")}
	unsigned := radtest.Behaviour{Unsigned: true}
	for _, c := range []struct {
		name   string
		answer func(*lradius.Packet) *lradius.Packet
		behave radtest.Behaviour
		want   any // *aaa.Challenge, *aaa.Grant, *aaa.RejectError, or a text of an error that is unavailability
	}{
		{"challenge", challenge(nil), radtest.Behaviour{}, good},
		{"no State", challenge(func(r *lradius.Packet) { r.Del(rfc2865.State_Type) }), radtest.Behaviour{}, &aaa.Challenge{EAP: request, State: []byte{0}}},
		{"two States", challenge(func(r *lradius.Packet) { r.Add(rfc2865.State_Type, []byte("2")) }), radtest.Behaviour{}, "State is there 2 times"},
		{"no EAP-Message", challenge(func(r *lradius.Packet) { r.Del(rfc2869.EAPMessage_Type) }), radtest.Behaviour{},
			&aaa.RejectError{Message: "the RADIUS server challenges without an EAP-Message"}},
		{"timeout", challenge(func(r *lradius.Packet) { _ = rfc2865.SessionTimeout_Set(r, 30) }), radtest.Behaviour{},
			&aaa.Challenge{EAP: request, State: good.State, Timeout: 30 * time.Second}},
		{"timeout of years", challenge(func(r *lradius.Packet) { _ = rfc2865.SessionTimeout_Set(r, 1<<30) }), radtest.Behaviour{},
			&aaa.Challenge{EAP: request, State: good.State, Timeout: 10 * time.Minute}},
		{"ignored", challenge(func(r *lradius.Packet) { r.Add(101, []byte{0, 0, 0, 202}) }), radtest.Behaviour{},
			&aaa.Challenge{EAP: request, State: good.State, Ignored: true}},
		{"another Error-Cause", challenge(func(r *lradius.Packet) { r.Add(101, []byte{0, 0, 1, 202}) }), radtest.Behaviour{}, good},
		{"bad Error-Cause", challenge(func(r *lradius.Packet) { r.Add(101, []byte{202}) }), radtest.Behaviour{}, "Error-Cause has 1 octets"},
		{"accept", code(lradius.CodeAccessAccept, []byte{3, 6, 0, 4}), radtest.Behaviour{}, &aaa.Grant{EAP: []byte{3, 6, 0, 4}}},
		{"accept without EAP", code(lradius.CodeAccessAccept, nil), radtest.Behaviour{}, &aaa.Grant{}},
		{"reject", code(lradius.CodeAccessReject, []byte{4, 6, 0, 4}), radtest.Behaviour{}, &aaa.RejectError{EAP: []byte{4, 6, 0, 4}}},
		{"reject without EAP", code(lradius.CodeAccessReject, nil), radtest.Behaviour{}, &aaa.RejectError{}},
		{"unsigned challenge", challenge(nil), unsigned, "no answer"},
		{"unsigned accept", code(lradius.CodeAccessAccept, []byte{3, 6, 0, 4}), unsigned, "no answer"},
		{"forged", challenge(nil), radtest.Behaviour{Lying: true}, "no answer"},
		{"nothing", func(*lradius.Packet) *lradius.Packet { return nil }, radtest.Behaviour{}, "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Unsigned answers are allowed for other methods; with EAP they never are.
			client, _ := scripted(t, c.answer, c.behave, func(s *radius.Server) { s.AllowUnsigned = true })
			g, err := ask(t, client, eapIdentity("ann"))
			server := ""
			switch e := err.(type) {
			case nil:
				server, g.Server = g.Server, ""
			case *aaa.Challenge:
				server, e.Server = e.Server, ""
			case *aaa.RejectError:
				server, e.Server = e.Server, ""
			default:
				server = "(unavailable)"
			}
			if server == "" {
				t.Error("nobody says which server answered")
			}
			switch want := c.want.(type) {
			case *aaa.Grant:
				if err != nil || !reflect.DeepEqual(g, want) {
					t.Errorf("got %+v, %v", g, err)
				}
			case string:
				if !errors.Is(err, aaa.ErrUnavailable) || !strings.Contains(err.Error(), want) {
					t.Errorf("got %+v, %v, want %q", g, err, want)
				}
			default:
				if !reflect.DeepEqual(any(err), c.want) {
					t.Errorf("got %+v, %#v, want %+v", g, err, c.want)
				}
			}
		})
	}
}

// TestEAPThatDoesNotFit: packets that RADIUS cannot carry whole are never cut.
func TestEAPThatDoesNotFit(t *testing.T) {
	s := newServer(t, radtest.Config{})
	c, _ := newClient(t, []radius.Server{quick(s.AuthAddr())}, nil)
	for name, req := range map[string]aaa.Request{
		"long":  eapRequest("ann", nil, ppp.AppendEAP(nil, ppp.EAPResponse, 1, ppp.EAPTLS, make([]byte, 4000))),
		"none":  {Identity: identity("ann", "s"), Credentials: aaa.Credentials{Method: aaa.MethodEAP}},
		"empty": {Identity: identity("ann", "s"), Credentials: aaa.Credentials{Method: aaa.MethodEAP, EAP: &aaa.EAPResponse{}}},
		"name":  eapIdentity(strings.Repeat("a", 254)),
	} {
		var rej *aaa.RejectError
		if _, err := ask(t, c, req); !errors.As(err, &rej) || rej.Message == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := s.Counts().AccessRequests; n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	// A server may not talk a subscriber of another method into EAP.
	c2, _ := scripted(t, func(p *lradius.Packet) *lradius.Packet {
		r := p.Response(lradius.CodeAccessChallenge)
		_ = rfc2869.EAPMessage_Set(r, []byte{1, 6, 0, 6, 4, 1})
		return r
	}, radtest.Behaviour{}, nil)
	if _, err := ask(t, c2, pap("ann", "password")); !errors.Is(err, aaa.ErrReject) {
		t.Errorf("PAP was challenged by EAP: %v", err)
	}
}

// TestFreeRADIUSEAP: MD5 and MS-CHAPv2, as the server offers them, and by the subscriber's Nak.
func TestFreeRADIUSEAP(t *testing.T) {
	for _, offered := range []string{"md5", "mschapv2"} {
		t.Run(offered, func(t *testing.T) {
			f := radtest.StartFreeRADIUS(t, radtest.FreeRADIUSConfig{Secret: secret, Users: users, EAP: offered, Record: true})
			auth := quick(f.Auth)
			auth.Timeout = time.Second
			c, _ := newClient(t, []radius.Server{auth}, nil)
			for _, m := range []ppp.EAPType{ppp.EAPMD5, ppp.EAPMSCHAPv2} {
				g, rounds, err := converse(t, c, "ann", "right", m)
				if err != nil || !isEAP(g.EAP, ppp.EAPSuccess) || g.User != "ann@isp" || g.Pool != "gold" || g.MTU != 1492 {
					t.Errorf("%v: %+v, %v", m, g, err)
				}
				t.Logf("%v: %d requests", m, rounds)
				var rej *aaa.RejectError
				if g, _, err := converse(t, c, "ann", "wrong", m); !errors.As(err, &rej) || !isEAP(rej.EAP, ppp.EAPFailure) {
					t.Errorf("%v, wrong password: %+v, %v", m, g, err)
				}
			}
			if _, _, err := converse(t, c, "ann", "right", ppp.EAPType(99)); !errors.Is(err, aaa.ErrReject) {
				t.Errorf("a method that nobody knows: %v", err)
			}
			for _, r := range f.Requests() {
				if fmt.Sprint(r["Framed-MTU"], r["User-Name"]) != "[1400] [ann]" || len(r["EAP-Message"]) == 0 {
					t.Errorf("FreeRADIUS was asked with %v", r)
				}
			}
			// Its other methods are as they were.
			for name, req := range map[string]aaa.Request{"PAP": pap("ann", "right"), "CHAP": chap("ann", "right"), "MS-CHAPv2": mschap(t, "ann", "right")} {
				if _, err := ask(t, c, req); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// TestFreeRADIUSDiesInEAP: a conversation dies with its server, whose successor does not know it.
func TestFreeRADIUSDiesInEAP(t *testing.T) {
	f := radtest.StartFreeRADIUS(t, radtest.FreeRADIUSConfig{Secret: secret, Users: users, EAP: "md5"})
	auth := quick(f.Auth)
	auth.Timeout = time.Second
	c, _ := newClient(t, []radius.Server{auth}, nil)
	challenge := func() aaa.Request {
		_, err := ask(t, c, eapIdentity("ann"))
		var more *aaa.Challenge
		if !errors.As(err, &more) {
			t.Fatalf("no challenge: %v", err)
		}
		peer := subscriber.EAPPeer{User: "ann", Password: "right"}
		p, err := ppp.ParseEAP(more.EAP)
		if err != nil {
			t.Fatal(err)
		}
		return eapRequest("ann", more.State, bytes.Clone(peer.Answer(&p)))
	}
	response := challenge()
	f.Stop()
	_, err := ask(t, c, response)
	wantUnavailable(t, err)
	f.Start()
	eventually(t, "the server is alive again", func() bool { return c.Stats()[0].Alive })
	if _, err := ask(t, c, response); !errors.Is(err, aaa.ErrReject) {
		t.Errorf("a Response to a challenge that nobody has sent: %v", err)
	}
	if g, err := ask(t, c, challenge()); err != nil || !isEAP(g.EAP, ppp.EAPSuccess) {
		t.Errorf("a new conversation: %+v, %v", g, err)
	}
}
