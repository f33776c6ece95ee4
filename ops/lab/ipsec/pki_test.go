package ipsec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
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

// issue makes a certificate for a name that is valid until now and so long.
func (p *pki) issue(t *testing.T, name string, valid time.Duration) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p.serial++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(p.serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(valid), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.cert, key.Public(), p.key)
	must(t, err)
	b, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return identity{pemText("CERTIFICATE", der), pemText("PRIVATE KEY", b), p.serial}
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
