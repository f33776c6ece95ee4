package lns

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/lns/link"
)

func testProfile(name string, change func(*LACProfile)) LACProfile {
	p := DefaultLACProfile()
	p.Name = name
	if change != nil {
		change(&p)
	}
	return p
}

func TestProfileMatch(t *testing.T) {
	set := newProfileSet()
	for _, p := range []LACProfile{
		testProfile("any", nil),
		testProfile("wide", func(p *LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }),
		testProfile("narrow", func(p *LACProfile) {
			p.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.1.0.0/16")}
		}),
		testProfile("named", func(p *LACProfile) {
			p.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
			p.HostNames = []string{"lac7"}
		}),
		testProfile("roaming", func(p *LACProfile) { p.HostNames = []string{"roamer"} }),
		testProfile("six", func(p *LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")} }),
	} {
		q, err := newProfile(p, "lns1", nil)
		if err != nil {
			t.Fatal(err)
		}
		set.put(q)
	}
	for _, c := range []struct{ src, host, want string }{
		{"203.0.113.9", "whoever", "any"},
		{"203.0.113.9", "roamer", "roaming"},
		{"10.2.3.4", "lac1", "wide"},
		{"10.2.3.4", "roamer", "wide"}, // the source comes first
		{"10.1.3.4", "lac1", "narrow"},
		{"10.1.3.4", "lac7", "named"},
		{"192.0.2.1", "lac7", "narrow"},
		{"2001:db8::1", "", "six"},
		{"2001:db9::1", "", "any"},
	} {
		if p := set.match(netip.MustParseAddr(c.src), c.host); p == nil || p.Name != c.want {
			t.Errorf("%s %q: got %v, want %s", c.src, c.host, p, c.want)
		}
	}
	if err := set.remove("any"); err != nil {
		t.Fatal(err)
	}
	if p := set.match(netip.MustParseAddr("203.0.113.9"), "whoever"); p != nil {
		t.Errorf("an unknown LAC matched %s", p.Name)
	}
	if err := set.remove("any"); err == nil || !strings.Contains(err.Error(), `"any"`) {
		t.Errorf("removing a profile that is not there: %v", err)
	}
}

func TestProfileValidate(t *testing.T) {
	for want, change := range map[string]func(*LACProfile){
		"name:":          func(p *LACProfile) { p.Name = "" },
		"write 10.0.0.0": func(p *LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")} },
		"window:":        func(p *LACProfile) { p.Window = 0 },
		"hello:":         func(p *LACProfile) { p.Hello = time.Millisecond },
		"mru:":           func(p *LACProfile) { p.MRU = 9000 },
		`"mschap"`:       func(p *LACProfile) { p.Auth = []string{"mschap"} },
		"proxy:":         func(p *LACProfile) { p.Proxy = "never" },
		"auth:":          func(p *LACProfile) { p.Auth = nil },
		"echo_interval:": func(p *LACProfile) { p.EchoInterval = time.Millisecond },
		"echo_failures:": func(p *LACProfile) { p.EchoFailures = 0 },
		"busy_result:":   func(p *LACProfile) { p.BusyResult = 99 },
		"max_tunnels":    func(p *LACProfile) { p.MaxTunnels = -1 },
	} {
		p := testProfile("x", change)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	good := testProfile("x", nil)
	if err := good.Validate(); err != nil {
		t.Errorf("the default profile: %v", err)
	}
}

func TestEveryCauseHasItsFacts(t *testing.T) {
	seen := map[string]bool{}
	for c := range causeCount {
		f := causes[c]
		if f.name == "" || seen[f.name] || f.acct == 0 || f.result == 0 {
			t.Errorf("cause %d: name %q (twice: %v), accounting %d, result %d", c, f.name, seen[f.name], f.acct, f.result)
		}
		seen[f.name] = true
		if f.result == 2 && f.code == 0 {
			t.Errorf("cause %s: a general error needs an error code", f.name)
		}
	}
	if causeCount.String() != "none" {
		t.Errorf("a cause out of range is %q", causeCount)
	}
}

func TestEveryReasonOfALinkIsACause(t *testing.T) {
	for r := link.ReasonNone + 1; r.String() != "unknown"; r++ {
		if linkCauses[r] == CauseNone {
			t.Errorf("%v has no cause", r)
		}
	}
}

func TestBusyCauseFollowsTheProfile(t *testing.T) {
	p := testProfile("x", nil)
	if r := CauseBusy.result(&p, ""); r.Code != 2 || r.Error != 7 {
		t.Errorf("default: %v", r)
	}
	p.BusyResult = 4
	if r := CauseBusy.result(&p, ""); r.Code != 4 || r.Error != 0 {
		t.Errorf("busy_result 4: %v", r)
	}
	if r := CauseIdleTimeout.result(&p, ""); r.Code != 3 {
		t.Errorf("a cause that is not busy follows the profile: %v", r)
	}
}
