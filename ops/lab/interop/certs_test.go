package interop

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a certificate authority of the lab.
type authority struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
	// pem is its certificate.
	pem string
}

// newAuthority makes an authority that nobody outside of the lab knows.
func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	template := certificate(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	a := &authority{key: key, pem: block("CERTIFICATE", der)}
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	return a
}

func certificate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{"Culvert lab"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
	}
}

// issue makes a certificate with its key, both as PEM. names are further names in it: many of them make it long.
func (a *authority) issue(t *testing.T, name string, usage x509.ExtKeyUsage, names int) (cert, key string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	template := certificate(name)
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment, []x509.ExtKeyUsage{usage}
	for i := range names {
		template.DNSNames = append(template.DNSNames, fmt.Sprintf("radius-%d.lab.isp.example", i))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	must(t, err)
	bits, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return block("CERTIFICATE", der), block("PRIVATE KEY", bits)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// writeFiles writes texts into a folder.
func writeFiles(t *testing.T, dir string, texts map[string]string) {
	t.Helper()
	for name, text := range texts {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
}
