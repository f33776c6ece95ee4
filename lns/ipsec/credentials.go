package ipsec

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"culvert/lns"
)

// CheckCredentials says what is wrong with a profile's certificates and key, naming the
// field, so that charon need not be asked: each that cannot be read, a key that does not
// belong to the certificate, and what is out of its time.
func CheckCredentials(p *lns.IPsecProfile) error {
	if p.Auth == "psk" || p.Mode == lns.IPsecNever {
		return nil
	}
	var errs []error
	ours := certificates("certificate", p.Certificate, &errs)
	for _, c := range certificates("ca", p.CA, &errs) {
		if !c.IsCA {
			errs = append(errs, fmt.Errorf("ca: %q is no CA certificate (its basic constraints say so)", c.Subject))
		}
	}
	for _, block := range pemBlocks(p.CRL, 0) {
		b, _ := pem.Decode([]byte(block))
		list, err := x509.ParseRevocationList(b.Bytes)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("crl: %w", err))
		case !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate):
			errs = append(errs, fmt.Errorf("crl: the list of %q was to be replaced on %s; fetch the newest", list.Issuer, day(list.NextUpdate)))
		}
	}
	if len(ours) > 0 {
		if err := checkKey(ours[0], p.Key); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// certificates reads all certificates of a field.
func certificates(field, text string, errs *[]error) []*x509.Certificate {
	var list []*x509.Certificate
	now := time.Now()
	for _, block := range pemBlocks(text, 0) {
		b, _ := pem.Decode([]byte(block))
		c, err := x509.ParseCertificate(b.Bytes)
		switch {
		case err != nil:
			*errs = append(*errs, fmt.Errorf("%s: %w", field, err))
			continue
		case now.After(c.NotAfter):
			*errs = append(*errs, fmt.Errorf("%s: %q has expired on %s", field, c.Subject, day(c.NotAfter)))
		case now.Before(c.NotBefore):
			*errs = append(*errs, fmt.Errorf("%s: %q is not valid before %s", field, c.Subject, day(c.NotBefore)))
		}
		list = append(list, c)
	}
	return list
}

// checkKey says whether a private key can be read and belongs to a certificate.
func checkKey(c *x509.Certificate, text string) error {
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		return nil // that it is no PEM has been said
	}
	var key any
	var err error
	switch b.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return errors.New("key: it is encrypted, and nobody can type its passphrase; decrypt it (openssl pkey) and let root alone read it")
	default:
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	}
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	fits := false
	switch k := key.(type) {
	case *rsa.PrivateKey:
		fits = k.PublicKey.Equal(c.PublicKey)
	case *ecdsa.PrivateKey:
		fits = k.PublicKey.Equal(c.PublicKey)
	case ed25519.PrivateKey:
		pub, ok := k.Public().(ed25519.PublicKey)
		fits = ok && pub.Equal(c.PublicKey)
	}
	if !fits {
		return fmt.Errorf("key: it does not belong to the certificate of %q", c.Subject)
	}
	return nil
}
