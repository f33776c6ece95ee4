package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bouncer is a pgbouncer in transaction mode in front of a Server.
type Bouncer struct {
	// Port is the TCP port on 127.0.0.1.
	Port int

	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// StartBouncer starts a pgbouncer that gives its clients no more than size
// connections to s and ends with the test. It skips the test where pgbouncer
// is not installed, unless the environment has CI=true.
func StartBouncer(t testing.TB, s *Server, size int) *Bouncer {
	t.Helper()
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		bin, err = exec.LookPath("/usr/sbin/pgbouncer")
	}
	if err != nil {
		if os.Getenv("CI") != "true" {
			t.Skip("pgbouncer is not installed")
		}
		t.Fatal("pgbouncer is not installed")
	}
	b, err := newBouncer(bin, s, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func newBouncer(bin string, s *Server, size int) (*Bouncer, error) {
	dir, err := os.MkdirTemp("", "pgb")
	if err != nil {
		return nil, err
	}
	b := &Bouncer{dir: dir}
	if b.Port, err = freePort(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	settings := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
auth_file = %s/users
pool_mode = transaction
default_pool_size = %d
max_client_conn = 100
server_login_retry = 1
`, s.Port, b.Port, dir, size)
	// Under auth_type any, the server's user is the one that the database names.
	settings = strings.Replace(settings, "port=", "user=postgres port=", 1)
	err = errors.Join(os.WriteFile(filepath.Join(dir, "ini"), []byte(settings), 0o644),
		os.WriteFile(filepath.Join(dir, "users"), []byte("\"postgres\" \"\"\n"), 0o644), os.Chmod(dir, 0o755), own(dir))
	if err == nil {
		err = b.start(bin)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bouncer) start(bin string) error {
	b.cmd = exec.Command(bin, filepath.Join(b.dir, "ini"))
	log, err := os.Create(filepath.Join(b.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if err := unprivileged(b.cmd); err != nil {
		return err
	}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	b.exited = make(chan struct{})
	go func() { b.cmd.Wait(); close(b.exited) }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, b.ConnString("postgres")+"&default_query_exec_mode=exec")
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-b.exited:
			return fmt.Errorf("pgtest: pgbouncer ended: %s", b.Log())
		case <-ctx.Done():
			return fmt.Errorf("pgtest: pgbouncer does not answer: %w: %s", err, b.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ConnString connects to a database through the pooler.
func (b *Bouncer) ConnString(database string) string {
	return "postgres://postgres@127.0.0.1:" + strconv.Itoa(b.Port) + "/" + database + "?sslmode=disable"
}

// Through gives the connection string of one of the server's databases, as
// NewDatabase gave it, but through the pooler.
func (b *Bouncer) Through(s *Server, conn string) string {
	return strings.Replace(conn, ":"+strconv.Itoa(s.Port)+"/", ":"+strconv.Itoa(b.Port)+"/", 1)
}

// Log gives the pooler's messages so far.
func (b *Bouncer) Log() string {
	text, _ := os.ReadFile(filepath.Join(b.dir, "log"))
	return string(text)
}

// Close ends the pooler and removes its folder.
func (b *Bouncer) Close() {
	if b.exited != nil {
		b.cmd.Process.Signal(syscall.SIGKILL)
		<-b.exited
	}
	os.RemoveAll(b.dir)
}
