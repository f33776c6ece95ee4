package lns

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lac/subscriber"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// eapConfig is a subscriber's that agrees to EAP alone.
var eapConfig = func() subscriber.Config {
	c := subscriber.DefaultConfig()
	c.Auth, c.AuthTries = []ppp.Auth{ppp.AuthEAP}, 60 // it waits longer than the LNS
	return c
}()

// eapServer decides as a RADIUS server with EAP-MD5 does. Its State is the number of the challenge.
type eapServer struct {
	password   string
	challenges int
	// answer, where set, is asked first.
	answer func(round int, r *aaa.Request) (*aaa.Grant, error)
	rounds int
}

var md5Challenge = []byte("sixteen octets..")

func (e *eapServer) decide(r aaa.Request) (*aaa.Grant, error) {
	e.rounds++
	if e.answer != nil {
		if g, err := e.answer(e.rounds, &r); g != nil || err != nil {
			return g, err
		}
	}
	p, err := ppp.ParseEAP(r.EAP.Packet)
	if err != nil || p.Code != ppp.EAPResponse || p.ID != r.ID {
		return nil, fmt.Errorf("the LNS passed on %x for identifier %d: %w: %w", r.EAP.Packet, r.ID, err, aaa.ErrUnavailable)
	}
	if p.Type == ppp.EAPIdentity {
		e.challenges++
		request := ppp.AppendEAP(nil, ppp.EAPRequest, p.ID+1, ppp.EAPMD5, append([]byte{16}, md5Challenge...))
		return nil, &aaa.Challenge{EAP: request, State: []byte{byte(e.challenges)}, Server: "radius1"}
	}
	want := ppp.CHAPMD5(p.ID, e.password, md5Challenge)
	if !bytes.Equal(r.EAP.State, []byte{byte(e.challenges)}) || p.Type != ppp.EAPMD5 || !bytes.Equal(p.Data[1:17], want[:]) {
		return nil, &aaa.RejectError{Message: "unpaid bill", EAP: ppp.AppendEAPResult(nil, ppp.EAPFailure, p.ID), Server: "radius1"}
	}
	return &aaa.Grant{EAP: ppp.AppendEAPResult(nil, ppp.EAPSuccess, p.ID), Server: "radius1"}, nil
}

// eapRig is a rig whose LACs are asked for EAP, with a tunnel.
func eapRig(t *testing.T, e *eapServer) (*rig, *rigLAC) {
	t.Helper()
	r := newRig(t, func(c *Config) { c.LACs[0].Auth = []string{"eap", "chap"} })
	r.aaa.decide = e.decide
	l := r.lac(1, "tunnel secret")
	l.connect = func(c *rigCall, _ *l2tp.Message) {
		var fx subscriber.Effects
		c.client.Start(r.clock.now, &eapConfig, "alice", "secret", rand.New(rand.NewPCG(3, 4)), &fx)
	}
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	return r, l
}

func TestEAPCall(t *testing.T) {
	e := &eapServer{password: "secret"}
	r, l := eapRig(t, e)
	c := l.dial("alice", nil)
	r.until(10*time.Second, "up", func() bool { return c.up })
	s := r.session("alice")
	if s.method != aaa.MethodEAP || e.rounds != 2 || len(r.aaa.reqs) != 2 {
		t.Errorf("method %v after %d rounds", s.method, e.rounds)
	}
	for i, q := range r.aaa.reqs {
		if q.Method != aaa.MethodEAP || q.Identity.User != "alice" || q.EAP.MTU != 1492 || (q.EAP.State == nil) != (i == 0) || q.Identity.AcctSessionID == "" {
			t.Errorf("request %d: %+v", i, q)
		}
	}
	// A modem that begins anew is asked by EAP again; its session goes on.
	var fx subscriber.Effects
	c.client.Start(r.clock.now, &eapConfig, "alice", "secret", rand.New(rand.NewPCG(5, 6)), &fx)
	c.up = false
	c.effects(&fx)
	r.until(10*time.Second, "up again", func() bool { return c.up })
	if e.rounds != 4 || r.session("alice") != s {
		t.Errorf("%d rounds after the renegotiation", e.rounds)
	}
	c.hangUp()
	r.run(time.Second)
	r.checkAccounting(1)
}

// TestEAPAfterProxiedLCP: a LAC that has agreed on EAP spares the subscriber a second LCP.
func TestEAPAfterProxiedLCP(t *testing.T) {
	e := &eapServer{password: "secret"}
	r, l := eapRig(t, e)
	l.connect = func(c *rigCall, iccn *l2tp.Message) {
		p := subscriber.Proxy{Auth: ppp.AuthEAP}
		c.client.StartProxied(r.clock.now, &eapConfig, "alice", "secret", rand.New(rand.NewPCG(3, 4)), &p, iccn)
	}
	lcp := 0
	r.lose = func(_ bool, b []byte) bool {
		if _, payload, err := l2tp.ParseHeader(b); err == nil && bytes.HasPrefix(payload, []byte{0xff, 3, 0xc0, 0x21}) {
			lcp++
		}
		return false
	}
	c := l.dial("alice", nil)
	r.until(10*time.Second, "up", func() bool { return c.up })
	if lcp != 0 || e.rounds != 2 {
		t.Errorf("%d frames of LCP, %d rounds", lcp, e.rounds)
	}
}

// TestEAPIsTraced: who asks why a subscriber is not let in sees every round, and nothing secret.
func TestEAPIsTraced(t *testing.T) {
	e := &eapServer{password: "another"}
	r, l := eapRig(t, e)
	stepwise(r)
	c := l.dial("alice", nil)
	r.until(10*time.Second, "refused", func() bool { return c.cdn != nil })
	wantLines(t, timeline(r, Selector{User: "alice"}),
		"ppp EAP: recv Response id 37 type Identity",
		`aaa RADIUS: Access-Request for "alice" by EAP`,
		"aaa RADIUS: Access-Challenge from radius1 in 0 ms",
		"ppp EAP: send Request id 38 type MD5-Challenge",
		"ppp EAP: recv Response id 38 type MD5-Challenge",
		`aaa RADIUS: Access-Request for "alice" by EAP`,
		`aaa RADIUS: Access-Reject from radius1 in 0 ms "unpaid bill"`,
		"lns cause auth-rejected: rejected by the AAA server: unpaid bill",
		"ppp EAP: send Failure id 38",
	)
}

// TestEAPEnds is every way in which EAP leads to nothing: the cause, what the LAC is told,
// and whether the subscriber gets a Failure.
func TestEAPEnds(t *testing.T) {
	always := func(err error) func(int, *aaa.Request) (*aaa.Grant, error) {
		return func(int, *aaa.Request) (*aaa.Grant, error) { return nil, err }
	}
	afterFirst := func(err error) func(int, *aaa.Request) (*aaa.Grant, error) {
		return func(round int, _ *aaa.Request) (*aaa.Grant, error) {
			if round == 1 {
				return nil, nil
			}
			return nil, err
		}
	}
	for _, c := range []struct {
		name    string
		server  eapServer
		cause   Cause
		failure bool
		rounds  int
	}{
		{"wrong password", eapServer{password: "x"}, CauseAuthRejected, true, 2},
		{"rejected without EAP", eapServer{answer: always(&aaa.RejectError{Message: "no"})}, CauseAuthRejected, false, 1},
		{"server dead", eapServer{answer: always(aaa.ErrUnavailable)}, CauseAuthUnavailable, true, 1},
		{"server dead in the middle", eapServer{answer: afterFirst(aaa.ErrUnavailable)}, CauseAuthUnavailable, true, 2},
		{"challenge without EAP", eapServer{answer: always(&aaa.Challenge{State: []byte{1}})}, CauseAuthRejected, true, 1},
		{"challenge cut off", eapServer{answer: always(&aaa.Challenge{EAP: []byte{1, 2, 0, 9, 4}})}, CauseAuthRejected, true, 1},
		{"Success in a challenge", eapServer{answer: afterFirst(&aaa.Challenge{EAP: []byte{3, 2, 0, 4}})}, CauseAuthRejected, true, 2},
		{"no end", eapServer{answer: func(round int, r *aaa.Request) (*aaa.Grant, error) {
			return nil, &aaa.Challenge{EAP: ppp.AppendEAP(nil, ppp.EAPRequest, r.ID+1, ppp.EAPNotification, []byte("again")), State: []byte{byte(round)}}
		}}, CauseAuthRejected, true, 65},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, l := eapRig(t, &c.server)
			failures := 0
			r.lose = func(_ bool, b []byte) bool {
				if _, payload, err := l2tp.ParseHeader(b); err == nil && bytes.HasPrefix(payload, []byte{0xff, 3, 0xc2, 0x27, byte(ppp.EAPFailure)}) {
					failures++
				}
				return false
			}
			call := l.dial("alice", nil)
			r.until(2*time.Minute, "ended", func() bool { return call.cdn != nil })
			if n := r.stats().Downs[c.cause.String()]; n != 1 || failures > 0 != c.failure || c.server.rounds != c.rounds {
				t.Errorf("causes %v, %d Failures, %d rounds", r.stats().Downs, failures, c.server.rounds)
			}
			r.run(10 * time.Second)
			if s := r.session("alice"); s != nil {
				t.Errorf("the session is left in state %v", s.state)
			}
			r.checkAccounting(0)
		})
	}
}

// TestEAPServerSilent: no answer ever comes; the set-up's bound ends the call.
func TestEAPServerSilent(t *testing.T) {
	e := &eapServer{password: "secret"}
	r, l := eapRig(t, e)
	e.answer = func(int, *aaa.Request) (*aaa.Grant, error) {
		r.aaa.hold = true // from the next request on
		return nil, nil
	}
	call := l.dial("alice", nil)
	r.until(3*time.Minute, "ended", func() bool { return call.cdn != nil })
	if r.stats().Downs[CauseSetupTimeout.String()] != 1 {
		t.Errorf("causes %v", r.stats().Downs)
	}
	r.aaa.hold = false
	r.run(10 * time.Second)
	if n := r.stats().StaleAnswers; n != 1 {
		t.Errorf("%d stale answers, want the late one", n)
	}
}

// TestEAPOverALossyPath: Requests are repeated, and each Response reaches AAA once.
func TestEAPOverALossyPath(t *testing.T) {
	for seed := range uint64(20) {
		e := &eapServer{password: "secret"}
		r, l := eapRig(t, e)
		rnd := rand.New(rand.NewPCG(seed, 9))
		r.lose = func(_ bool, b []byte) bool {
			h, _, err := l2tp.ParseHeader(b)
			return err == nil && !h.Control && rnd.IntN(6) == 0
		}
		c := l.dial("alice", nil)
		r.until(time.Minute, "decided", func() bool { return c.up || c.cdn != nil })
		if !c.up {
			t.Errorf("seed %d: ended by %v", seed, c.cdn)
		}
		var seen [][]byte
		for _, q := range r.aaa.reqs {
			if slices.ContainsFunc(seen, func(b []byte) bool { return bytes.Equal(b, q.EAP.Packet) }) {
				t.Errorf("seed %d: %x went to AAA twice", seed, q.EAP.Packet)
			}
			seen = append(seen, q.EAP.Packet)
		}
	}
}
