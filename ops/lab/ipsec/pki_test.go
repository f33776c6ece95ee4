package ipsec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"
)

// pki is a CA and what it has issued.
type pki struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	ca     string
	crl    string
	serial int64
	revoke []x509.RevocationListEntry
	// issued is the CA's list of certificates, as openssl's responder reads it.
	issued []identity
	// lns is the LNS's certificate, lac a LAC's that is in order.
	lns, lac identity
}

// identity is a certificate and its key.
type identity struct {
	cert, key string
	serial    int64
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p := &pki{key: key, serial: 1}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the wholesaler's CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(t, err)
	p.cert, err = x509.ParseCertificate(der)
	must(t, err)
	p.ca = pemText("CERTIFICATE", der)
	p.lns, p.lac = p.issue(t, "lns.example.net", 24*time.Hour), p.issue(t, "lac1.example.net", 24*time.Hour)
	p.crl = p.revoked(t)
	return p
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// issue makes a certificate for a name that is valid until now and so long. The OCSP responders are
// named in it.
func (p *pki) issue(t *testing.T, name string, valid time.Duration, responders ...string) identity {
	t.Helper()
	return p.issueBy(t, name, valid, func(c *x509.Certificate) { c.OCSPServer = responders })
}

// issueBy is issue with a change to the certificate.
func (p *pki) issueBy(t *testing.T, name string, valid time.Duration, change func(*x509.Certificate)) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p.serial++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(p.serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(valid), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	change(tmpl)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.cert, key.Public(), p.key)
	must(t, err)
	b, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	id := identity{pemText("CERTIFICATE", der), pemText("PRIVATE KEY", b), p.serial}
	p.issued = append(p.issued, id)
	return id
}

// index is openssl's list of certificates, with these revoked an hour ago; key is the CA's.
func (p *pki) index(t *testing.T, revoked ...identity) (text, key string) {
	t.Helper()
	const form = "060102150405Z"
	later, ago := time.Now().Add(24*time.Hour).UTC().Format(form), time.Now().Add(-time.Hour).UTC().Format(form)
	for _, id := range p.issued {
		state, when := "V", ""
		if slices.Contains(revoked, id) {
			state, when = "R", ago
		}
		text += fmt.Sprintf("%s\t%s\t%s\t%02X\tunknown\t/CN=%d\n", state, later, when, id.serial, id.serial)
	}
	b, err := x509.MarshalPKCS8PrivateKey(p.key)
	must(t, err)
	return text, pemText("PRIVATE KEY", b)
}

// revoked gives a CRL with these certificates in it.
func (p *pki) revoked(t *testing.T, list ...identity) string {
	t.Helper()
	for _, x := range list {
		p.revoke = append(p.revoke, x509.RevocationListEntry{SerialNumber: big.NewInt(x.serial), RevocationTime: time.Now().Add(-time.Hour)})
	}
	p.serial++ // an old number would be ignored
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(p.serial), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(24 * time.Hour), RevokedCertificateEntries: p.revoke,
	}, p.cert, p.key)
	must(t, err)
	return pemText("X509 CRL", der)
}
