package postgres

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/postgres/pgtest"
	"culvert/sessiondb/storetest"
)

func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// node is a journal with a Writer to a server of its own.
type node struct {
	t       *testing.T
	server  *pgtest.Server
	db      string
	journal storetest.Memory
	walk    storetest.Walk
	slowest time.Duration
	*sessiondb.Writer
}

func newNode(t *testing.T, opts sessiondb.WriterOptions) *node {
	n := &node{t: t, server: pgtest.Start(t), walk: storetest.Walk{Rand: newRand(), Keys: 500, Addresses: 2000}}
	n.db = n.server.NewDatabase(t)
	if err := Migrate(t.Context(), n.db); err != nil {
		t.Fatal(err)
	}
	opts.Log = slog.New(slog.DiscardHandler)
	opts.Timeout, opts.RetryCap = 500*time.Millisecond, 200*time.Millisecond
	n.Writer = sessiondb.NewWriter(func(ctx context.Context) (sessiondb.Store, error) {
		return Open(ctx, Config{ConnString: n.db, Node: storetest.Node, StatementTimeout: time.Second})
	}, &n.journal, opts)
	return n
}

// work makes changes for a while.
func (n *node) work(d time.Duration) {
	n.t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		batch := n.walk.Batch(20)
		if err := n.journal.Apply(n.t.Context(), batch); err != nil {
			n.t.Fatal(err)
		}
		before := time.Now()
		n.Submit(batch)
		n.slowest = max(n.slowest, time.Since(before))
	}
}

// settled waits until everything is written, and compares.
func (n *node) settled() {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s := n.Stats()
		if s.Connected && s.Lag == 0 && s.Pending == 0 && !s.Resyncing {
			break
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("not written after 20 s: %+v", s)
		}
	}
	store := mustOpen(n.t, n.db)
	defer store.Close()
	if err := storetest.Same(n.t.Context(), store, &n.journal); err != nil {
		n.t.Error(err)
	}
}

// TestServerFaults breaks the server while changes go on: Submit never
// waits, and afterwards the tables have what the journal has.
func TestServerFaults(t *testing.T) {
	t.Parallel()
	n := newNode(t, sessiondb.WriterOptions{})
	n.Start()
	n.work(300 * time.Millisecond)
	n.settled()
	restart := func() {
		if err := n.server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	for _, fault := range []struct {
		name          string
		begin, repair func()
	}{
		{"killed", n.server.Kill, restart},
		{"stalled", n.server.Stall, n.server.Resume},
		{"restarted", n.server.Stop, restart},
		{"stalled again", n.server.Stall, n.server.Resume},
	} {
		n.work(200 * time.Millisecond)
		fault.begin()
		n.work(1500 * time.Millisecond)
		if s := n.Stats(); s.Connected || s.Lag < time.Second {
			t.Errorf("%s: %+v", fault.name, s)
		}
		fault.repair()
		n.work(200 * time.Millisecond)
		n.settled()
	}
	s := n.Stats()
	if s.Dropped != 0 || s.Conflicts != 0 {
		t.Errorf("stats are %+v", s)
	}
	if n.slowest > 100*time.Millisecond { // the scheduler's share on a busy machine
		t.Errorf("Submit took %v", n.slowest)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestServerFaultsOverflow has more changes than memory while the server is
// stalled.
func TestServerFaultsOverflow(t *testing.T) {
	t.Parallel()
	n := newNode(t, sessiondb.WriterOptions{MaxPending: 200_000})
	n.Start()
	n.work(300 * time.Millisecond)
	n.server.Stall()
	n.work(1500 * time.Millisecond)
	if s := n.Stats(); s.Dropped == 0 {
		t.Errorf("nothing was dropped: %+v", s)
	}
	n.server.Resume()
	n.work(200 * time.Millisecond)
	n.settled()
	if s := n.Stats(); s.Resyncs < 2 || s.HistoryGuessed == 0 {
		t.Errorf("stats are %+v", s)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestVisibleSoon wants a change in SQL within a second.
func TestVisibleSoon(t *testing.T) {
	t.Parallel()
	n := newNode(t, sessiondb.WriterOptions{})
	n.Start()
	n.work(100 * time.Millisecond)
	n.settled()
	c := connect(t, n.db)
	session := storetest.SessionOf(7777)
	before := time.Now()
	n.Submit([]sessiondb.Change{put(session)})
	for seen := 0; seen == 0; time.Sleep(5 * time.Millisecond) {
		if err := c.QueryRow(t.Context(), "select count(*) from current_sessions where user_name = $1", session.User).Scan(&seen); err != nil {
			t.Fatal(err)
		}
		if time.Since(before) > time.Second {
			t.Fatal("not visible after a second")
		}
	}
	t.Logf("visible after %v", time.Since(before))
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestStartsBeforeServer has the server come up after the node.
func TestStartsBeforeServer(t *testing.T) {
	t.Parallel()
	n := newNode(t, sessiondb.WriterOptions{})
	n.server.Stop()
	n.Start()
	n.work(500 * time.Millisecond)
	if err := n.server.Restart(); err != nil {
		t.Fatal(err)
	}
	n.settled()
	// Closing while the server is stalled gives up in time.
	n.server.Stall()
	n.work(10 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	before := time.Now()
	if err := n.Close(ctx); err == nil || time.Since(before) > 5*time.Second {
		t.Errorf("closed after %v with error %v", time.Since(before), err)
	}
}
