package radius_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/aaa/radius"
	"culvert/aaa/radius/radtest"

	"go.uber.org/goleak"
	"layeh.com/radius/rfc2759"
)

func TestMain(m *testing.M) {
	if os.Getenv(responderEnv) != "" {
		responder()
		return
	}
	goleak.VerifyTestMain(m)
}

const secret = "s3cret"

// logBuffer keeps log lines for tests to look at.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if os.Getenv("TEST_LOG") != "" {
		os.Stderr.Write(p)
	}
	return l.b.Write(p)
}

func (l *logBuffer) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

func newServer(t testing.TB, cfg radtest.Config) *radtest.Server {
	t.Helper()
	if cfg.Secret == nil {
		cfg.Secret = []byte(secret)
	}
	if cfg.Users == nil && cfg.AnyPassword == "" {
		cfg.AnyPassword = "password"
	}
	s, err := radtest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// quick is a server's configuration with short times.
func quick(at netip.AddrPort) radius.Server {
	return radius.Server{
		Address: at, Secret: []byte(secret), Timeout: 100 * time.Millisecond, Retries: 1,
		DeadTime: 400 * time.Millisecond, MaxWait: time.Second,
	}
}

func newClient(t testing.TB, auth, acct []radius.Server, change ...func(*radius.Config)) (*radius.Client, *logBuffer) {
	t.Helper()
	cfg := radius.Config{NASIdentifier: "lns-1", Auth: radius.Group{Servers: auth}, Acct: radius.Group{Servers: acct}}
	for _, f := range change {
		f(&cfg)
	}
	log := &logBuffer{}
	c, err := radius.New(cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, log
}

func identity(user, session string) aaa.Identity {
	return aaa.Identity{
		AcctSessionID: session, User: user, NASPort: 4711, NASPortID: "olt-7/3/21",
		CallingStation: "02075550123", CalledStation: "0845", ConnectInfo: "80000000/20000000",
		TunnelClient: netip.MustParseAddr("192.0.2.7"), TunnelServer: netip.MustParseAddr("192.0.2.1"),
		TunnelClientName: "lac-1", TunnelServerName: "lns-1", TunnelAssignment: "17", TunnelConnection: "99812",
	}
}

func pap(user, password string) aaa.Request {
	return aaa.Request{Identity: identity(user, "s-"+user), Credentials: aaa.Credentials{Method: aaa.MethodPAP, Password: []byte(password)}}
}

func chap(user, password string) aaa.Request {
	challenge := bytes.Repeat([]byte{0x5a}, 20)
	sum := md5.Sum(append(append([]byte{7}, password...), challenge...))
	return aaa.Request{Identity: identity(user, "s-"+user), Credentials: aaa.Credentials{
		Method: aaa.MethodCHAP, ID: 7, Challenge: challenge, Response: sum[:]}}
}

func mschap(t testing.TB, user, password string) aaa.Request {
	t.Helper()
	challenge, peer := bytes.Repeat([]byte{0x11}, 16), bytes.Repeat([]byte{0x22}, 16)
	nt, err := rfc2759.GenerateNTResponse(challenge, peer, []byte(user), []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	r := append(append(append([]byte(nil), peer...), make([]byte, 8)...), nt...)
	return aaa.Request{Identity: identity(user, "s-"+user), Credentials: aaa.Credentials{
		Method: aaa.MethodMSCHAPv2, ID: 9, Challenge: challenge, Response: append(r, 0)}}
}

type answer struct {
	grant *aaa.Grant
	err   error
}

// ask waits for one answer.
func ask(t testing.TB, c *radius.Client, r aaa.Request) (*aaa.Grant, error) {
	t.Helper()
	ch := make(chan answer, 2)
	c.Authorize(r, func(g *aaa.Grant, err error) { ch <- answer{g, err} })
	select {
	case a := <-ch:
		return a.grant, a.err
	case <-time.After(20 * time.Second):
		t.Fatal("no answer at all")
		return nil, nil
	}
}

// account waits for one acknowledgement.
func account(t testing.TB, c *radius.Client, u aaa.Usage) error {
	t.Helper()
	ch := make(chan error, 2)
	c.Account(&u, func(err error) { ch <- err })
	select {
	case err := <-ch:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("no answer at all")
		return nil
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

func wantUnavailable(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, aaa.ErrUnavailable) || errors.Is(err, aaa.ErrReject) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
}

func user(i int) string { return fmt.Sprintf("user%d@isp", i) }
