package ipsec

import (
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// These tests run against a real charon, without ESP: key exchange needs none.

func profile(name string, change func(*lns.LACProfile)) lns.LACProfile {
	p := lns.DefaultLACProfile()
	p.Name = name
	s := lns.DefaultIPsecProfile()
	s.PSK = "a shared secret of " + name
	p.IPsec = &s
	if change != nil {
		change(&p)
	}
	return p
}

// startManager runs a manager against the lab's charon.
func (l *lab) startManager(h lns.SAHandler, profiles ...lns.LACProfile) *Manager {
	l.t.Helper()
	for i := range profiles {
		if err := profiles[i].Validate(); err != nil {
			l.t.Fatal(err)
		}
	}
	m, err := New(Config{
		Socket: l.lns, Listen: []netip.AddrPort{netip.MustParseAddrPort(lnsAddress + ":1701")}, Marks: true,
		Retry: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(testLog{l.t}, nil)),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	m.Notify(h)
	m.Apply(profiles)
	m.Start()
	l.t.Cleanup(func() { m.Close() })
	return m
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// TestCharonHasTheProfiles: charon has what the profiles say, after changes and after its own restart.
func TestCharonHasTheProfiles(t *testing.T) {
	l := newLab(t)
	ca := newAuthority(t, "ca")
	cert, key := ca.issue(t, "lns", 2, 0)
	withCert := profile("by cert", func(p *lns.LACProfile) {
		p.IPsec.Auth, p.IPsec.PSK = "cert", ""
		p.IPsec.Certificate, p.IPsec.Key, p.IPsec.CA, p.IPsec.CRL = cert, key, ca.pem, ca.revoke(t, 77)
		p.IPsec.RemoteIDs = []string{"CN=*", "lac.example.net"}
	})
	eap := profile("eap", func(p *lns.LACProfile) {
		p.IPsec.Auth, p.IPsec.PSK, p.IPsec.Version = "eap-mschapv2", "", 2
		p.IPsec.Certificate, p.IPsec.Key = cert, key
	})
	old := profile("old", func(p *lns.LACProfile) { p.IPsec.Legacy, p.IPsec.Version = true, 1 })
	never := profile("never", func(p *lns.LACProfile) { p.IPsec.Mode = lns.IPsecNever })
	m := l.startManager(&heard{}, withCert, eap, old, never)
	all := "culvert-old culvert-by~20cert culvert-by~20cert+1 culvert-eap" // keys first
	l.wait("all connections", func() bool { return l.conns(l.lns) == all })
	if w := m.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %q", w)
	}
	m.Apply([]lns.LACProfile{old, never})
	l.wait("the removed ones to go", func() bool { return l.conns(l.lns) == "culvert-old" })

	bad := profile("bad", func(p *lns.LACProfile) { p.IPsec.IKEProposals = []string{"rot13-sha1-modp1024"} })
	m.Apply([]lns.LACProfile{old, bad})
	l.wait("the refusal", func() bool {
		w := strings.Join(m.Warnings(), "\n")
		return strings.Contains(w, `"bad"`) && strings.Contains(w, "proposals")
	})
	m.Apply([]lns.LACProfile{old})
	l.wait("the complaint to go", func() bool { return len(m.Warnings()) == 0 })

	// Another life of lnsd, whose configuration has no IPsec any more, takes the old one's away.
	m.Close()
	later := l.startManager(&heard{}, never)
	l.wait("what nobody wants to go", func() bool { return l.conns(l.lns) == "" })
	later.Close()
	m = l.startManager(&heard{}, old)
	l.wait("the connection to be back", func() bool { return l.conns(l.lns) == "culvert-old" })

	l.stop["lns"]()
	l.wait("the manager to see it", func() bool { return !m.Stats().Connected })
	if w := m.Warnings(); len(w) != 1 || !strings.Contains(w[0], "charon is away") {
		t.Errorf("warnings with charon away: %q", w)
	}
}

// initiation is a LAC's attempt to set up an SA.
type initiation struct {
	version  string
	proposal string
	esp      string
	psk      string
	id       string
	cert     string
	key      string
	ca       string
	remote   string // the traffic selector
	us       string // by which name it calls us
}

// try has the LAC's charon set up an SA and gives its error.
func (l *lab) try(i initiation) error {
	l.t.Helper()
	must := func(command string, args vici.Section) {
		l.t.Helper()
		if err := l.call(l.lac, command, args); err != nil {
			l.t.Fatal(err)
		}
	}
	must("clear-creds", nil)
	local, remote := section("auth", "psk"), section("auth", "psk")
	if i.psk != "" {
		must("load-shared", section("id", "x", "type", "IKE", "data", i.psk))
	} else {
		must("load-key", section("type", "any", "data", i.key))
		must("load-cert", section("type", "X509", "flag", "CA", "data", i.ca))
		local, remote = section("auth", "pubkey", "certs", []string{i.cert}), section("auth", "pubkey")
	}
	if i.id != "" {
		local.Set("id", i.id)
	}
	remote.Set("id", or(i.us, "%any"))
	child := section("mode", "transport", "local_ts", []string{"dynamic[udp/1701]"}, "remote_ts", []string{or(i.remote, "dynamic[udp/1701]")},
		"esp_proposals", []string{or(i.esp, "aes256gcm16-ecp256")})
	must("load-conn", section("try", section(
		"version", or(i.version, "2"), "local_addrs", []string{lacAddress}, "remote_addrs", []string{lnsAddress},
		"proposals", []string{or(i.proposal, "aes256-sha256-ecp256")}, "local", local, "remote", remote,
		"children", section("l2tp", child))))
	err := l.call(l.lac, "initiate", section("child", "l2tp", "ike", "try", "timeout", "4000"))
	_ = l.call(l.lac, "terminate", section("ike", "try", "timeout", "-1", "force", "yes"))
	return err
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// TestFailuresHaveReasons: every way to fail gets its own reason, in words that name what was offered, by whom.
func TestFailuresHaveReasons(t *testing.T) {
	l := newLab(t)
	ca, other := newAuthority(t, "ca"), newAuthority(t, "another ca")
	cert, key := ca.issue(t, "lns", 2, 0)
	good, goodKey := ca.issue(t, "lac.example.net", 3, 0)
	expired, expiredKey := ca.issue(t, "lac.example.net", 4, time.Minute)
	revoked, revokedKey := ca.issue(t, "lac.example.net", 5, 0)
	wrong, wrongKey := ca.issue(t, "intruder.example.net", 6, 0)
	foreign, foreignKey := other.issue(t, "lac.example.net", 7, 0)
	psk := profile("psk", func(p *lns.LACProfile) { p.IPsec.RemoteIDs = []string{"lac@example.net"} })
	byCert := profile("cert", func(p *lns.LACProfile) {
		p.IPsec.Auth, p.IPsec.PSK = "cert", ""
		p.IPsec.Certificate, p.IPsec.Key, p.IPsec.CA, p.IPsec.CRL = cert, key, ca.pem, ca.revoke(t, 5)
		p.IPsec.RemoteIDs = []string{"lac.example.net"}
	})
	strict := profile("strict", func(p *lns.LACProfile) {
		p.IPsec.Auth, p.IPsec.PSK, p.IPsec.Revocation = "cert", "", "strict"
		p.IPsec.Certificate, p.IPsec.Key, p.IPsec.CA = foreign, foreignKey, other.pem
		p.IPsec.RemoteIDs = []string{"lac.example.net"}
	})
	withPSK, withCert := initiation{psk: psk.IPsec.PSK, id: "lac@example.net"}, initiation{cert: good, key: goodKey, ca: ca.pem, id: "lac.example.net"}
	for _, c := range []struct {
		name     string
		profile  lns.LACProfile
		attempt  initiation
		change   func(*initiation)
		reason   lns.IKEReason
		contains []string
	}{
		{"IKE proposal", psk, withPSK, func(i *initiation) { i.proposal = "aes128-sha1-modp1024" }, lns.IKENoProposal, []string{"it offers IKE:AES_CBC_128/HMAC_SHA1_96", "MODP_1024", "we take IKE:", "AES_GCM_16_256", "ike_proposals"}},
		{"IKE proposal, version 1", psk, withPSK, func(i *initiation) { i.version, i.proposal = "1", "3des-sha1-modp1024" }, lns.IKENoProposal, []string{"3DES_CBC", "we take IKE:"}},
		{"ESP proposal", psk, withPSK, func(i *initiation) { i.esp = "3des-md5" }, lns.IKENoESP, []string{"it offers ESP:3DES_CBC/HMAC_MD5_96", "esp_proposals"}},
		{"wrong key", psk, withPSK, func(i *initiation) { i.psk = "no" }, lns.IKEAuthFailed, []string{"lac@example.net", "pre-shared key"}},
		{"wrong key, version 1", profile("any", nil), initiation{psk: "no", version: "1"}, nil, lns.IKEAuthFailed, []string{"pre-shared key"}},
		{"unknown identity", psk, withPSK, func(i *initiation) { i.id = "stranger@example.net" }, lns.IKENoConfig, []string{"stranger@example.net", "remote_ids"}},
		{"unknown address", profile("far", func(p *lns.LACProfile) { p.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }), withPSK, nil, lns.IKENoConfig, []string{lacAddress, "prefixes"}},
		{"expired", byCert, withCert, func(i *initiation) { i.cert, i.key = expired, expiredKey }, lns.IKECertExpired, []string{"not valid now"}},
		{"revoked", byCert, withCert, func(i *initiation) { i.cert, i.key = revoked, revokedKey }, lns.IKECertRevoked, []string{"revoked on"}},
		{"another CA", byCert, withCert, func(i *initiation) { i.cert, i.key = foreign, foreignKey }, lns.IKECertUnknown, []string{"CA"}},
		{"nobody to ask", strict, withCert, func(i *initiation) { i.cert, i.key, i.ca = foreign, foreignKey, other.pem }, lns.IKECertUnknown, []string{"nobody can tell whether its certificate is revoked"}},
		{"another name", byCert, withCert, func(i *initiation) { i.cert, i.key, i.id = wrong, wrongKey, "intruder.example.net" }, lns.IKENoConfig, []string{"intruder.example.net"}},
		{"selectors", psk, withPSK, func(i *initiation) { i.remote = "dynamic[tcp/80]" }, lns.IKENoSelectors, []string{"[tcp/http]", "udp/1701"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			outer := l.t
			l.t = t
			defer func() { l.t = outer }()
			for _, name := range strings.Fields(l.conns(l.lns)) {
				_ = l.call(l.lns, "unload-conn", section("name", name)) // of the case before
			}
			h := &heard{}
			m := l.startManager(h, c.profile)
			l.wait("the connection", func() bool { return l.conns(l.lns) == connName(c.profile.Name, 0) })
			if c.change != nil {
				c.change(&c.attempt)
			}
			if err := l.try(c.attempt); err == nil {
				t.Error("the LAC set up its SA")
			}
			l.wait("the failure", func() bool { _, ok := h.failed(c.reason); return ok })
			f, _ := h.failed(c.reason)
			for _, s := range c.contains {
				if !strings.Contains(f.Detail, s) && !strings.Contains(f.Identity, s) {
					t.Errorf("the operator reads %q; it should tell of %q", f.Detail, s)
				}
			}
			if f.Remote.Addr().String() != lacAddress {
				t.Errorf("the failure is said to be of %v", f.Remote)
			}
			if m.Stats().Failures[c.reason] == 0 {
				t.Error("the failure was not counted")
			}
			if t.Failed() {
				t.Log(h)
			}
			m.Close()
		})
	}
}

// TestAdvise: what lnsd check says of profiles, and of a charon that is as it should be.
func TestAdvise(t *testing.T) {
	l := newLab(t)
	old := profile("old", func(p *lns.LACProfile) { p.IPsec.Legacy, p.IPsec.PSK, p.IPsec.DPDDelay = true, "short", 0 })
	other := profile("other", func(p *lns.LACProfile) { p.IPsec.RemoteIDs = []string{"%any"} })
	cfg := Config{Socket: l.lns, Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}}
	list := strings.Join(Advise(t.Context(), cfg, []lns.LACProfile{old, other}), "\n")
	for _, want := range []string{"weak algorithms (sha1", "key of 5 characters", "does not look for dead peers", "pre-shared key (other)"} {
		if !strings.Contains(list, want) {
			t.Errorf("nothing of %q in\n%s", want, list)
		}
	}
	if strings.Contains(list, "charon") && strings.Contains(list, "answer") {
		t.Errorf("charon is there, but\n%s", list)
	}
}

// TestShippedConfiguration: charon takes the file in ops/strongswan, every key of it.
func TestShippedConfiguration(t *testing.T) {
	l := newLab(t)
	shipped, err := os.ReadFile("../../ops/strongswan/culvert.conf")
	if err != nil {
		t.Fatal(err)
	}
	l.stop["lns"]()
	l.extra = string(shipped)
	l.lns = l.charon("lns", l.space)
	if list := adviseCharon(t.Context(), Config{Socket: l.lns}); len(list) != 0 {
		t.Errorf("a charon with the shipped configuration: %q", list)
	}
}
