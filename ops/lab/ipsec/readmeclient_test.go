package ipsec

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// eapRest is what the page tells in words of a profile for users' passwords.
const eapRest = `  - name: users
    ipsec:
      ike: ikev2
      auth: eap-mschapv2
      certificate: /etc/culvert/lns1.crt
      key: /etc/culvert/lns1.key
      local_id: lns.example.net
`

// voluntary follows the page on voluntary clients, for one like Windows' own behind a NAT.
func (p *readme) voluntary(t *testing.T) {
	r := p.report.row(t)
	r.check("profile and key", func() error {
		profile, err := p.block("- name: roadwarriors")
		if err != nil {
			return err
		}
		commands, err := p.block("openssl rand")
		if err != nil {
			return err
		}
		if text, err := p.Run(30*time.Second, "set -e\n"+strings.ReplaceAll(commands, "north", "roadwarriors")); err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		return p.addProfile("  " + strings.ReplaceAll(strings.TrimRight(profile, "\n"), "\n", "\n  ") + "\n")
	})
	r.check("lnsd check", p.checked)
	r.check("lnsd started again", func() error { return p.restart("profile=roadwarriors") })
	r.check("client configured", func() error {
		key, err := p.Get("/etc/culvert/roadwarriors.psk")
		if err != nil {
			return err
		}
		if p.client, err = p.startLAC("left", 1701); err != nil {
			return err
		}
		if err := p.client.callAt(readmeLNS); err != nil {
			return err
		}
		return p.client.swan.configure(conn{name: "vpn", version: 1, psk: strings.TrimSpace(key), ike: windowsIKE, esp: windowsESP, lns: readmeLNS})
	})
	p.comes(r, "roadwarriors", "192.168.1.1")
}

// user follows what the page says of users' passwords (EAP).
func (p *readme) user(t *testing.T) {
	r := p.report.row(t)
	r.check("certificate and profile", func() error {
		for name, text := range map[string]string{"lns1.crt": p.pki.lns.cert, "lns1.key": p.pki.lns.key} {
			if err := p.Put("/etc/culvert/"+name, text, 0o640); err != nil {
				return err
			}
		}
		if _, err := p.Run(10*time.Second, "chgrp culvert /etc/culvert/lns1.*"); err != nil {
			return err
		}
		return p.addProfile(eapRest)
	})
	r.check("lnsd check", p.checked)
	r.check("lnsd started again", func() error { return p.restart("profile=users") })
	mark := p.mark()
	r.check("users loaded by swanctl", func() error {
		users, err := p.block("secrets {", "eap-alice")
		if err != nil {
			return err
		}
		if err := p.Put("/etc/swanctl/conf.d/users.conf", users, 0o600); err != nil {
			return err
		}
		_, err = p.sh("lns", 30*time.Second, "swanctl --load-all --noprompt 2>&1")
		return err
	})
	r.check("lnsd loads its own again", func() error { return p.logged(60*time.Second, mark, "they are loaded again") })
	r.check("client configured", func() error {
		return p.client.swan.configure(conn{name: "vpn", version: 2, eap: "alice", psk: "her password", lns: readmeLNS})
	})
	p.comes(r, "users", "alice")
}

// addProfile puts a profile behind those that there are.
func (p *readme) addProfile(text string) error {
	p.yaml += text
	return p.Put("/etc/culvert/lnsd.yaml", readmeRest+p.yaml, 0o644)
}

// checked is lnsd check of the file.
func (p *readme) checked() error {
	text, err := p.sh("lns", 30*time.Second, "%s /usr/bin/lnsd check --config /etc/culvert/lnsd.yaml 2>&1", runAs)
	if err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	return nil
}

// restart starts lnsd again, with its newest file, and waits until it has loaded a profile.
func (p *readme) restart(profile string) error {
	mark := p.mark()
	if _, err := p.sh("lns", 60*time.Second, "kill $(pidof lnsd); for i in $(seq 300); do pidof lnsd >/dev/null || exit 0; sleep 0.1; done; exit 1"); err != nil {
		return err
	}
	if err := p.startBinary(); err != nil {
		return err
	}
	return p.logged(60*time.Second, mark, "loaded a LAC profile into charon", profile)
}

// comes has the client set up its SA and a session, and wants it to be known as it is.
func (p *readme) comes(r *row, profile, identity string) {
	r.check("SA", func() error { return p.client.swan.initiate("vpn") })
	r.check("session", p.client.dial)
	r.check("ping", func() error { return p.client.ping(5) })
	r.check("shown", func() error {
		text, err := p.sh("lns", 20*time.Second, "lnsctl ipsec list 2>&1")
		if err == nil && (!strings.Contains(text, profile) || !strings.Contains(text, identity)) {
			err = fmt.Errorf("lnsctl ipsec list does not tell of %s of %s:\n%s", identity, profile, text)
		}
		return err
	})
	r.check("hung up", p.client.hangUp)
	p.client.swan.drop("vpn")
}
