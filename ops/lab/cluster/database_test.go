package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// TestDatabase breaks the database under a cluster: nothing moves, nobody is
// dropped, and afterwards the tables are what the nodes have in memory.
func TestDatabase(t *testing.T) {
	killed := func(l *lab) {
		l.db.Kill()
		l.away()
		must(l.t, l.db.Restart())
	}
	stalled := func(l *lab) {
		l.db.Stall()
		l.away()
		l.db.Resume()
	}
	for _, c := range []struct {
		name  string
		extra string
		do    func(l *lab)
		// always: each fault once, with what is the more delicate; CLUSTER_FULL has the rest as well.
		always bool
	}{
		{"killed, behind a pgbouncer", "", killed, true},
		{"stalled, with durability cluster", ", durability: cluster, max_wait: 500ms", stalled, true},
		{"killed", "", killed, false},
		{"stalled", "", stalled, false},
	} {
		if !c.always && os.Getenv("CLUSTER_FULL") == "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			l := newLabBy(t, pgtest.Start(t), setup{family: overIPv4, extra: c.extra, bouncer: strings.HasSuffix(c.name, "pgbouncer")})
			l.dial()
			before := l.all("a", "b")
			began := time.Now()
			c.do(l)
			l.unmoved(before, began)
			l.hangUp()
			l.tables("a", "b")
		})
	}
}

// away lets the nodes be without the database for several leases, and kills
// and starts one of them meanwhile.
func (l *lab) away() {
	l.t.Helper()
	time.Sleep(2 * lease)
	a := l.nodes["a"]
	a.kill()
	a.start()
	l.owns("a", "b")
	time.Sleep(2 * lease)
}

// unmoved checks that each node has what it had.
func (l *lab) unmoved(before []string, began time.Time) {
	l.t.Helper()
	l.owns("a", "b")
	l.same(before, "a", "b")
	for i, want := range []string{"a", "b"} {
		if turns, _ := l.watch.turns(l.service[i], began); turns != want {
			l.t.Errorf("in turn, %q sent from %v; want only %s", turns, l.service[i], want)
		}
	}
	l.tables("a", "b")
}

// TestDatabaseFailover fails over to a standby that replicates by streaming.
func TestDatabaseFailover(t *testing.T) {
	primary := pgtest.Start(t)
	standby := primary.Standby(t)
	l := newLab(t, primary, "", standby)
	l.dial()
	before := l.all("a", "b")
	l.tables("a", "b")
	began := time.Now()
	primary.Kill()
	time.Sleep(2 * lease)
	must(t, standby.Promote())
	promoted := time.Now()
	l.dbURL = strings.Replace(l.dbURL, fmt.Sprint(":", primary.Port, "/"), fmt.Sprint(":", standby.Port, "/"), 1)
	l.unmoved(before, began)
	t.Logf("the tables are right %v after the promotion", time.Since(promoted).Round(time.Millisecond))
	// The cluster works on: a is killed, and b takes over by the standby.
	time.Sleep(2 * lease)
	l.nodes["a"].kill()
	must(t, proc.Await(takeover+patience, 50*time.Millisecond, nil, func() error {
		if s := l.nodes["b"].serving(); len(s) != 2 {
			return fmt.Errorf("b serves %v", s)
		}
		return nil
	}))
	l.same(before, "b")
	l.hangUp()
}

// TestDatabaseDiskFull has no room left for the database.
func TestDatabaseDiskFull(t *testing.T) {
	if !proc.Inside() {
		t.Skip("needs root, for namespaces")
	}
	dir, err := os.MkdirTemp("", "disk")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, syscall.Mount("disk", dir, "tmpfs", 0, "size=192m,mode=1777"))
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	t.Setenv("TMPDIR", dir)
	db := pgtest.Start(t)
	t.Setenv("TMPDIR", os.TempDir()[:0]) // the rest elsewhere
	l := newLab(t, db, "")
	l.dial()
	before := l.all("a", "b")
	l.tables("a", "b")
	began := time.Now()
	filler := filepath.Join(dir, "filler")
	must(t, fill(filler))
	// Something that needs room: it fails, and may take the server with it.
	must(t, proc.Await(patience, 100*time.Millisecond, nil, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c, err := pgx.Connect(ctx, l.dbURL)
		if err != nil {
			return nil // it is down already
		}
		defer c.Close(ctx)
		if _, err = c.Exec(ctx, "create table if not exists ballast (x text); insert into ballast select repeat(md5(random()::text), 100) from generate_series(1, 5000)"); err != nil {
			l.t.Logf("the database: %v", err)
			return nil
		}
		return errors.New("there is room still")
	}))
	time.Sleep(3 * lease)
	l.same(before, "a", "b")
	must(t, os.Remove(filler))
	db.Kill() // as an operator does who has made room; it may have ended by itself
	must(t, db.Restart())
	l.unmoved(before, began)
	l.hangUp()
}

// fill writes until there is no room.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 64<<10)
	for {
		if _, err := f.Write(b); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
