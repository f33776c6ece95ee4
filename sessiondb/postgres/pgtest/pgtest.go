// Package pgtest starts temporary PostgreSQL servers for tests, and breaks
// them: killed, stalled, stopped and started again.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNotInstalled says that there is no PostgreSQL on this machine, or no user
// that could run it.
var ErrNotInstalled = errors.New("PostgreSQL is not installed")

// Server is a server with its data in a temporary folder. It listens on a
// unix socket in that folder and on a port of 127.0.0.1, and lets everybody
// in. Its methods are for one goroutine.
type Server struct {
	// Dir is the folder, Port the TCP port, which Restart keeps.
	Dir  string
	Port int

	bin      string
	settings []string
	cmd      *exec.Cmd
	exited   chan struct{}
	stalled  []int
	names    int
}

// Start starts a server that ends with the test. Settings are such as
// "fsync=off". It skips the test when PostgreSQL is not installed, unless the
// environment has CI=true: then the test fails.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := New(settings...)
	if errors.Is(err, ErrNotInstalled) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// New starts a server; Close ends it. The error is ErrNotInstalled when there
// is nothing to start.
func New(settings ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, bin: bin, settings: settings}
	if err := errors.Join(own(dir), s.initialize()); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if s.Port, err = freePort(); err == nil {
		err = s.Restart()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// binaries finds the folder of initdb and postgres, the newest version first.
func binaries() (string, error) {
	if name, err := exec.LookPath("initdb"); err == nil {
		if name, err = filepath.EvalSymlinks(name); err == nil {
			return filepath.Dir(name), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.Sort(found)
	if len(found) == 0 {
		return "", fmt.Errorf("%w: no initdb in PATH or /usr/lib/postgresql/*/bin; install package postgresql", ErrNotInstalled)
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func (s *Server) initialize() error {
	cmd := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	cmd.Dir = s.Dir
	if err := unprivileged(cmd); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// ConnString connects to a database as superuser over TCP.
func (s *Server) ConnString(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
}

// NewDatabase makes an empty database and gives its connection string.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	s.names++
	name := fmt.Sprintf("test%d", s.names)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.ConnString("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, "create database "+name); err != nil {
		t.Fatal(err)
	}
	return s.ConnString(name)
}

// Log gives the server's messages so far.
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
	return string(text)
}
