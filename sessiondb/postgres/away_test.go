package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/postgres/pgtest"
	"culvert/sessiondb/storetest"
)

// TestBouncer works through a pgbouncer in transaction mode that has fewer
// connections than there are clients: migrations, batches and readers.
func TestBouncer(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, "fsync=off")
	b := pgtest.StartBouncer(t, s, 2)
	direct := s.NewDatabase(t)
	db := b.Through(s, direct)
	if err := Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	var models [3]storetest.Memory
	done := make(chan error, len(models))
	for i := range models {
		go func() {
			done <- func() error {
				name := storetest.Node // the walk's
				if i > 0 {
					name = fmt.Sprint("other-", i)
				}
				store, err := Open(t.Context(), Config{ConnString: db, Node: name})
				if err != nil {
					return err
				}
				defer store.Close()
				walk := storetest.Walk{Rand: newRand(), Keys: 20, Addresses: 30}
				for n := range 30 {
					batch := walk.Batch(30)
					if i > 0 { // accounting records are each node's own
						e := storetest.EntryOf(n + 1)
						e.Node = name
						batch = []sessiondb.Change{{Op: sessiondb.PutEntry, Entry: &e}}
					}
					if err := errors.Join(store.Apply(t.Context(), batch), models[i].Apply(t.Context(), batch)); err != nil {
						return err
					}
					if err := storetest.Same(t.Context(), store, &models[i]); err != nil {
						return fmt.Errorf("batch %d: %w", n, err)
					}
				}
				return store.MaintainHistory(t.Context(), time.Hour)
			}()
		}()
	}
	for range models {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Log(b.Log())
	}
}

// TestFailover has the database fail over to a standby while changes go on,
// with a connection string that names both.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, "fsync=off")
	standby := primary.Standby(t)
	n := &node{t: t, server: primary, walk: storetest.Walk{Rand: newRand(), Keys: 300, Addresses: 1000}}
	both := fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/", primary.Port, standby.Port)
	name := primary.NewDatabase(t)
	n.db = both + name[strings.LastIndexByte(name, '/')+1:] + "&target_session_attrs=read-write&connect_timeout=2"
	if err := Migrate(t.Context(), n.db); err != nil {
		t.Fatal(err)
	}
	n.Writer = sessiondb.NewWriter(func(ctx context.Context) (sessiondb.Store, error) {
		return Open(ctx, Config{ConnString: n.db, Node: storetest.Node, StatementTimeout: time.Second})
	}, &n.journal, sessiondb.WriterOptions{Timeout: 3 * time.Second, RetryCap: 200 * time.Millisecond})
	n.Start()
	n.work(300 * time.Millisecond)
	n.settled()
	n.work(300 * time.Millisecond)
	primary.Kill()
	n.work(500 * time.Millisecond)
	began := time.Now()
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	n.work(200 * time.Millisecond)
	// The resync after a failure waits, for the sake of a database that
	// comes and goes; what the standby lacks of the last moments comes with it.
	n.waitSame(60 * time.Second)
	t.Logf("the tables are right again %v after the promotion", time.Since(began).Round(time.Millisecond))
	if n.slowest > 100*time.Millisecond {
		t.Errorf("Submit took %v", n.slowest)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// waitSame waits until the tables have what the journal has.
func (n *node) waitSame(limit time.Duration) {
	n.t.Helper()
	store := mustOpen(n.t, n.db)
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = storetest.Same(n.t.Context(), store, &n.journal); err == nil {
			return
		}
	}
	n.t.Errorf("after %v: %v; %+v", limit, err, n.Stats())
}
