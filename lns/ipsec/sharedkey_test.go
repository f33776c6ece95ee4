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
	natted := func(p *lns.LACProfile) {
		near(p)
		p.IPsec.RemoteIDs = []string{"192.168.1.2"}
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
		{"a LAC in a network among clients with certificates and with keys", around, []func(*lns.LACProfile){certs, anybody, far}, ""},
		{"a LAC that shows its private address, as remote_ids has it", natted, []func(*lns.LACProfile){anybody, far}, "192.168.1.2"},
		// By IKEv1 it need not be told: there the address decides.
		{"1: a LAC that shows its private address", near, []func(*lns.LACProfile){anybody, far}, "192.168.1.2"},
		{"the only key, and a LAC that shows a name", near, nil, "lac7@example.net"},
	} {
		for _, version := range []string{"1", "2"} {
			if only, _, ok := strings.Cut(c.name, ":"); ok && only != version {
				continue
			}
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

// connections is how many connections profiles make.
func (c *Config) connections(list []lns.LACProfile) (n int) {
	for i := range list {
		n += len(c.remoteIDs(&list[i]))
	}
	return n
}
