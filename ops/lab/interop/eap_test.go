package interop

import (
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"

	"culvert/ops/lab/guest"
)

// eapMethods are the methods by EAP that pppd speaks. FreeRADIUS offers the one that
// is in the subscriber's name.
var eapMethods = []string{"eap-md5", "eap-mschapv2", "eap-tls"}

// eapUsers makes FreeRADIUS offer a subscriber's method; the numbers are EAP's types.
const eapUsers = `
DEFAULT User-Name =~ "eap-mschapv2", EAP-Type := 26
	Fall-Through = Yes

DEFAULT User-Name =~ "eap-tls", EAP-Type := 13
	Fall-Through = Yes
`

// longCertificate makes FreeRADIUS' certificate so long, by its names, that EAP-TLS
// takes several fragments.
const longCertificate = 150

// certs are the certificates of EAP-TLS.
type certs struct {
	// radius is a folder with what FreeRADIUS needs.
	radius string
	// The guest's files: the authority of the server, and a subscriber's certificate
	// by it and by one that FreeRADIUS does not know.
	guest map[string]string
}

func newCerts(t *testing.T) *certs {
	t.Helper()
	dir, err := os.MkdirTemp("", "certs")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	ca, stranger := newAuthority(t, "lab"), newAuthority(t, "stranger")
	server, serverKey := ca.issue(t, "radius.lab.isp.example", x509.ExtKeyUsageServerAuth, longCertificate)
	client, clientKey := ca.issue(t, "subscriber", x509.ExtKeyUsageClientAuth, 0)
	forged, forgedKey := stranger.issue(t, "subscriber", x509.ExtKeyUsageClientAuth, 0)
	writeFiles(t, dir, map[string]string{"ca.pem": ca.pem, "server.pem": server, "server.key": serverKey})
	return &certs{radius: dir, guest: map[string]string{
		"ca.pem": ca.pem, "client.pem": client, "client.key": clientKey, "forged.pem": forged, "forged.key": forgedKey,
	}}
}

// put gives the guest its certificates.
func (c *certs) put(h *guest.Host) error {
	for name, text := range c.guest {
		if err := h.Put(scriptDir+"/"+name, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// eapOptions are pppd's for a method by EAP; its certificate is that of a file name.
func eapOptions(method, certificate string) string {
	options := "refuse-pap\nrefuse-chap\nrefuse-mschap\nrefuse-mschap-v2\n"
	if method == "eap-tls" {
		options += fmt.Sprintf("ca %[1]s/ca.pem\ncert %[1]s/%[2]s.pem\nkey %[1]s/%[2]s.key\n", scriptDir, certificate)
	}
	return options
}

// eapCall is one call by EAP from SCCRQ to the Stop record, and a look at how RADIUS was asked.
func (l *lab) eapCall(x *row, mode, method string) {
	id := mode + "-" + method
	ln := lineOf(id, method)
	lac := l.lacFor(x, secured(id, mode, ln))
	c := l.up(x, lac, ln)
	x.wantSetup = true
	x.check("ping", func() error { return c.ping(coreAddr) })
	l.started(x, c)
	x.check("acct", func() error { return l.checkEAP(ln) })
	x.check("end", c.hangUp)
	l.ended(x, c, byUser)
}

// checkEAP: every request of the subscriber's was by EAP with the link's MTU, and
// there were as many as the method takes.
func (l *lab) checkEAP(ln line) error {
	n := 0
	for _, r := range l.radius.Requests() {
		if rec := record(r); rec.first("User-Name") == ln.user {
			if n++; rec.first("EAP-Message") == "" || rec.number("Framed-MTU") != eapMTU || (rec.first("State") == "") != (n == 1) {
				return fmt.Errorf("request %d of %s: EAP-Message %q, Framed-MTU %q, State %q", n, ln.user,
					rec.first("EAP-Message"), rec.first("Framed-MTU"), rec.first("State"))
			}
		}
	}
	// Of TLS: identity, hello, an acknowledgement of each of the server's fragments but the
	// last, the client's part, the end.
	least := map[string]int{"eap-md5": 2, "eap-mschapv2": 3, "eap-tls": 7}[ln.method]
	if n < least {
		return fmt.Errorf("%s took %d requests, want %d or more", ln.user, n, least)
	}
	return nil
}

// eapMTU is the MRU of the LACs' profile, which FreeRADIUS is told as Framed-MTU.
const eapMTU = 1460

// eapFits checks that no EAP packet to a subscriber is longer than its link takes, and
// that those of EAP-TLS make use of that.
func (l *lab) eapFits(all []packet) error {
	longest, want := 0, 0
	for _, p := range all {
		if p.l2tp && ofLNS(p.src) {
			longest = max(longest, p.eap)
		}
	}
	for _, x := range l.report.rows {
		if strings.HasSuffix(x.name, "/eap-tls") && !x.t.Failed() {
			want = 1000
		}
	}
	if longest > eapMTU || longest < want {
		return fmt.Errorf("the longest EAP packet to a subscriber has %d octets, want %d to %d", longest, want, eapMTU)
	}
	return nil
}

// refusedByEAP is a subscriber with a wrong password, or with a certificate of an authority that
// FreeRADIUS does not know.
func (l *lab) refusedByEAP(x *row, method string) {
	id := "bad-" + method
	ln := lineOf(id, method)
	ln.password, ln.certificate = "not-"+password, "forged"
	lac := l.lacFor(x, secured(id, "kernel", ln))
	x.refused("up", func() error {
		if err := lac.refused(ln, "/"+ln.name+".pppd", "peer reports authentication failure"); err != nil {
			return err
		}
		return l.nothingOf(ln)
	})
}

// isEAP tells a method by EAP from PPP's own.
func isEAP(method string) bool { return strings.HasPrefix(method, "eap-") }
