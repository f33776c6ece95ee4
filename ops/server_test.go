package ops

import (
	"context"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"culvert/ops/opstest"
	culvertv1 "culvert/proto/culvert/v1"
)

func TestSocketModeAndEnd(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	cfg := socketConfig(t)
	cfg.SocketMode, cfg.SocketGroup, cfg.Log = 0o600, me.Gid, quiet()
	s, err := New(cfg, opstest.NewNode())
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(cfg.Socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Errorf("Close before Serve: %v", err)
	}
	if list, _ := filepath.Glob(filepath.Dir(cfg.Socket) + "/*"); len(list) != 0 {
		t.Errorf("left behind: %v", list)
	}
	if err := s.Serve(); err != nil {
		t.Errorf("Serve after Close: %v", err)
	}
}

func TestSocketThatIsThere(t *testing.T) {
	make := func(t *testing.T, how func(path string)) (*Server, error) {
		cfg := socketConfig(t)
		cfg.Log = quiet()
		how(cfg.Socket)
		return New(cfg, opstest.NewNode())
	}
	t.Run("dead", func(t *testing.T) {
		s, err := make(t, func(path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Run("live", func(t *testing.T) {
		_, err := make(t, func(path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		})
		if err == nil || !strings.Contains(err.Error(), "a running process answers") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("file", func(t *testing.T) {
		_, err := make(t, func(path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		})
		if err == nil || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no folder", func(t *testing.T) {
		_, err := New(Config{Socket: filepath.Join(t.TempDir(), "x", "s")}, opstest.NewNode())
		if err == nil || !strings.Contains(err.Error(), "does not exist; make it") {
			t.Errorf("got %v", err)
		}
	})
}

// TestSocketOfTheNext: closing an old server does not take away the socket of the one that replaced it.
func TestSocketOfTheNext(t *testing.T) {
	cfg := socketConfig(t)
	old, err := listenSocket(&Config{Socket: cfg.Socket, SocketMode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cfg.Socket); err != nil {
		t.Fatal(err)
	}
	start(t, cfg, opstest.NewNode())
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(cfg.Socket); err != nil {
		t.Errorf("the new socket is gone: %v", err)
	}
}

func TestPlainLoopback(t *testing.T) {
	s := start(t, Config{Address: "127.0.0.1:0", PlainLoopback: true}, opstest.NewNode())
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = culvertv1.NewNodeServiceClient(conn).Drain(t.Context(), &culvertv1.DrainRequest{})
	wantStatus(t, err, codes.OK)
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := socketConfig(t)
	cfg.HTTP = l.Addr().String()
	if _, err := New(cfg, opstest.NewNode()); err == nil || !strings.HasPrefix(err.Error(), "http: cannot listen") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(cfg.Socket); err == nil {
		t.Error("the socket stays although New failed")
	}
}

// TestCloseCutsOff: a call that does not end does not keep Close beyond its context.
func TestCloseCutsOff(t *testing.T) {
	node := &stuck{Node: opstest.NewNode(), release: make(chan struct{}), called: make(chan struct{})}
	cfg := socketConfig(t)
	cfg.Log = quiet()
	s, err := New(cfg, node)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	conn := connect(t, cfg.Socket)
	failed := make(chan error, 1)
	go func() {
		_, err := culvertv1.NewNodeServiceClient(conn).Drain(context.Background(), &culvertv1.DrainRequest{})
		failed <- err
	}()
	<-node.called
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	go func() {
		<-failed // the client is cut off while the node still works on it
		close(node.release)
	}()
	if err := s.Close(ctx); err == nil {
		t.Error("Close does not say that it cut a call off")
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// stuck does not come back from Drain until it is released.
type stuck struct {
	*opstest.Node
	release, called chan struct{}
}

func (s *stuck) Drain(bool) {
	close(s.called)
	<-s.release
}

func TestConfigValidate(t *testing.T) {
	tlsOK := Config{Address: ":8443", Certificate: "c", Key: "k", ClientCA: "a", Roles: []RoleRule{{Role: RoleViewer, Unit: "x"}}}
	for name, c := range map[string]struct {
		change func(*Config)
		word   string // empty: it is good
	}{
		"tls":               {func(c *Config) { *c = tlsOK }, ""},
		"nothing":           {func(c *Config) {}, ""},
		"plain":             {func(c *Config) { c.Address = "127.0.0.1:1" }, "needs certificate, key and client_ca"},
		"plain elsewhere":   {func(c *Config) { c.Address, c.PlainLoopback = "192.0.2.1:1", true }, "plain_loopback: \"192.0.2.1:1\""},
		"plain everywhere":  {func(c *Config) { c.Address, c.PlainLoopback = ":1", true }, "plain_loopback"},
		"plain by name":     {func(c *Config) { c.Address, c.PlainLoopback = "localhost:1", true }, "plain_loopback"},
		"plain allowed":     {func(c *Config) { c.Address, c.PlainLoopback = "[::1]:1", true }, ""},
		"plain and tls":     {func(c *Config) { *c = tlsOK; c.Address, c.PlainLoopback = "127.0.0.1:1", true }, "contradicts"},
		"no roles":          {func(c *Config) { *c = tlsOK; c.Roles = nil }, "roles: "},
		"role of everybody": {func(c *Config) { *c = tlsOK; c.Roles = []RoleRule{{Role: RoleViewer}} }, "roles[0]: set common_name or unit"},
		"no such role":      {func(c *Config) { *c = tlsOK; c.Roles = []RoleRule{{Unit: "x"}} }, "roles[0].role"},
		"no port":           {func(c *Config) { *c = tlsOK; c.Address = "192.0.2.1" }, "address: \"192.0.2.1\" is not host:port"},
		"bad port":          {func(c *Config) { c.HTTP = "127.0.0.1:http" }, "http: \"127.0.0.1:http\": port"},
		"big port":          {func(c *Config) { c.HTTP = "127.0.0.1:65536" }, "http"},
		"relative socket":   {func(c *Config) { c.Socket = "s" }, "socket: \"s\" is not an absolute path"},
		"long socket":       {func(c *Config) { c.Socket = "/" + strings.Repeat("x", 120) }, "socket: the path has 121 octets"},
		"mode without":      {func(c *Config) { c.SocketMode = 0o600 }, "set socket, too"},
		"mode for all":      {func(c *Config) { c.Socket, c.SocketMode = "/s", 0o666 }, "socket_mode: 0666 lets every local user"},
		"mode beyond":       {func(c *Config) { c.Socket, c.SocketMode = "/s", os.ModeSetuid|0o600 }, "socket_mode"},
		"no such group":     {func(c *Config) { c.Socket, c.SocketGroup = "/s", "no-such-group" }, "socket_group: there is no group"},
		"negative":          {func(c *Config) { c.BehindWarning = -1 }, "behind_warning"},
	} {
		t.Run(name, func(t *testing.T) {
			var cfg Config
			c.change(&cfg)
			err := cfg.Validate()
			if c.word == "" && err != nil || c.word != "" && (err == nil || !strings.Contains(err.Error(), c.word)) {
				t.Errorf("got %v, want %q", err, c.word)
			}
		})
	}
}

func TestParseRole(t *testing.T) {
	for _, r := range []Role{RoleViewer, RoleOperator} {
		if got, err := ParseRole(r.String()); err != nil || got != r {
			t.Errorf("%v: %v, %v", r, got, err)
		}
	}
	for _, s := range []string{"none", "", "root"} {
		if _, err := ParseRole(s); err == nil {
			t.Errorf("%q is a role", s)
		}
	}
}
