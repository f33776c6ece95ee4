package ops

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"culvert/ops/opstest"
	culvertv1 "culvert/proto/culvert/v1"
)

// authority signs certificates in a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.path("ca.pem"), "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

// issue makes NAME.pem and NAME.key for a server on 127.0.0.1 and for clients.
func (a *authority) issue(file string, subject pkix.Name) tls.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	writePEM(a.t, a.path(file+".pem"), "CERTIFICATE", der)
	writePEM(a.t, a.path(file+".key"), "PRIVATE KEY", secret)
	pair, err := tls.LoadX509KeyPair(a.path(file+".pem"), a.path(file+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tlsConfig serves TLS on loopback with two roles.
func (a *authority) tlsConfig() Config {
	a.issue("server", pkix.Name{CommonName: "lns1"})
	return Config{
		Address: "127.0.0.1:0", Certificate: a.path("server.pem"), Key: a.path("server.key"), ClientCA: a.path("ca.pem"),
		Roles: []RoleRule{{Role: RoleViewer, Unit: "support"}, {Role: RoleOperator, CommonName: "alice", Unit: "noc"}},
	}
}

// dial connects with a client's certificate, or without one.
func (a *authority) dial(s *Server, change func(*tls.Config), certs ...tls.Certificate) *grpc.ClientConn {
	a.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	config := &tls.Config{RootCAs: pool, Certificates: certs, ServerName: "127.0.0.1"}
	if change != nil {
		change(config)
	}
	c, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	return c
}

func TestRoles(t *testing.T) {
	ca := newAuthority(t, "ours")
	s := start(t, ca.tlsConfig(), opstest.Sample(2))
	for name, c := range map[string]struct {
		subject  pkix.Name
		see, act codes.Code
	}{
		"operator":          {pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"noc"}}, codes.OK, codes.OK},
		"operator and more": {pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"support", "noc"}}, codes.OK, codes.OK},
		"viewer":            {pkix.Name{CommonName: "bob", OrganizationalUnit: []string{"support"}}, codes.OK, codes.PermissionDenied},
		"half a rule":       {pkix.Name{CommonName: "bob", OrganizationalUnit: []string{"noc"}}, codes.PermissionDenied, codes.PermissionDenied},
		"nobody":            {pkix.Name{CommonName: "eve"}, codes.PermissionDenied, codes.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			conn := ca.dial(s, nil, ca.issue("client", c.subject))
			_, err := culvertv1.NewNodeServiceClient(conn).GetStatus(t.Context(), &culvertv1.GetStatusRequest{})
			wantStatus(t, err, c.see)
			_, err = culvertv1.NewNodeServiceClient(conn).Undrain(t.Context(), &culvertv1.UndrainRequest{})
			wantStatus(t, err, c.act)
			if c.act != codes.OK {
				wantStatus(t, err, c.act, "operator role", "CN="+c.subject.CommonName)
			}
			stream, err := culvertv1.NewSessionServiceClient(conn).WatchEvents(t.Context(), &culvertv1.WatchEventsRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			wantStatus(t, err, c.see)
			_, err = healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "culvert.v1.NodeService"})
			wantStatus(t, err, codes.OK)
		})
	}
}

func TestHandshakeRefuses(t *testing.T) {
	ca, other := newAuthority(t, "ours"), newAuthority(t, "theirs")
	s := start(t, ca.tlsConfig(), opstest.Sample(2))
	good := ca.issue("client", pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"noc"}})
	for name, conn := range map[string]*grpc.ClientConn{
		"no certificate":       ca.dial(s, nil),
		"another authority's":  ca.dial(s, nil, other.issue("client", pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"noc"}})),
		"TLS 1.2":              ca.dial(s, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, good),
		"a server not trusted": other.dial(s, nil, good),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
			wantStatus(t, err, codes.Unavailable)
		})
	}
}

// TestCertificatesAreReadAgain renews the server's certificate and changes
// the clients' authority under a running server, with one broken file in between.
func TestCertificatesAreReadAgain(t *testing.T) {
	ca, next := newAuthority(t, "ours"), newAuthority(t, "next")
	cfg := ca.tlsConfig()
	var log bytes.Buffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	s := start(t, cfg, opstest.Sample(0))
	alice := pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"noc"}}
	call := func(conn *grpc.ClientConn) codes.Code {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := culvertv1.NewNodeServiceClient(conn).GetStatus(ctx, &culvertv1.GetStatusRequest{})
		return status.Code(err)
	}
	replace := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		stamp := time.Now().Add(time.Duration(len(b)) * time.Second) // differs from the one before
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	old := ca.issue("client", alice)
	if code := call(ca.dial(s, nil, old)); code != codes.OK {
		t.Fatalf("before: %v", code)
	}
	replace(cfg.ClientCA, []byte("no certificate"))
	if code := call(ca.dial(s, nil, old)); code != codes.OK {
		t.Errorf("with a broken file: %v", code)
	}
	b, err := os.ReadFile(next.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	replace(cfg.ClientCA, b)
	if code := call(ca.dial(s, nil, old)); code != codes.Unavailable {
		t.Errorf("the old authority's client: %v", code)
	}
	if code := call(ca.dial(s, nil, next.issue("client", alice))); code != codes.OK {
		t.Errorf("the new authority's client: %v", code)
	}
	if !strings.Contains(log.String(), "has no PEM certificate") {
		t.Errorf("the broken file is not in the log: %s", log.String())
	}
}
