package ipsec

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What Windows' own L2TP client offers, in its order (Windows 10 and 11, without changes in the registry).
const (
	windowsIKE = "aes256-sha1-ecp384,aes128-sha1-ecp256,aes256-sha1-modp2048,3des-sha1-modp2048,3des-sha1-modp1024"
	windowsESP = "aes256-sha1,aes128-sha1,3des-sha1"
	// oldest is what is left of it on Windows XP.
	oldest = "3des-sha1-modp1024"
)

// TestVoluntary has clients call that no LAC profile knows the address of: as Windows' own client is, behind a NAT
// and from the same port, with a key or a certificate; and such as prove who they are by EAP.
func TestVoluntary(t *testing.T) {
	needs(t)
	l := newLab(t)
	t.Cleanup(func() {
		if err := l.report.writeTo(l.out, "voluntary"); err != nil {
			t.Error(err)
		}
	})
	// Clients are behind an address of the NAT that no LAC profile has.
	_, err := l.sh("nat", 10*time.Second, "ip addr add %s/24 dev wan0 && iptables-legacy -t nat -I POSTROUTING -o wan0 -j SNAT --to-source %s", clientAddr, clientAddr)
	must(t, err)
	left, err := l.startLAC("left", 1701)
	must(t, err)
	right, err := l.startLAC("right", 1701)
	must(t, err)
	both := []*lac{left, right}
	with := func(ike, esp, psk string) func(*lac) conn {
		return func(*lac) conn { return conn{name: "vpn", version: 1, psk: psk, ike: ike, esp: esp} }
	}
	cert := func(x *lac) conn {
		name := x.ns + ".clients.example.net"
		return conn{name: "vpn", version: 1, who: l.pki.issue(t, name, 24*time.Hour), id: name, ike: windowsIKE, esp: windowsESP}
	}
	for _, c := range []struct {
		name, profile string
		conn          func(*lac) conn
		identity      func(*lac) string
		shown         string
	}{
		{"Windows with a key", "roadwarriors", with(windowsIKE, windowsESP, roadKey), privateAddr, "AES_CBC_256/HMAC_SHA1_96"},
		{"Windows with MODP only", "roadwarriors", with("aes256-sha1-modp2048,3des-sha1-modp2048", "aes128-sha1,3des-sha1", roadKey), privateAddr, "AES_CBC_128/HMAC_SHA1_96"},
		{"Windows with a certificate", "roadcerts", cert, func(x *lac) string { return x.ns + ".clients.example.net" }, "AES_CBC_256/HMAC_SHA1_96"},
		{"EAP-MSCHAPv2", "eap", func(x *lac) conn { return conn{name: "vpn", version: 2, eap: x.ns, psk: eapSecret} }, func(x *lac) string { return x.ns }, "AES_GCM_16_128"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := l.report.row(t)
			if c.profile == "eap" {
				r.check("users loaded by swanctl", l.loadUsers)
			}
			for _, x := range both {
				r.check("SA of "+x.ns, func() error {
					if err := x.swan.configure(c.conn(x)); err != nil {
						return err
					}
					return x.swan.initiate("vpn")
				})
				defer x.swan.drop("vpn")
			}
			for _, x := range both {
				r.check("session of "+x.ns, x.dial)
				defer func() { _ = x.hangUp() }()
			}
			r.check("both at once", func() error { return pingAll(both) })
			r.check("known as they are", func() error { return l.knownAs(both, c.profile, c.identity, c.shown) })
			for _, x := range both {
				r.check("hang up "+x.ns, x.hangUp)
				x.swan.drop("vpn")
			}
			r.check("SAs gone", l.noSAs)
		})
	}
	t.Run("an XP's proposal is refused", func(t *testing.T) {
		r := l.report.row(t)
		mark := l.mark()
		r.check("refused", func() error {
			if err := left.swan.configure(with(oldest, "3des-sha1", roadKey)(left)); err != nil {
				return err
			}
			if err := left.swan.initiate("vpn"); err == nil {
				return fmt.Errorf("%w: an SA came up", errNot)
			}
			return nil
		})
		r.check("logged", func() error {
			return l.logged(10*time.Second, mark, "could not set up its SA", "reason=no-proposal", "3DES_CBC", "MODP_1024", "AES_CBC_256", "legacy: true")
		})
		r.check("shown to the operator", func() error {
			text, err := l.ctl("ipsec failures --peer " + clientAddr)
			if err == nil && (!strings.Contains(text, "no-proposal") || !strings.Contains(text, "MODP_1024")) {
				err = fmt.Errorf("lnsctl says %s", text)
			}
			return err
		})
	})
	t.Run("an old LAC where its profile says so", func(t *testing.T) {
		r := l.report.row(t)
		_, err := l.sh("other", 10*time.Second, "ip addr add %s/32 dev lo && ip netns exec wan ip route add %s/32 via %s", oldAddr, oldAddr, otherAddr)
		must(t, err)
		old, err := l.startCharon("other", "")
		must(t, err)
		r.check("SA", func() error {
			if err := old.configure(conn{name: "old", version: 1, psk: sharedKey, ike: oldest, esp: "3des-sha1", more: "local_addrs = " + oldAddr}); err != nil {
				return err
			}
			return old.initiate("old")
		})
		r.check("warned of", func() error { return l.logged(time.Second, 0, "takes weak algorithms", "profile=old", "3des") })
		r.check("shown", func() error {
			text, err := l.ctl("ipsec list --lac old")
			if err == nil && (!strings.Contains(text, "3DES_CBC/HMAC_SHA1_96") || !strings.Contains(text, oldAddr)) {
				err = fmt.Errorf("lnsctl says %s", text)
			}
			return err
		})
		old.drop("old")
	})
}

// privateAddr is how a client behind a NAT names itself.
func privateAddr(x *lac) string {
	return map[string]string{"left": "192.168.1.1", "right": "192.168.2.1"}[x.ns]
}

// pingAll has all of them send through their calls at the same time.
func pingAll(list []*lac) error {
	errs := make(chan error, len(list))
	for _, x := range list {
		go func() { errs <- x.ping(5) }()
	}
	for range list {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// knownAs wants each client's tunnel to have the profile, its identity and its algorithms.
func (l *lab) knownAs(list []*lac, profile string, identity func(*lac) string, algorithms string) error {
	text, err := l.ctl("ipsec list --lac " + profile)
	if err != nil {
		return err
	}
	marks := map[string]bool{}
	for _, x := range list {
		found := false
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			// MARK LAC IDENTITY ADDRESS IKE ESP NAT-T AGE TUNNELS
			if len(f) == 9 && f[2] == identity(x) && f[5] == algorithms && f[6] == "yes" && f[8] == "1" {
				found, marks[f[0]] = true, true
			}
		}
		if !found {
			return fmt.Errorf("no tunnel of %s with %s in UDP in:\n%s", identity(x), algorithms, text)
		}
	}
	if len(marks) != len(list) {
		return fmt.Errorf("%d marks for %d clients:\n%s", len(marks), len(list), text)
	}
	return nil
}

// loadUsers gives the LNS's charon EAP users as its administrator does. swanctl takes away what lnsd has
// loaded, as it stands in no file; lnsd notices it and loads it again.
func (l *lab) loadUsers() error {
	conf := fmt.Sprintf("connections {\n}\nsecrets {\n  eap-l { \n    id = left\n    secret = %q\n  }\n  eap-r { \n    id = right\n    secret = %q\n  }\n}\n", eapSecret, eapSecret)
	if err := l.Put(lnsDir+"/swanctl.conf", conf, 0o600); err != nil {
		return err
	}
	mark := l.mark()
	if _, err := l.charon.swan(20*time.Second, "--load-all --noprompt"); err != nil {
		return err
	}
	if err := l.logged(90*time.Second, mark, "they are loaded again"); err != nil {
		return err
	}
	return l.hasProfiles()
}
