package ipsec

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"culvert/lns"
)

// TestOffered: whoever begins in IKEv1 offers whole suites; everything else stays as it is written.
func TestOffered(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*lns.IPsecProfile)
		ike, esp string // joined by commas; "as written" is the default
	}{
		{"LACs that call", func(p *lns.IPsecProfile) { p.Version = 1 }, "as written", "as written"},
		{"called in IKEv2", func(p *lns.IPsecProfile) { p.Version, p.Initiate = 2, true }, "as written", "as written"},
		{"called in IKEv1", func(p *lns.IPsecProfile) {
			p.Version, p.Initiate = 1, true
			p.IKEProposals = []string{"aes256gcm16-prfsha384-ecp384", "aes256-aes128-sha256-ecp256-modp2048"}
			p.ESPProposals = []string{"aes128gcm16-ecp256-modp2048", "aes256-sha256-sha512-modp2048-ecp256", "3des-sha1", "aes128-sha1-modp2048"}
		}, "ecp256-aes256-sha256,ecp256-aes128-sha256,modp2048-aes256-sha256,modp2048-aes128-sha256",
			"ecp256-aes128gcm16,ecp256-aes256-sha256,ecp256-aes256-sha512,3des-sha1"},
		{"words of somebody's own", func(p *lns.IPsecProfile) {
			p.Version, p.Initiate = 1, true
			p.IKEProposals, p.ESPProposals = []string{"rot13-sha1-modp2048"}, []string{"aes256-sha1", "rot13-sha1"}
		}, "rot13-sha1-modp2048", "aes256-sha1,rot13-sha1"},
	} {
		p := lns.DefaultIPsecProfile()
		c.change(&p)
		for _, x := range []struct {
			what, want     string
			got, asWritten []string
		}{{"IKE", c.ike, offeredIKE(&p), ikeProposals(&p)}, {"ESP", c.esp, offeredESP(&p), espProposals(&p)}} {
			if x.want == "as written" {
				x.want = strings.Join(x.asWritten, ",")
			}
			if got := strings.Join(x.got, ","); got != x.want {
				t.Errorf("%s: %s: %s, want %s", c.name, x.what, got, x.want)
			}
		}
	}
	p := lns.DefaultIPsecProfile()
	p.Version, p.Initiate, p.Legacy = 1, true, true
	if n, m := len(offeredIKE(&p)), len(offeredESP(&p)); n != 24+6+3 || m != 3+6+3+6+2+1 {
		t.Errorf("the defaults, with those of old LACs, are %d suites of IKE and %d of ESP: %q", n, m, offeredESP(&p))
	}
}

// TestCalledByAddress: a LAC that we call is called by an identity of its own, so that charon shows it no other profile's key.
func TestCalledByAddress(t *testing.T) {
	cfg := Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}}
	for _, version := range []int{0, 1, 2} {
		p := profile("called", func(p *lns.LACProfile) {
			p.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}
			p.IPsec.Initiate, p.IPsec.Version = true, version
		})
		if got := cfg.remoteIDs(&p); !slices.Equal(got, []string{"198.51.100.7", "%any"}) {
			t.Errorf("version %d: its identities are %q", version, got)
		}
		p.IPsec.RemoteIDs = []string{"lac7.example.net"}
		if got := cfg.remoteIDs(&p); !slices.Equal(got, p.IPsec.RemoteIDs) {
			t.Errorf("version %d: its identities are %q", version, got)
		}
	}
}

// TestHostHas: LACs are called from a host that has the address to call from.
func TestHostHas(t *testing.T) {
	for _, c := range []struct {
		list []string
		want bool
	}{{nil, true}, {[]string{"127.0.0.1"}, true}, {[]string{"192.0.2.250"}, false}, {[]string{"192.0.2.250", "127.0.0.1"}, true}} {
		if got := hostHas(c.list); got != c.want {
			t.Errorf("%q: %v", c.list, got)
		}
	}
}
