// Package faults breaks what lnsd stands on while subscribers are up: kill -9,
// RADIUS away, PostgreSQL killed and stalled. Each
// test starts real processes over loopback, without any rights, and checks that
// nobody was dropped who should not be and that every session is accounted once.
package faults

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"culvert/aaa/radius/radtest"
	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

const (
	radiusSecret = "radius secret"
	password     = "subscriber's password"
	tunnels      = 5
	each         = 20
	sessions     = tunnels * each

	// patience bounds each wait for what is sure to come: it tells what hangs from what is slow.
	patience = 2 * time.Minute
)

var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds the programs once for all tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-o", dir, "culvert/cmd/lnsd", "culvert/cmd/lnsctl", "culvert/cmd/lacsim")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// lab is an lnsd with a RADIUS server that misbehaves on demand, a database where
// there is one, and LACs.
type lab struct {
	t      *testing.T
	dir    string
	port   int
	radius *radtest.Server
	db     *pgtest.Server
	dbURL  string
	lnsd   *proc.Daemon
	lacs   *proc.Daemon
	stdin  *os.File // lacsim's
	lives  int
	args   []string // more of lnsd's
	// program is lnsd, where it is not that of bin.
	program string
}

const config = `node: lns1
shutdown: drop
l2tp: {listen: ["127.0.0.1:%d"], shards: 2}
plane: {mode: memory}
subscriber: {local_address: 100.64.0.1}
lacs: [{name: lab, prefixes: [127.0.0.0/8], hello: 5s}]
radius:
  auth: {servers: [{name: auth, address: "%s", secret: %s, timeout: 500ms, retries: 1, dead_time: 1s}]}
  acct: {servers: [{name: acct, address: "%s", secret: %s, timeout: 500ms, retries: 1, dead_time: 1s}]}
pools: [{name: main, ranges: [100.64.1.0/24]}]
journal: {dir: %s/journal}
api: {socket: %s/lnsd.sock, http: "127.0.0.1:0"}
%s`

func newLab(t *testing.T, db *pgtest.Server) *lab {
	l := &lab{t: t, dir: shortDir(t), db: db}
	var err error
	l.radius, err = radtest.New(radtest.Config{Secret: []byte(radiusSecret), AnyPassword: password})
	must(t, err)
	t.Cleanup(func() { l.radius.Close() })
	database := ""
	if db != nil {
		l.dbURL = db.NewDatabase(t)
		database = fmt.Sprintf("database: {url: %q, migrate: true}\n", l.dbURL)
	}
	l.port = freePort(t)
	text := fmt.Sprintf(config, l.port, l.radius.AuthAddr(), radiusSecret, l.radius.AcctAddr(), radiusSecret, l.dir, l.dir, database)
	must(t, os.WriteFile(filepath.Join(l.dir, "lnsd.yaml"), []byte(text), 0o600))
	l.start()
	t.Cleanup(func() {
		if l.lacs != nil {
			_ = l.lacs.Stop(syscall.SIGTERM, patience)
		}
		_ = l.lnsd.Stop(syscall.SIGTERM, patience)
		if t.Failed() {
			t.Logf("lnsd:\n%s", l.lnsd.Tail(30))
		}
	})
	return l
}

// start starts a life of lnsd.
func (l *lab) start() {
	l.t.Helper()
	l.lives++
	var err error
	l.lnsd, err = proc.Start(l.dir, fmt.Sprintf("lnsd%d", l.lives), nil,
		append([]string{cmp.Or(l.program, filepath.Join(bin, "lnsd")), "run", "--config", filepath.Join(l.dir, "lnsd.yaml")}, l.args...)...)
	must(l.t, err)
	must(l.t, proc.Await(patience, 50*time.Millisecond, l.lnsd, func() error { _, err := l.ctl("status"); return err }))
}

// ctl runs lnsctl.
func (l *lab) ctl(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(bin, "lnsctl"), append([]string{"--address", "unix://" + l.dir + "/lnsd.sock"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("lnsctl %v: %w: %s", args, err, out)
	}
	return string(out), err
}

// up is how many sessions are up.
func (l *lab) up() int {
	out, err := l.ctl("session", "list", "--state", "up", "-o", "json")
	if err != nil {
		return -1
	}
	return strings.Count(out, `"id"`)
}

// dial brings all sessions up and leaves them there.
func (l *lab) dial(more ...string) {
	l.t.Helper()
	ready := filepath.Join(l.dir, "ready.json")
	os.Remove(ready) // that of an earlier dial
	l.dialNoWait(append(more, "--ready-file", ready)...)
	must(l.t, proc.Await(patience, 50*time.Millisecond, l.lacs, func() error {
		_, err := os.Stat(ready)
		return err
	}))
	if n := l.up(); n != sessions {
		l.t.Fatalf("%d sessions are up, want %d", n, sessions)
	}
}

func (l *lab) dialNoWait(more ...string) {
	l.t.Helper()
	l.run(tunnels, each, append([]string{"--packets", "2", "--stay"}, more...)...)
}

// hangUp ends all sessions and expects lacsim to be content.
func (l *lab) hangUp() {
	l.t.Helper()
	fmt.Fprintln(l.stdin, "hangup")
	l.stdin.Close()
	if err := l.lacs.Wait(patience); err != nil {
		l.t.Errorf("lacsim: %v\n%s", err, l.lacs.Tail(20))
	}
	l.lacs = nil
}

// accounted waits until the server has a Start and a Stop of each of n sessions, and nothing twice.
func (l *lab) accounted(n int) {
	l.t.Helper()
	err := proc.Await(patience, 100*time.Millisecond, nil, func() error {
		c := l.radius.Counts()
		if c.Sessions != n || int(c.Starts) != n || int(c.Stops) != n || c.Open != 0 {
			return fmt.Errorf("want %d sessions with a Start and a Stop each, have %+v", n, c)
		}
		return nil
	})
	must(l.t, err)
	if c := l.radius.Counts(); c.StopsWithoutStart != 0 || c.RecordsAfterStop != 0 {
		l.t.Errorf("out of order: %+v", c)
	}
}

// rows is what a query counts in the database.
func (l *lab) rows(query string) (n int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, l.dbURL)
	if err != nil {
		return 0, err
	}
	defer c.Close(ctx)
	return n, c.QueryRow(ctx, query).Scan(&n)
}

// awaitRows waits until a query counts n.
func (l *lab) awaitRows(query string, n int) {
	l.t.Helper()
	must(l.t, proc.Await(patience, 50*time.Millisecond, l.lnsd, func() error {
		got, err := l.rows(query)
		if err == nil && got != n {
			err = fmt.Errorf("%s: %d, want %d", query, got, n)
		}
		return err
	}))
}

func TestRADIUSAccountingAwayDropsNobodyAndLosesNothing(t *testing.T) {
	l := newLab(t, nil)
	l.dial()
	l.radius.Behave(radtest.Behaviour{Silent: true, SilentStatus: true})
	time.Sleep(4 * time.Second) // long enough for the server to be declared dead
	if n := l.up(); n != sessions {
		t.Errorf("%d sessions are up while RADIUS is away, want %d", n, sessions)
	}
	l.hangUp()
	if c := l.radius.Counts(); c.Stops != 0 {
		t.Errorf("a silent server has taken %d Stops", c.Stops)
	}
	l.radius.Behave(radtest.Behaviour{})
	l.accounted(sessions)
}

// hangUpAnyway ends lacsim whatever it has to say.
func (l *lab) hangUpAnyway() {
	l.stdin.Close()
	_ = l.lacs.Stop(syscall.SIGTERM, patience)
	l.lacs = nil
}

func TestKillNineDropsNobody(t *testing.T) {
	l := newLab(t, nil)
	l.dial()
	l.accountedStarts()
	for range 3 {
		_ = l.lnsd.Stop(syscall.SIGKILL, patience)
		l.start()
		if n := l.up(); n != sessions {
			t.Errorf("%d sessions after the restart, want %d", n, sessions)
		}
	}
	time.Sleep(7 * time.Second) // HELLOs both ways
	l.hangUp()
	l.accounted(sessions)
	// The node is as good as new, and its Acct-Session-Ids are.
	l.dial()
	l.hangUp()
	l.accounted(2 * sessions)
}

// accountedStarts waits for the Starts, so that the test knows what the server has.
func (l *lab) accountedStarts() {
	l.t.Helper()
	must(l.t, proc.Await(patience, 50*time.Millisecond, nil, func() error {
		if c := l.radius.Counts(); int(c.Starts) != sessions {
			return fmt.Errorf("%d Starts", c.Starts)
		}
		return nil
	}))
}

func TestKillNineWithRADIUSAwayLosesNoRecord(t *testing.T) {
	l := newLab(t, nil)
	l.dial()
	l.accountedStarts()
	l.radius.Behave(radtest.Behaviour{Silent: true, SilentStatus: true})
	l.hangUp() // the Stops are in the journal only
	_ = l.lnsd.Stop(syscall.SIGKILL, patience)
	l.start()
	l.radius.Behave(radtest.Behaviour{})
	l.accounted(sessions)
}

func TestSIGTERMEndsEverythingInOrder(t *testing.T) {
	l := newLab(t, nil)
	l.dial("--allow-ended")
	if err := l.lnsd.Stop(syscall.SIGTERM, patience); err != nil {
		t.Errorf("lnsd: %v", err)
	}
	l.accounted(sessions)
	if !strings.Contains(l.lnsd.Tail(50), "stopped") {
		t.Errorf("lnsd's last words:\n%s", l.lnsd.Tail(5))
	}
	l.hangUpAnyway()
	l.start() // for the cleanup
}

func TestDatabaseDead(t *testing.T) {
	db := pgtest.Start(t)
	l := newLab(t, db)
	l.dial()
	l.awaitRows("select count(*) from current_sessions", sessions)
	db.Kill()
	l.hangUp()
	l.dial() // new calls meanwhile
	l.accountedStartsAtLeast(2 * sessions)
	must(t, db.Restart())
	l.awaitRows("select count(*) from current_sessions", sessions)
	l.awaitRows("select count(*) from session_history", sessions)
	l.hangUp()
	l.awaitRows("select count(*) from current_sessions", 0)
	l.awaitRows("select count(*) from session_history", 2*sessions)
	l.accounted(2 * sessions)
}

func (l *lab) accountedStartsAtLeast(n int) {
	l.t.Helper()
	must(l.t, proc.Await(patience, 50*time.Millisecond, nil, func() error {
		if c := l.radius.Counts(); int(c.Starts) < n {
			return fmt.Errorf("%d Starts, want %d", c.Starts, n)
		}
		return nil
	}))
}

func TestDatabaseStalled(t *testing.T) {
	db := pgtest.Start(t)
	l := newLab(t, db)
	db.Stall()
	l.dial() // which waits for no database
	db.Resume()
	l.awaitRows("select count(*) from current_sessions", sessions)
	l.hangUp()
	l.accounted(sessions)
	l.awaitRows("select count(*) from current_sessions", 0)
}
