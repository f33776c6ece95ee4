package ipsec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// readmeLAC and readmeLNS are the addresses of the page; the guest's hosts take them.
	readmeLAC = "198.51.100.7"
	readmeLNS = "192.0.2.10"
	pages     = "../../strongswan"
	// readmeRest is what the page's profile is put into; the rest of lnsd's file is not its topic.
	readmeRest = `node: lns1
l2tp: {listen: ["` + readmeLNS + `:1701"], shards: 2}
subscriber: {local_address: 100.64.0.1}
radius: {lab: {password: ` + password + `}}
pools: [{name: main, ranges: [100.64.0.0/18], exclude: [100.64.0.0-100.64.0.1]}]
log: {level: debug}
`
	// runAs runs lnsd as its unit does.
	runAs = "setpriv --reuid culvert --regid culvert --init-groups --inh-caps=-all,+net_admin,+net_bind_service,+net_raw --ambient-caps=-all,+net_admin,+net_bind_service,+net_raw "
)

// readme is the page, followed in a guest.
type readme struct {
	*lab
	page string
	// yaml are the LAC profiles of lnsd's file, client is a voluntary client behind the NAT.
	lac, client *lac
	yaml        string
}

// block is the one code block with all the words.
func (p *readme) block(words ...string) (string, error) {
	list := codeBlocks(p.page, words...)
	if len(list) != 1 {
		return "", fmt.Errorf("ops/strongswan/README.md has %d code blocks with %q, and there has to be one", len(list), words)
	}
	return list[0], nil
}

// TestReadme follows ops/strongswan's page from nothing to a LAC over IPsec, by the commands and the texts
// that stand there. What a package manager and systemd do is done by hand: the guest has neither.
func TestReadme(t *testing.T) {
	needs(t)
	text, err := os.ReadFile(filepath.Join(pages, "README.md"))
	must(t, err)
	p := &readme{lab: boot(t), page: string(text)}
	t.Cleanup(func() {
		if err := p.report.writeTo(p.out, "readme"); err != nil {
			t.Error(err)
		}
	})
	t.Run("from nothing to a LAC", p.follow)
	t.Run("a voluntary client", p.voluntary)
	t.Run("a client with a user's password", p.user)
}

func (p *readme) follow(t *testing.T) {
	r := p.report.row(t)
	r.check("addresses of the page", p.addresses)
	r.check("strongSwan", p.install)
	r.check("profile and key", p.profile)
	r.check("lnsd check", p.checked)
	r.check("lnsd started", p.start)
	r.check("LAC configured", p.configureLAC)
	r.check("session", p.lac.dial)
	r.check("ping", func() error { return p.lac.ping(5) })
	r.check("shown", p.shown)
	r.check("a wrong key is named", p.wrongKey)
}

// addresses gives the hosts those of the page.
func (p *readme) addresses() error {
	_, err := p.Run(20*time.Second, fmt.Sprintf("set -e; ip -n lns addr add %[1]s/32 dev lo; ip -n direct addr add %[2]s/32 dev lo\n"+
		"ip -n wan route add %[1]s via %[3]s; ip -n wan route add %[2]s via %[4]s", readmeLNS, readmeLAC, lnsAddr, directAddr))
	return err
}

// install is the page's first step.
func (p *readme) install() error {
	names, err := filepath.Glob(pages + "/*.conf")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := p.Put(dir+"/page/ops/strongswan/"+filepath.Base(name), string(text), 0o644); err != nil {
			return err
		}
	}
	commands, err := p.block("apt-get install", "sysctl --system")
	if err != nil {
		return err
	}
	for line := range strings.Lines(commands) {
		if strings.HasPrefix(line, "apt-get") || strings.HasPrefix(line, "systemctl") {
			continue
		}
		// sysctl --system also tells of keys that this kernel lacks.
		if text, err := p.Run(30*time.Second, "cd "+dir+"/page && "+line); err != nil && !strings.Contains(line, "sysctl") {
			return fmt.Errorf("%s: %w: %s", line, err, text)
		}
	}
	if text, err := p.Run(10*time.Second, "cat /proc/sys/net/core/rmem_max"); err != nil || strings.TrimSpace(text) != "16777216" {
		return fmt.Errorf("net.core.rmem_max is %q: %v", text, err)
	}
	return p.startByUnit()
}

// startByUnit starts charon as strongSwan's unit with the page's drop-in does.
func (p *readme) startByUnit() error {
	dropIn, err := p.Get("/etc/systemd/system/strongswan.service.d/culvert.conf")
	if err != nil {
		return err
	}
	// The plugins of the packages that the page names, where this machine has more; and a log for people.
	lab := "charon-systemd {\n  load = " + plugins + "\n  filelog {\n    f {\n      path = " + lnsDir + "/charon.log\n      flush_line = yes\n      default = 1\n    }\n  }\n}\n"
	if err := p.Put("/etc/strongswan.d/zz-lab.conf", lab, 0o644); err != nil {
		return err
	}
	_, post, ok := strings.Cut(dropIn, "ExecStartPost=")
	if !ok {
		return fmt.Errorf("no ExecStartPost in the drop-in:\n%s", dropIn)
	}
	post, _, _ = strings.Cut(post, "\n")
	_, err = p.sh("lns", 40*time.Second, `rm -f /var/run/charon.vici; setsid /usr/sbin/charon-systemd >%s/lns-charon.log 2>&1 </dev/null &
for i in $(seq 100); do [ -S /var/run/charon.vici ] && break; sleep 0.1; done; swanctl --load-all --noprompt || exit 1
%s`, dir, post)
	return err
}

// profile is the page's second step.
func (p *readme) profile() error {
	profile, err := p.block("lacs:", "psk_file: /etc/culvert/north.psk")
	if err != nil {
		return err
	}
	commands, err := p.block("openssl rand")
	if err != nil {
		return err
	}
	if text, err := p.Run(30*time.Second, "set -e\n"+commands); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	if err := p.addProfile(profile); err != nil {
		return err
	}
	// What lnsd's package, its unit and udev do.
	_, err = p.Run(30*time.Second, "set -e; cp "+p.bin+"/lnsd "+p.bin+"/lnsctl /usr/bin/; install -d -o culvert -g culvert /var/lib/culvert /run/culvert; chmod 0666 /dev/net/tun; mkdir -p "+lnsDir)
	return err
}

// start is the page's third step, as lnsd's own unit does it.
func (p *readme) start() error {
	if err := p.startBinary(); err != nil {
		return err
	}
	for _, said := range []string{"loaded a LAC profile into charon", "kernel policies against clear L2TP are in force"} {
		if !strings.Contains(p.page, said) {
			return fmt.Errorf("the page does not tell that lnsd says %q", said)
		}
		if err := p.logged(60*time.Second, 0, said); err != nil {
			return err
		}
	}
	return nil
}

// startBinary starts lnsd as its unit does.
func (p *readme) startBinary() error {
	_, err := p.sh("lns", 20*time.Second, "cd / && setsid %s /usr/bin/lnsd run --config /etc/culvert/lnsd.yaml >>%s/lnsd.log 2>&1 </dev/null &", runAs, lnsDir)
	return err
}

// configureLAC is the page's fourth step.
func (p *readme) configureLAC() (err error) {
	if p.lac, err = p.startLAC("direct", 1701); err != nil {
		return err
	}
	if _, err := p.sh("direct", 10*time.Second, "cd %s/direct && sed -i 's/^port = .*/&\\nlisten-addr = %s/; s/^lns = .*/lns = %s/' xl2tpd.conf", dir, readmeLAC, readmeLNS); err != nil {
		return err
	}
	if err := p.lac.reset(); err != nil {
		return err
	}
	key, err := p.Get("/etc/culvert/north.psk")
	if err != nil {
		return err
	}
	return p.loadLAC(strings.TrimSpace(key))
}

// loadLAC gives the LAC's strongSwan the page's file with a key.
func (p *readme) loadLAC(key string) error {
	conf, err := p.block("connections {", "local_addrs = "+readmeLAC)
	if err != nil {
		return err
	}
	const there = "what stands in north.psk"
	if !strings.Contains(conf, there) {
		return fmt.Errorf("the LAC's file on the page has no key %q", there)
	}
	if err := p.Put(dir+"/direct/swanctl.conf", strings.Replace(conf, there, key, 1), 0o600); err != nil {
		return err
	}
	_, err = p.lac.swan.swan(20*time.Second, "--load-all --noprompt --clear")
	return err
}

// shown is the page's fifth step, of a LAC that is there.
func (p *readme) shown() error {
	for _, c := range []struct {
		command string
		words   []string
	}{
		{"tunnel list", []string{"IPSEC", "north"}},
		{"tunnel show 1", []string{readmeLAC, "AES_GCM_16_128", "IKEv2"}},
		{"ipsec list", []string{"north", readmeLAC}},
	} {
		text, err := p.sh("lns", 20*time.Second, "lnsctl %s 2>&1", c.command)
		if err != nil {
			return err
		}
		for _, w := range c.words {
			if !strings.Contains(text, w) {
				return fmt.Errorf("lnsctl %s does not tell of %q:\n%s", c.command, w, text)
			}
		}
	}
	return nil
}

// wrongKey is the page's fifth step, of a LAC that does not come.
func (p *readme) wrongKey() error {
	if err := p.lac.hangUp(); err != nil {
		return err
	}
	p.lac.swan.drop("lns")
	if err := p.loadLAC("another"); err != nil {
		return err
	}
	if err := p.lac.swan.initiate("lns"); err == nil {
		return fmt.Errorf("%w: an SA came up with a wrong key", errNot)
	}
	return until(20*time.Second, func() error {
		text, err := p.sh("lns", 20*time.Second, "lnsctl ipsec failures --peer %s 2>&1", readmeLAC)
		if err == nil && !strings.Contains(text, "authentication") {
			err = fmt.Errorf("lnsctl says %s", text)
		}
		return err
	})
}
