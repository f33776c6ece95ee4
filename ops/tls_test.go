package ops

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"os"
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

// tlsConfig serves TLS on loopback with two roles.
func tlsConfig(a *opstest.Authority) Config {
	a.Issue("server", pkix.Name{CommonName: "lns1"})
	return Config{
		Address: "127.0.0.1:0", Certificate: a.Path("server.pem"), Key: a.Path("server.key"), ClientCA: a.Path("ca.pem"),
		Roles: []RoleRule{{Role: RoleViewer, Unit: "support"}, {Role: RoleOperator, CommonName: "alice", Unit: "noc"}},
	}
}

// dial connects with a client's certificate, or without one.
func dialTLS(t *testing.T, a *opstest.Authority, s *Server, change func(*tls.Config), certs ...tls.Certificate) *grpc.ClientConn {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate())
	config := &tls.Config{RootCAs: pool, Certificates: certs, ServerName: "127.0.0.1"}
	if change != nil {
		change(config)
	}
	c, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRoles(t *testing.T) {
	ca := opstest.NewAuthority(t, "ours")
	s := start(t, tlsConfig(ca), opstest.Sample(2))
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
			conn := dialTLS(t, ca, s, nil, ca.Issue("client", c.subject))
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
	ca, other := opstest.NewAuthority(t, "ours"), opstest.NewAuthority(t, "theirs")
	cfg, log := tlsConfig(ca), &syncBuffer{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	s := start(t, cfg, opstest.Sample(2))
	good := ca.Issue("client", pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"noc"}})
	foreign := other.Issue("client", pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"noc"}})
	for name, conn := range map[string]*grpc.ClientConn{
		"no certificate":       dialTLS(t, ca, s, nil),
		"another authority's":  dialTLS(t, ca, s, insist(foreign)),
		"TLS 1.2":              dialTLS(t, ca, s, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, good),
		"a server not trusted": dialTLS(t, other, s, nil, good),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
			wantStatus(t, err, codes.Unavailable)
		})
	}
	for _, want := range []string{"didn't provide a certificate", "certificate signed by unknown authority", "unsupported versions"} {
		log.await(t, want)
	}
}

// insist sends a certificate although the server asked for another authority's.
func insist(cert tls.Certificate) func(*tls.Config) {
	return func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
}

// TestCertificatesAreReadAgain renews the server's certificate and changes
// the clients' authority under a running server, with one broken file in between.
func TestCertificatesAreReadAgain(t *testing.T) {
	ca, next := opstest.NewAuthority(t, "ours"), opstest.NewAuthority(t, "next")
	cfg := tlsConfig(ca)
	log := &syncBuffer{}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
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
	old := ca.Issue("client", alice)
	if code := call(dialTLS(t, ca, s, nil, old)); code != codes.OK {
		t.Fatalf("before: %v", code)
	}
	replace(cfg.ClientCA, []byte("no certificate"))
	if code := call(dialTLS(t, ca, s, nil, old)); code != codes.OK {
		t.Errorf("with a broken file: %v", code)
	}
	b, err := os.ReadFile(next.Path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	replace(cfg.ClientCA, b)
	if code := call(dialTLS(t, ca, s, nil, old)); code != codes.Unavailable {
		t.Errorf("the old authority's client: %v", code)
	}
	if code := call(dialTLS(t, ca, s, nil, next.Issue("client", alice))); code != codes.OK {
		t.Errorf("the new authority's client: %v", code)
	}
	log.await(t, "has no PEM certificate")
}
