package ipsec

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"culvert/lns"
)

// TestSharedKeys: a LAC is tried with the key of its own profile, whatever others there are. The kernel here need not have
// ESP: an attempt that fails for want of it, under the right profile, had the right key.
func TestSharedKeys(t *testing.T) {
	l := newLab(t)
	near := func(p *lns.LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix(lacAddress + "/32")} }
	around := func(p *lns.LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.99.0.0/16")} }
	far := func(p *lns.LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }
	elsewhere := func(p *lns.LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")} }
	anybody := func(*lns.LACProfile) {}
	ca := newAuthority(t, "ca")
	cert, key := ca.issue(t, "lns", 2, 0)
	certs := func(p *lns.LACProfile) {
		p.IPsec.Auth, p.IPsec.PSK, p.IPsec.RemoteIDs = "cert", "", []string{"*.example.net"}
		p.IPsec.Certificate, p.IPsec.Key, p.IPsec.CA = cert, key, ca.pem
	}
	nearCerts := func(p *lns.LACProfile) {
		certs(p)
		near(p)
	}
	byName := func(p *lns.LACProfile) {
		near(p)
		p.IPsec.RemoteIDs = []string{"*@example.net"}
	}
	named := func(p *lns.LACProfile) {
		near(p)
		p.IPsec.LocalID, p.IPsec.RemoteIDs = lnsAddress, []string{lacAddress}
	}
	for _, c := range []struct {
		name  string
		ours  func(*lns.LACProfile)
		other []func(*lns.LACProfile)
		id    string
	}{
		{"a client of no known address among LACs", anybody, []func(*lns.LACProfile){far, elsewhere}, ""},
		{"a LAC among clients", near, []func(*lns.LACProfile){anybody, far}, ""},
		{"a LAC in a network among clients", around, []func(*lns.LACProfile){anybody, far, elsewhere}, ""},
		{"a LAC within another's network", near, []func(*lns.LACProfile){around, anybody}, ""},
		{"a LAC among clients with keys and with certificates", near, []func(*lns.LACProfile){certs, anybody, far}, ""},
		{"a LAC whose address has a profile with certificates too", near, []func(*lns.LACProfile){nearCerts, certs, anybody, far}, ""},
		{"a LAC that is named, among those", named, []func(*lns.LACProfile){certs, anybody, far}, ""},
		{"a LAC that shows a name, among those", byName, []func(*lns.LACProfile){certs, anybody, far}, "lac7@example.net"},
		{"a client that shows its private address", anybody, []func(*lns.LACProfile){far, elsewhere}, "192.168.1.2"},
		{"a LAC that shows its private address", near, []func(*lns.LACProfile){anybody, far}, "192.168.1.2"},
	} {
		for _, version := range []string{"1", "2"} {
			for _, first := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, version %s, first %v", c.name, version, first), func(t *testing.T) {
					outer := l.t
					l.t = t
					defer func() { l.t = outer }()
					for _, name := range strings.Fields(l.conns(l.lns)) {
						_ = l.call(l.lns, "unload-conn", section("name", name)) // of the case before
					}
					ours := profile("ours", c.ours)
					var list []lns.LACProfile
					for i, change := range c.other {
						list = append(list, profile(fmt.Sprintf("other%d", i), change))
					}
					if first {
						list = append([]lns.LACProfile{ours}, list...)
					} else {
						list = append(list, ours)
					}
					h := &heard{}
					m := l.startManager(h, list...)
					defer m.Close()
					l.wait("the connections", func() bool { return m.Stats().Connected && l.loadedAll(m.cfg.connections(list)) })
					_ = l.try(initiation{psk: ours.IPsec.PSK, version: version, id: c.id})
					l.wait("the end of the attempt", func() bool { return h.of("") || h.of("ours") })
					if _, wrong := h.failed(lns.IKEAuthFailed); wrong || !h.of("ours") {
						t.Errorf("the key was not the profile's: %v", h)
					}
				})
			}
		}
	}
}

// loadedAll says whether the LNS's charon has so many connections.
func (l *lab) loadedAll(n int) bool {
	have := 0
	for _, r := range l.conns(l.lns) {
		if r == ' ' {
			have++
		}
	}
	return have+1 == n
}

// of says whether a failure, or an SA, of a profile was heard of; "" is a failure of none.
func (h *heard) of(profile string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.failures {
		if f.Profile == profile {
			return true
		}
	}
	for _, sa := range h.ups {
		if sa.Profile == profile {
			return true
		}
	}
	return false
}

// TestMixedKeys: profiles that get into each other's way in IKEv1 are named, others are not.
func TestMixedKeys(t *testing.T) {
	lac := profile("lac", func(p *lns.LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} })
	network := profile("network", func(p *lns.LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	one, two := netip.MustParseAddrPort("192.0.2.9:1701"), netip.MustParseAddrPort("192.0.2.10:1701")
	named := profile("named", func(p *lns.LACProfile) {
		p.Prefixes = lac.Prefixes
		p.IPsec.LocalID, p.IPsec.RemoteIDs = "192.0.2.9", []string{"192.0.2.1"}
	})
	anybody := profile("anybody", nil)
	certs := profile("certs", func(p *lns.LACProfile) { p.IPsec.Auth, p.IPsec.PSK = "cert", "" })
	modern := profile("modern", func(p *lns.LACProfile) { p.IPsec.Auth, p.IPsec.PSK, p.IPsec.Version = "cert", "", 2 })
	for _, c := range []struct {
		name string
		list []lns.LACProfile
		want bool
	}{
		{"two keys and certificates", []lns.LACProfile{network, anybody, certs}, true},
		{"a LAC with one address", []lns.LACProfile{lac, anybody, certs}, false},
		{"one key", []lns.LACProfile{network, certs}, false},
		{"identities named", []lns.LACProfile{named, anybody, certs}, false},
		{"certificates with IKEv2 only", []lns.LACProfile{network, anybody, modern}, false},
		{"no certificates", []lns.LACProfile{network, anybody}, false},
		{"nothing", nil, false},
	} {
		cfg := Config{Listen: []netip.AddrPort{one}}
		if got := cfg.warnMixed(c.list); (got != "") != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	both := Config{Listen: []netip.AddrPort{one, two}}
	if both.warnMixed([]lns.LACProfile{lac, anybody, certs}) == "" {
		t.Error("a LAC with one address, and two addresses of ours to call: no warning")
	}
}

// TestExchangedKeys: profiles that another profile's LACs can come in as are named, others are not.
func TestExchangedKeys(t *testing.T) {
	lac, other := profile("lac", nil), profile("other", nil)
	same := profile("same", func(p *lns.LACProfile) { p.IPsec.PSK = lac.IPsec.PSK })
	named := profile("named", func(p *lns.LACProfile) { p.IPsec.RemoteIDs = []string{"lac.example.net"} })
	old := profile("old", func(p *lns.LACProfile) { p.IPsec.Version = 1 })
	certs := profile("certs", func(p *lns.LACProfile) { p.IPsec.Auth, p.IPsec.PSK = "cert", "" })
	clear := profile("clear", func(p *lns.LACProfile) { p.IPsec.Mode = lns.IPsecNever })
	for name, c := range map[string]struct {
		list []lns.LACProfile
		want string
	}{
		"two keys":             {[]lns.LACProfile{lac, other}, "(lac, other)"},
		"one key for two":      {[]lns.LACProfile{lac, same}, ""},
		"one is named":         {[]lns.LACProfile{lac, named}, "(lac)"},
		"one is IKEv1's":       {[]lns.LACProfile{lac, old}, "(lac)"},
		"all are named":        {[]lns.LACProfile{named, old}, ""},
		"certificates":         {[]lns.LACProfile{lac, certs}, ""},
		"one does not take it": {[]lns.LACProfile{lac, clear}, ""},
	} {
		if got := warnExchanged(c.list); (got != "") != (c.want != "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// connections is how many connections profiles make.
func (c *Config) connections(list []lns.LACProfile) (n int) {
	for i := range list {
		n += len(c.remoteIDs(&list[i]))
	}
	return n
}
