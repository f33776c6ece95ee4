package main

import (
	"context"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"culvert/ops"
	"culvert/ops/opstest"
)

// serveTLS serves a sample node on loopback and gives its address.
func serveTLS(t *testing.T, ca *opstest.Authority) string {
	t.Helper()
	ca.Issue("server", pkix.Name{CommonName: "lns1"})
	s, err := ops.New(ops.Config{
		Address: "127.0.0.1:0", Certificate: ca.Path("server.pem"), Key: ca.Path("server.key"), ClientCA: ca.Path("ca.pem"),
		Roles: []ops.RoleRule{{Role: ops.RoleViewer, Unit: "support"}},
		Log:   slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, opstest.Sample(1))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		<-done
	})
	return s.Addr().String()
}

func TestTLS(t *testing.T) {
	ca, other := opstest.NewAuthority(t, "ours"), opstest.NewAuthority(t, "theirs")
	address := serveTLS(t, ca)
	ca.Issue("bob", pkix.Name{CommonName: "bob", OrganizationalUnit: []string{"support"}})
	other.Issue("eve", pkix.Name{CommonName: "eve", OrganizationalUnit: []string{"support"}})
	bob := " --tls-cert " + ca.Path("bob.pem") + " --tls-key " + ca.Path("bob.key")
	eve := " --tls-cert " + other.Path("eve.pem") + " --tls-key " + other.Path("eve.key")
	trust := " --tls-ca " + ca.Path("ca.pem")
	play(t, address, nil, []step{
		{"status" + bob + trust, exitOK, "lns1", ""},
		{"drain" + bob + trust, exitFailed, "", "needs the operator role"},
		{"status" + eve + trust, exitFailed, "", "the node takes only client certificates of its own authority"},
		{"status" + bob, exitFailed, "", "certificate"},
		{"status" + bob + " --tls-ca " + other.Path("ca.pem"), exitFailed, "", "Check --tls-ca"},
		{"status" + bob + trust + " --tls-name lns2", exitFailed, "", "lns2"},
		{"status" + bob + " --tls-ca /nowhere", exitUsage, "", "--tls-ca"},
		{"status" + bob + " --tls-ca " + ca.Path("bob.key"), exitUsage, "", "has no PEM certificate"},
		{"status --tls-cert " + ca.Path("bob.pem") + trust, exitUsage, "", "--tls-key"},
		{"status --tls-cert " + ca.Path("bob.pem") + " --tls-key " + ca.Path("server.key") + trust, exitUsage, "", "--tls-cert, --tls-key"},
	})
}

// TestEnvironment: what is the same for every call can come from the environment.
func TestEnvironment(t *testing.T) {
	ca := opstest.NewAuthority(t, "ours")
	address := serveTLS(t, ca)
	ca.Issue("bob", pkix.Name{CommonName: "bob", OrganizationalUnit: []string{"support"}})
	for name, v := range map[string]string{
		"CULVERT_ADDRESS": address, "CULVERT_TLS_CA": ca.Path("ca.pem"), "CULVERT_TLS_CERT": ca.Path("bob.pem"), "CULVERT_TLS_KEY": ca.Path("bob.key"),
	} {
		t.Setenv(name, v)
	}
	if r := lnsctl(t, "", nil, "session", "list"); r.code != exitOK || !strings.Contains(r.out, "user1") {
		t.Errorf("exit status %d, %s", r.code, r.err)
	}
}
