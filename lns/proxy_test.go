package lns

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lac/subscriber"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// lacChallenge and lacID are what the rig's LAC asked its subscribers.
var lacChallenge = [16]byte{0xc0, 0xff, 0xee, 15: 1}

const lacID = 77

// proxied makes a rig whose LAC has done LCP, and with authenticated the
// authentication too, before each call. seen counts the PPP frames by protocol, both ways.
func proxied(t *testing.T, policy string, mru uint16, auth ppp.Auth, authenticated bool) (r *rig, l *rigLAC, seen map[ppp.Protocol]int) {
	t.Helper()
	r = newRig(t, func(c *Config) {
		c.LACs[0].Proxy, c.LACs[0].MRU = policy, mru
		if auth == ppp.AuthPAP {
			c.LACs[0].Auth = []string{"pap", "chap"}
		}
	})
	l = r.lac(1, "tunnel secret")
	l.connect = func(c *rigCall, iccn *l2tp.Message) {
		p := subscriber.Proxy{Auth: auth, Authenticated: authenticated, Challenge: lacChallenge, ID: lacID}
		c.client.StartProxied(r.clock.now, &subscriberConfig, "alice", "secret", rand.New(rand.NewPCG(3, 4)), &p, iccn)
	}
	seen = map[ppp.Protocol]int{}
	r.lose = func(_ bool, b []byte) bool {
		if h, payload, err := l2tp.ParseHeader(b); err == nil && !h.Control {
			if f, err := ppp.ParseFrame(payload); err == nil {
				seen[f.Protocol]++
			}
		}
		return false
	}
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	return r, l, seen
}

// TestProxyPolicies says for each policy what the subscriber sees of a second
// negotiation and what AAA is asked, for LACs whose negotiation fits, whose
// MRU is larger than ours, and who have done LCP alone.
func TestProxyPolicies(t *testing.T) {
	type scene struct {
		name          string
		mru           uint16
		authenticated bool
	}
	fits, larger, lcpOnly := scene{"fits", 1500, true}, scene{"larger MRU", 1400, true}, scene{"LCP only", 1500, false}
	for _, c := range []struct {
		policy string
		scene  scene
		// up: the call comes up; lcp and auth: the subscriber sees a second one.
		up, lcp, auth bool
	}{
		{"on-mismatch", fits, true, false, false},
		{"on-mismatch", larger, true, true, true},
		{"on-mismatch", lcpOnly, true, false, true},
		{"accept", fits, true, false, false},
		{"accept", larger, true, false, false},
		{"accept", lcpOnly, true, false, true},
		{"strict", fits, true, false, false},
		{"strict", larger, false, false, false},
		{"strict", lcpOnly, true, false, true},
		{"always", fits, true, true, true},
		{"always", larger, true, true, true},
		{"always", lcpOnly, true, true, true},
	} {
		for _, auth := range []ppp.Auth{ppp.AuthPAP, ppp.AuthCHAP} {
			t.Run(fmt.Sprint(c.policy, "/", c.scene.name, "/", auth), func(t *testing.T) {
				r, l, seen := proxied(t, c.policy, c.scene.mru, auth, c.scene.authenticated)
				call := l.dial("alice", nil)
				r.until(10*time.Second, "decided", func() bool { return call.up || call.cdn != nil })
				if call.up != c.up {
					t.Fatalf("up %v, want %v; CDN %+v", call.up, c.up, call.cdn)
				}
				if !c.up {
					if r.stats().Downs[CauseNegotiationFailed.String()] != 1 {
						t.Errorf("the LAC was told %+v; causes %v", call.cdn, r.stats().Downs)
					}
					r.run(time.Minute)
					return
				}
				checkProxied(t, r, auth, seen, c.lcp, c.auth)
				call.ping(call.client.Address(), 100)
				r.run(time.Second)
				if len(r.core) != 1 {
					t.Errorf("%d packets reached the core, want 1", len(r.core))
				}
			})
		}
	}
}

// checkProxied compares what was negotiated again with what should have been,
// and what AAA was asked with whose challenge it must be.
func checkProxied(t *testing.T, r *rig, auth ppp.Auth, seen map[ppp.Protocol]int, lcp, again bool) {
	t.Helper()
	if got := seen[ppp.ProtocolLCP] > 0; got != lcp {
		t.Errorf("the subscriber saw LCP: %v, want %v (%v)", got, lcp, seen)
	}
	// Without a second authentication one frame is left: the verdict.
	n := seen[ppp.ProtocolPAP] + seen[ppp.ProtocolCHAP]
	if got := n > 1; n == 0 || got != again {
		t.Errorf("%d frames of authentication, want more than the verdict: %v (%v)", n, again, seen)
	}
	if len(r.aaa.reqs) != 1 {
		t.Fatalf("AAA was asked %d times", len(r.aaa.reqs))
	}
	req := r.aaa.reqs[0]
	if req.Identity.User != "alice" {
		t.Errorf("AAA was asked for %q", req.Identity.User)
	}
	switch {
	case req.Method == aaa.MethodPAP:
		if string(req.Password) != "secret" {
			t.Errorf("password %q", req.Password)
		}
	case req.Method != aaa.MethodCHAP || auth != ppp.AuthCHAP:
		t.Errorf("AAA was asked by %v, LAC's method %v", req.Method, auth)
	default:
		original := req.ID == lacID && string(req.Challenge) == string(lacChallenge[:])
		if original == again {
			t.Errorf("identifier %d, challenge %x: the LAC's: %v, want %v", req.ID, req.Challenge, original, !again)
		}
		want := ppp.CHAPMD5(req.ID, "secret", req.Challenge)
		if string(req.Response) != string(want[:]) {
			t.Errorf("response %x does not answer the challenge", req.Response)
		}
	}
}

// TestProxyAcceptSavesFrames counts the PPP frames of a call: what accept
// spares a subscriber is all of LCP and all of the authentication but its verdict.
func TestProxyAcceptSavesFrames(t *testing.T) {
	frames := func(policy string) (n int) {
		r, l, seen := proxied(t, policy, 1500, ppp.AuthCHAP, true)
		c := l.dial("alice", nil)
		r.until(10*time.Second, "up", func() bool { return c.up })
		for _, k := range seen {
			n += k
		}
		return n
	}
	accept, always := frames("accept"), frames("always")
	t.Logf("frames of a call: %d accepted, %d negotiated anew", accept, always)
	if accept > always-5 {
		t.Errorf("accept takes %d frames, always %d: want LCP's four and the challenge's two saved", accept, always)
	}
}

// TestProxyHalfTold: of a LAC that tells only a part of its negotiation nothing can
// be taken; strict ends such a call, the others begin anew. The first CONFREQ alone
// is no negotiation.
func TestProxyHalfTold(t *testing.T) {
	for _, c := range []struct {
		policy string
		drop   []l2tp.AVP
		up     bool
	}{
		{"on-mismatch", []l2tp.AVP{l2tp.AVPLastSentLCP}, true},
		{"accept", []l2tp.AVP{l2tp.AVPLastReceivedLCP}, true},
		{"strict", []l2tp.AVP{l2tp.AVPLastSentLCP}, false},
		{"strict", []l2tp.AVP{l2tp.AVPLastSentLCP, l2tp.AVPLastReceivedLCP}, true},
	} {
		t.Run(fmt.Sprint(c.policy, " ", len(c.drop)), func(t *testing.T) {
			r, l, _ := proxied(t, c.policy, 1500, ppp.AuthCHAP, false)
			connect := l.connect
			l.connect = func(call *rigCall, iccn *l2tp.Message) {
				connect(call, iccn)
				for _, a := range c.drop {
					iccn.Unset(a)
				}
			}
			call := l.dial("alice", nil)
			r.until(10*time.Second, "decided", func() bool { return call.up || call.cdn != nil })
			if call.up != c.up {
				t.Errorf("up %v, want %v", call.up, c.up)
			}
		})
	}
}

// TestProxyPolicyIsKept: a provisioned profile keeps its policy over a
// restart, and one that was kept before there were policies has the default.
func TestProxyPolicyIsKept(t *testing.T) {
	r := newRig(t, nil)
	for _, name := range []string{"accept", "on-mismatch", "strict", "always", ""} {
		p := testProfile("p-"+name, func(p *LACProfile) { p.Proxy = name })
		if err := r.srv.PutLAC(p); err != nil {
			t.Fatal(err)
		}
	}
	r.start(nil)
	found := 0
	for _, p := range *r.srv.profiles.cur.Load() {
		want, err := proxyPolicy(p.Proxy)
		if err != nil || p.link.Proxy != want {
			t.Errorf("%s: %q is policy %d in the link, want %d, %v", p.Name, p.Proxy, p.link.Proxy, want, err)
		}
		if p.Name == "p-"+p.Proxy {
			found++
		}
	}
	if found != 5 {
		t.Errorf("%d profiles came back with their policy", found)
	}
	if err := r.srv.PutLAC(testProfile("bad", func(p *LACProfile) { p.Proxy = "never" })); err == nil {
		t.Error("a policy that does not exist was taken")
	}
}
