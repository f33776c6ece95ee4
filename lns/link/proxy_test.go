package link

import (
	"testing"

	"culvert/proto/ppp"
)

// TestProxy says which proxies are taken and which lead to a negotiation.
func TestProxy(t *testing.T) {
	lcp := func(c ppp.LCPConfig) []byte { return append([]byte{}, c.Append(nil)...) }
	chap := lcp(ppp.LCPConfig{Auth: ppp.AuthCHAP, Magic: 7})
	peer := lcp(ppp.LCPConfig{MRU: 1492, Magic: 9, PFC: true, ACFC: true})
	r16, r49 := make([]byte, 16), make([]byte, 49)
	type cfgFunc = func(*Config)
	for name, c := range map[string]struct {
		p      Proxy
		cfg    cfgFunc
		method Method
		// taken: LCP is adopted; auth: credentials came with it.
		taken, auth bool
	}{
		"CHAP":                   {Proxy{LastSent: chap, LastReceived: peer, AuthType: ProxyAuthCHAP, AuthChallenge: []byte("c"), AuthResponse: r16}, nil, MethodCHAP, true, true},
		"PAP":                    {Proxy{LastSent: lcp(ppp.LCPConfig{Auth: ppp.AuthPAP}), LastReceived: []byte{}, AuthType: ProxyAuthPAP, AuthResponse: []byte{}}, nil, MethodPAP, true, true},
		"MS-CHAPv2":              {Proxy{LastSent: lcp(ppp.LCPConfig{Auth: ppp.AuthMSCHAPv2}), LastReceived: peer, AuthType: ProxyAuthCHAP, AuthChallenge: r16, AuthResponse: r49}, nil, MethodMSCHAPv2, true, true},
		"LCP alone":              {Proxy{LastSent: chap, LastReceived: peer}, nil, MethodCHAP, true, false},
		"said to be none":        {Proxy{LastSent: chap, LastReceived: peer, AuthType: ProxyAuthNone}, nil, MethodCHAP, true, false},
		"nothing to ask":         {Proxy{LastSent: lcp(ppp.LCPConfig{}), LastReceived: peer}, func(c *Config) { c.Auth = nil }, MethodNone, true, true},
		"empty":                  {Proxy{}, nil, 0, false, false},
		"nothing received":       {Proxy{LastSent: chap}, nil, 0, false, false},
		"nothing sent":           {Proxy{LastReceived: peer}, nil, 0, false, false},
		"malformed sent":         {Proxy{LastSent: []byte{1}, LastReceived: peer}, nil, 0, false, false},
		"unknown option":         {Proxy{LastSent: chap, LastReceived: []byte{17, 4, 5, 220}}, nil, 0, false, false},
		"MRU too large for us":   {Proxy{LastSent: lcp(ppp.LCPConfig{MRU: 1500, Auth: ppp.AuthCHAP}), LastReceived: peer}, func(c *Config) { c.MRU = 1492 }, 0, false, false},
		"default MRU too large":  {Proxy{LastSent: chap, LastReceived: peer}, func(c *Config) { c.MRU = 1492 }, 0, false, false},
		"MRU too small":          {Proxy{LastSent: lcp(ppp.LCPConfig{MRU: 64, Auth: ppp.AuthCHAP}), LastReceived: peer}, nil, 0, false, false},
		"peer's MRU too small":   {Proxy{LastSent: chap, LastReceived: lcp(ppp.LCPConfig{MRU: 64})}, nil, 0, false, false},
		"same magic":             {Proxy{LastSent: chap, LastReceived: lcp(ppp.LCPConfig{Magic: 7})}, nil, 0, false, false},
		"peer wants our proof":   {Proxy{LastSent: chap, LastReceived: lcp(ppp.LCPConfig{Auth: ppp.AuthPAP})}, nil, 0, false, false},
		"quality":                {Proxy{LastSent: lcp(ppp.LCPConfig{Auth: ppp.AuthCHAP, Quality: ppp.ProtocolLQR}), LastReceived: peer}, nil, 0, false, false},
		"PFC refused here":       {Proxy{LastSent: chap, LastReceived: peer}, func(c *Config) { c.RejectPFC = true }, 0, false, false},
		"ACFC refused here":      {Proxy{LastSent: chap, LastReceived: peer}, func(c *Config) { c.RejectACFC = true }, 0, false, false},
		"no authentication":      {Proxy{LastSent: lcp(ppp.LCPConfig{}), LastReceived: peer}, nil, 0, false, false},
		"authentication unasked": {Proxy{LastSent: chap, LastReceived: peer}, func(c *Config) { c.Auth = nil }, 0, false, false},
		"EAP":                    {Proxy{LastSent: lcp(ppp.LCPConfig{Auth: ppp.Auth{Protocol: ppp.ProtocolEAP}}), LastReceived: peer}, nil, 0, false, false},
		"CHAP as PAP":            {Proxy{LastSent: chap, LastReceived: peer, AuthType: ProxyAuthPAP, AuthResponse: r16}, nil, MethodCHAP, true, false},
		"PAP as CHAP":            {Proxy{LastSent: lcp(ppp.LCPConfig{Auth: ppp.AuthPAP}), LastReceived: peer, AuthType: ProxyAuthCHAP, AuthChallenge: r16, AuthResponse: r16}, nil, MethodPAP, true, false},
		"PAP without password":   {Proxy{LastSent: lcp(ppp.LCPConfig{Auth: ppp.AuthPAP}), LastReceived: peer, AuthType: ProxyAuthPAP}, nil, MethodPAP, true, false},
		"CHAP, no challenge":     {Proxy{LastSent: chap, LastReceived: peer, AuthType: ProxyAuthCHAP, AuthResponse: r16}, nil, MethodCHAP, true, false},
		"CHAP, short response":   {Proxy{LastSent: chap, LastReceived: peer, AuthType: ProxyAuthCHAP, AuthChallenge: r16, AuthResponse: r16[:8]}, nil, MethodCHAP, true, false},
		"textual":                {Proxy{LastSent: chap, LastReceived: peer, AuthType: ProxyAuthTextual, AuthResponse: r16}, nil, MethodCHAP, true, false},
		"MS-CHAPv1":              {Proxy{LastSent: chap, LastReceived: peer, AuthType: ProxyAuthMSCHAPv1, AuthResponse: r49}, nil, MethodCHAP, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := *testConfig(t, MethodCHAP, MethodPAP, MethodMSCHAPv2)
			if c.cfg != nil {
				c.cfg(&cfg)
			}
			var l Link
			fx := NewEffects(0)
			l.Start(0, &cfg, seeded(1), &c.p, fx)
			if taken := l.Phase() == PhaseAuthenticating; taken != c.taken || fx.Auth != nil != c.auth {
				t.Fatalf("phase %v, credentials %+v: want taken %v with credentials %v", l.Phase(), fx.Auth, c.taken, c.auth)
			}
			if c.taken && (l.Method() != c.method || fx.Auth != nil && fx.Auth.Method != c.method) {
				t.Errorf("method %v, want %v", l.Method(), c.method)
			}
			if !c.taken && len(fx.Frames) != 1 {
				t.Errorf("%d frames instead of one Configure-Request", len(fx.Frames))
			}
		})
	}
}

// TestProxyPolicies says what each policy does with a proxy that is as it
// should be, with one that has a flaw to live with, and with bad ones.
func TestProxyPolicies(t *testing.T) {
	lcp := func(c ppp.LCPConfig) []byte { return c.Append(nil) }
	good := Proxy{
		LastSent: lcp(ppp.LCPConfig{MRU: 1400, Auth: ppp.AuthCHAP, Magic: 7}), LastReceived: lcp(ppp.LCPConfig{Magic: 9}),
		AuthType: ProxyAuthCHAP, AuthChallenge: []byte("c"), AuthResponse: make([]byte, 16),
	}
	change := func(f func(*Proxy)) Proxy {
		p := good
		f(&p)
		return p
	}
	proxies := map[string]Proxy{
		"good":        good,
		"large MRU":   change(func(p *Proxy) { p.LastSent = lcp(ppp.LCPConfig{Auth: ppp.AuthCHAP}) }),
		"compression": change(func(p *Proxy) { p.LastReceived = lcp(ppp.LCPConfig{PFC: true}) }),
		"both": change(func(p *Proxy) {
			p.LastSent, p.LastReceived = lcp(ppp.LCPConfig{Auth: ppp.AuthCHAP}), lcp(ppp.LCPConfig{ACFC: true})
		}),
		"same magic": change(func(p *Proxy) { p.LastReceived = lcp(ppp.LCPConfig{Magic: 7}) }),
		"two flaws": change(func(p *Proxy) {
			p.LastSent, p.LastReceived = lcp(ppp.LCPConfig{Auth: ppp.AuthCHAP}), lcp(ppp.LCPConfig{MRU: 64})
		}),
		"half":     change(func(p *Proxy) { p.LastReceived = nil }),
		"bad auth": change(func(p *Proxy) { p.AuthType = ProxyAuthTextual }),
	}
	// What the link does: takes it all, takes LCP and asks, negotiates, or ends.
	want := map[string][4]string{ // on-mismatch, accept, strict, always
		"good":        {"take", "take", "take", "lcp"},
		"large MRU":   {"lcp", "take", "end", "lcp"},
		"compression": {"lcp", "take", "end", "lcp"},
		"both":        {"lcp", "take", "end", "lcp"},
		"same magic":  {"lcp", "lcp", "end", "lcp"},
		"two flaws":   {"lcp", "lcp", "end", "lcp"},
		"half":        {"lcp", "lcp", "end", "lcp"},
		"bad auth":    {"ask", "ask", "end", "lcp"},
	}
	for name, p := range proxies {
		for policy := ProxyOnMismatch; policy <= ProxyAlways; policy++ {
			cfg := *testConfig(t, MethodCHAP)
			cfg.MRU, cfg.RejectPFC, cfg.RejectACFC, cfg.Proxy = 1492, true, true, policy
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			var l Link
			fx := NewEffects(0)
			l.Start(0, &cfg, seeded(1), &p, fx)
			if got := proxyOutcome(&l, fx); got != want[name][policy] {
				t.Errorf("%s under policy %d: %s, want %s", name, policy, got, want[name][policy])
			}
			if l.ACFC() || l.PFC() {
				t.Errorf("%s under policy %d: compresses though that is refused", name, policy)
			}
		}
	}
}

func proxyOutcome(l *Link, fx *Effects) string {
	switch {
	case fx.Down && fx.Reason == ReasonProxyMismatch && fx.Detail != "" && len(fx.Frames) == 0:
		return "end"
	case l.Phase() == PhaseLCP && len(fx.Frames) == 1:
		return "lcp"
	case fx.Auth != nil && len(fx.Frames) == 0:
		return "take"
	case l.Phase() == PhaseAuthenticating && fx.Auth == nil && len(fx.Frames) == 1:
		return "ask"
	}
	return "something else"
}
