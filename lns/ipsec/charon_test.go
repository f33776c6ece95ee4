package ipsec

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// charonPath is Debian's; the daemon needs no systemd.
const charonPath = "/usr/sbin/charon-systemd"

// The addresses of the two ends, in namespaces of the test's own.
const (
	lnsAddress = "10.99.0.1"
	lacAddress = "10.99.0.2"
)

// plugins are those that the tests need; one that is missing fails charon's start loudly.
const plugins = "random nonce openssl x509 revocation constraints pubkey pkcs1 pkcs8 pem curve25519 gcm hmac kdf kernel-netlink socket-default vici eap-identity eap-mschapv2"

// needCharon skips where there is no charon, or no right to make namespaces.
func needCharon(t *testing.T) {
	t.Helper()
	why := ""
	if _, err := os.Stat(charonPath); err != nil {
		why = "charon-systemd is not installed (Debian: apt-get install charon-systemd strongswan-swanctl)"
	}
	if os.Getuid() != 0 {
		why = "namespaces need root"
	}
	if why == "" {
		return
	}
	if os.Getenv("CI") == "true" && os.Getuid() == 0 {
		t.Fatal(why)
	}
	t.Skip(why)
}

// lab is two hosts joined by a veth, with a charon on each.
type lab struct {
	t        *testing.T
	dir      string
	lns, lac string // VICI sockets
	stop     map[string]func()
	// space is the namespace of the LNS; extra is what its strongswan.conf says before the test's own.
	space, extra string
}

var labs int

func newLab(t *testing.T) *lab {
	needCharon(t)
	labs++
	l := &lab{t: t, dir: t.TempDir(), stop: map[string]func(){}}
	a, b := fmt.Sprintf("ikea%d-%d", os.Getpid(), labs), fmt.Sprintf("ikeb%d-%d", os.Getpid(), labs)
	for _, ns := range []string{a, b} {
		l.ip("netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		l.ip("-n", ns, "link", "set", "lo", "up")
	}
	l.ip("-n", a, "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", b)
	for ns, address := range map[string]string{a: lnsAddress, b: lacAddress} {
		l.ip("-n", ns, "addr", "add", address+"/24", "dev", "v0")
		l.ip("-n", ns, "link", "set", "v0", "up")
	}
	l.space = a
	l.lns, l.lac = l.charon("lns", a), l.charon("lac", b)
	return l
}

func (l *lab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

// charon starts a daemon in a network namespace and gives its socket.
func (l *lab) charon(name, ns string) string {
	l.t.Helper()
	dir := filepath.Join(l.dir, name)
	_ = os.Mkdir(dir, 0o700)
	socket := filepath.Join(dir, "vici")
	_ = os.Remove(socket)
	conf := fmt.Sprintf(`charon-systemd {
  load = %s
  retransmit_tries = 2
  retransmit_timeout = 0.5
  plugins { vici { socket = unix://%s } }
  filelog { f { path = %s/log
    flush_line = yes
    default = 1 } }
  journal { default = -1 }
}
`, plugins, socket, dir)
	path := filepath.Join(dir, "strongswan.conf")
	if err := os.WriteFile(path, []byte(l.extra+conf), 0o600); err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", ns, charonPath)
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+path)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	var once sync.Once
	l.stop[name] = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	l.t.Cleanup(func() {
		l.stop[name]()
		if l.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			l.t.Logf("%s's charon:\n%s%s", name, out.String(), log)
		}
	})
	l.wait("charon's socket", func() bool {
		c, err := vici.Dial(context.Background(), socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return socket
}

func (l *lab) wait(what string, f func() bool) {
	l.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	l.t.Fatalf("waited in vain for %s", what)
}

// call sends a command to a charon.
func (l *lab) call(socket, command string, args vici.Section) error {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := vici.Dial(ctx, socket)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Call(ctx, command, args)
	return err
}

// section makes a section of names and values; a value may be a string, a list or a section.
func section(list ...any) (s vici.Section) {
	for i := 0; i < len(list); i += 2 {
		name := list[i].(string)
		switch v := list[i+1].(type) {
		case string:
			s.Set(name, v)
		case []string:
			s.SetList(name, v...)
		case vici.Section:
			s.SetSub(name, v)
		}
	}
	return s
}

// heard is what a handler was told.
type heard struct {
	mu       sync.Mutex
	ups      []lns.SA
	gone     []lns.SAEnd
	failures []lns.IKEFailure
}

func (h *heard) SAUp(sa lns.SA) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ups = append(h.ups, sa)
}

func (h *heard) SAGone(_ lns.SA, e lns.SAEnd) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = append(h.gone, e)
}

func (h *heard) IKEFailed(f lns.IKEFailure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = append(h.failures, f)
}

func (h *heard) failed(reason lns.IKEReason) (lns.IKEFailure, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.failures {
		if f.Reason == reason {
			return f, true
		}
	}
	return lns.IKEFailure{}, false
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("ups %+v, gone %+v, failures %+v", h.ups, h.gone, h.failures)
}

// conns lists the names of the connections that a charon has.
func (l *lab) conns(socket string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := vici.Dial(ctx, socket)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	answer, err := c.Call(ctx, "get-conns", nil)
	if err != nil {
		return err.Error()
	}
	return strings.Join(answer.GetList("conns"), " ")
}
