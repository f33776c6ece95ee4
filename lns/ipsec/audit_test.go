package ipsec

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// TestUnloadedByOthers: what swanctl takes out of charon, since swanctl.conf has nothing of it, comes back.
func TestUnloadedByOthers(t *testing.T) {
	l := newLab(t)
	ca := newAuthority(t, "ca")
	cert, key := ca.issue(t, "lns", 2, 0)
	byCert := profile("cert", func(p *lns.LACProfile) {
		p.IPsec.Auth, p.IPsec.PSK, p.IPsec.Certificate, p.IPsec.Key, p.IPsec.CA = "cert", "", cert, key, ca.pem
	})
	m := l.startManager(&heard{}, profile("psk", nil), byCert)
	l.wait("all connections", func() bool { return len(strings.Fields(l.conns(l.lns))) == 2 })
	m.Close()
	before := l.has(l.lns)
	cmd := exec.Command("swanctl", "--load-all", "--noprompt", "--uri", "unix://"+l.lns)
	dir := t.TempDir()
	cmd.Env = append(os.Environ(), "SWANCTL_DIR="+dir, "STRONGSWAN_CONF="+filepath.Join(dir, "strongswan.conf"))
	for name, text := range map[string]string{"strongswan.conf": "swanctl { load = random openssl pem pkcs1 pkcs8 x509 }\n", "swanctl.conf": "connections {\n}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("swanctl: %v\n%s", err, out)
	}
	if l.has(l.lns) == before {
		t.Fatal("swanctl has unloaded nothing: this test is about nothing")
	}
	s := session{m: m}
	var err error
	if s.cmd, err = vici.Dial(t.Context(), l.lns); err != nil {
		t.Fatal(err)
	}
	defer s.cmd.Close()
	m.lastAudit = time.Time{}
	if err := s.audit(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if after := l.has(l.lns); after != before {
		t.Errorf("charon has %q, had %q", after, before)
	}
}

// has lists connections, shared and private keys of a charon.
func (l *lab) has(socket string) string {
	l.t.Helper()
	c, err := vici.Dial(l.t.Context(), socket)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	var all []string
	for _, q := range [][2]string{{"get-conns", "conns"}, {"get-shared", "keys"}, {"get-keys", "keys"}} {
		answer, err := c.Call(l.t.Context(), q[0], nil)
		if err != nil {
			l.t.Fatal(err)
		}
		list := answer.GetList(q[1])
		slices.Sort(list)
		all = append(all, list...)
	}
	return strings.Join(all, " ")
}
