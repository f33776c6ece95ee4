package ipsec

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/lns"
)

// TestLinesOutOfOrder: why an attempt failed is told although charon has handed that line over after others.
func TestLinesOutOfOrder(t *testing.T) {
	lines := []string{
		"looking for peer configs matching 10.1.0.1[lns.example.net]...10.3.2.1[lac12.example.net]",
		"constraint check failed: RULE_CRL_VALIDATION is FAILED, but requires at least SKIPPED",
		"constraint requires pre-shared key authentication, but public key was used",
		"no alternative config found",
	}
	for _, order := range [][]int{{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 2, 3, 1}} {
		m, err := New(testListen)
		if err != nil {
			t.Fatal(err)
		}
		h := &heard{}
		m.Notify(h)
		for _, i := range order {
			m.logLine(section("ikesa-name", "culvert-fetched", "ikesa-uniqueid", "7", "msg", lines[i]))
		}
		m.settle(time.Now())
		m.settle(time.Now().Add(settleTime))
		m.settle(time.Now().Add(2 * settleTime))
		if len(h.failures) != 1 || h.failures[0].Reason != lns.IKECertUnknown || h.failures[0].Identity != "lac12.example.net" {
			t.Errorf("%v: %v", order, h)
		}
	}
}

// TestIdentityAfterTheKey: the identity that a LAC has shown is told, and what to do about it, although charon has handed over the
// line that says it after the one about its key.
func TestIdentityAfterTheKey(t *testing.T) {
	m, err := New(testListen)
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{}
	m.Notify(h)
	m.ring = newKeyring(&m.cfg, []lns.LACProfile{
		{Name: "north", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, IPsec: &lns.IPsecProfile{Mode: lns.IPsecRequired, Auth: "psk", PSK: "one"}},
		{Name: "south", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, IPsec: &lns.IPsecProfile{Mode: lns.IPsecRequired, Auth: "psk", PSK: "other"}},
	}, m.cfg.named())
	for _, line := range []string{"no shared key found for '%any' - 'lac7'", "looking for peer configs matching 10.1.0.1[%any]...192.0.2.1[lac7]"} {
		m.logLine(section("ikesa-name", "culvert-north", "ikesa-uniqueid", "7", "msg", line))
	}
	f, ok := h.failed(lns.IKEAuthFailed)
	if !ok || f.Identity != "lac7" || !strings.Contains(f.Detail, "add 'lac7' to its remote_ids") {
		t.Errorf("%+v", f)
	}
	for line, want := range map[string]string{"no shared key found for '%any' - '%any'": "", "no shared key found for": "", "tried 2 shared keys for 'a' - 'b', but MAC mismatched": "b"} {
		if got := lacOf(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
