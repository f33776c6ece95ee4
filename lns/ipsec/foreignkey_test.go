package ipsec

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// TestForeignKeys: with one profile's key nobody comes in as another one's LAC, from its address, whatever identity is shown
// and whatever we are called. Each attempt is told, and nothing of it stays in charon.
func TestForeignKeys(t *testing.T) {
	l := newLab(t)
	near := func(p *lns.LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix(lacAddress + "/32")} }
	around := func(p *lns.LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.99.0.0/16")} }
	anybody := func(*lns.LACProfile) {}
	byName := func(p *lns.LACProfile) {
		near(p)
		p.IPsec.RemoteIDs = []string{"*@example.net"}
	}
	modern := func(p *lns.LACProfile) {
		byName(p)
		p.IPsec.Version = 2
	}
	clients := func(p *lns.LACProfile) { p.IPsec.RemoteIDs = []string{"*.clients.example.net"} }
	const came = "it came in as a LAC of profile"
	for _, c := range []struct {
		name          string
		victim, other func(*lns.LACProfile)
		id, us        string
		// words of the failure by version; empty: not tried (charon lets five be half-open from one address, as those of
		// IKEv1 with a wrong key stay).
		v1, v2 string
	}{
		{"as it is", near, anybody, "", "", "pre-shared key", "pre-shared key of '" + lacAddress},
		{"an address of nobody's", near, anybody, "192.168.1.2", "", "pre-shared key", came},
		{"a name of nobody's", near, anybody, "intruder", "", "", "add 'intruder' to its remote_ids"},
		{"an address of the other's", near, around, "10.99.7.7", "", "", came},
		{"our address as the other's", near, around, "", lnsAddress, "", "pre-shared key of '" + lacAddress},
		{"the victim's name", byName, anybody, "lac7@example.net", "", "pre-shared key", "pre-shared key of 'lac7@example.net"},
		{"the victim's name, and us by a name of its own", modern, clients, "lac7@example.net", "a.clients.example.net", "", came},
		{"a client's name from a LAC's address", clients, near, "a.clients.example.net", "", came, "pre-shared key of 'a.clients.example.net"},
		{"a client's name from a LAC's address, and us by that", clients, near, "a.clients.example.net", lacAddress, "", came},
		{"a LAC's network from a client's", around, clients, "", "a.clients.example.net", "", came},
	} {
		for version, words := range map[string]string{"1": c.v1, "2": c.v2} {
			if words == "" {
				continue
			}
			t.Run(c.name+", version "+version, func(t *testing.T) {
				outer := l.t
				l.t = t
				defer func() { l.t = outer }()
				for _, name := range strings.Fields(l.conns(l.lns)) {
					_ = l.call(l.lns, "unload-conn", section("name", name)) // of the case before
				}
				list := []lns.LACProfile{profile("victim", c.victim), profile("other", c.other)}
				h := &heard{}
				m := l.startManager(h, list...)
				defer m.Close()
				l.wait("the connections", func() bool { return m.Stats().Connected && l.loadedAll(m.cfg.connections(list)) })
				before := m.Stats().Failures[lns.IKEAuthFailed]
				_ = l.try(initiation{psk: list[1].IPsec.PSK, version: version, id: c.id, us: c.us})
				l.waitFor(10*time.Second, "the refusal", func() bool { _, ok := h.failed(lns.IKEAuthFailed); return ok })
				f, _ := h.failed(lns.IKEAuthFailed)
				if !strings.Contains(f.Detail, words) || f.Remote.Addr().String() != lacAddress {
					t.Errorf("%+v, want %q", f, words)
				}
				if n := m.Stats().Failures[lns.IKEAuthFailed]; n == before {
					t.Error("it was not counted")
				}
				l.waitFor(10*time.Second, "the end of the SA", func() bool { return l.sas(l.lns) == 0 })
				if len(m.SAs()) > 0 || t.Failed() {
					t.Errorf("heard: %v", h)
				}
			})
		}
	}
}

// waitFor is wait with a time of its own.
func (l *lab) waitFor(d time.Duration, what string, f func() bool) {
	l.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	l.t.Errorf("waited in vain for %s", what)
}

// sas is how many IKE SAs a charon has that are established.
func (l *lab) sas(socket string) (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := vici.Dial(ctx, socket)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Stream(ctx, "list-sas", nil, "list-sa", func(s vici.Section) {
		if len(s) == 1 && s[0].Sub.Get("state") == "ESTABLISHED" {
			n++
		}
	}); err != nil {
		l.t.Fatal(err)
	}
	return n
}
