package sessiondb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// faulty is a store that can be dead, stalled, or choosy.
type faulty struct {
	storetest.Memory

	mu     sync.Mutex
	mode   string // "", "dead", "stalled"
	choosy bool   // refuses an address that another session has
	taken  map[netip.Addr]sessiondb.SessionKey
	calls  atomic.Int64
}

func (f *faulty) set(mode string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode = mode
}

func (f *faulty) open(ctx context.Context) (sessiondb.Store, error) {
	if err := f.fault(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *faulty) fault(ctx context.Context) error {
	f.mu.Lock()
	mode := f.mode
	f.calls.Add(1)
	f.mu.Unlock()
	switch mode {
	case "dead":
		return errors.New("connection refused")
	case "stalled":
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f *faulty) Apply(ctx context.Context, changes []sessiondb.Change) error {
	if err := f.fault(ctx); err != nil {
		return err
	}
	if f.choosy {
		return f.applyChoosy(ctx, changes)
	}
	return f.Memory.Apply(ctx, changes)
}

func (f *faulty) applyChoosy(ctx context.Context, changes []sessiondb.Change) error {
	var refused sessiondb.ConflictError
	for _, c := range changes {
		if holder, ok := f.taken[addressOf(c)]; ok && c.Op == sessiondb.PutSession && holder != c.Session.Key {
			refused.Changes = append(refused.Changes, c)
			refused.Errs = append(refused.Errs, sessiondb.ErrConflict)
			continue
		}
		if c.Op == sessiondb.PutSession || c.Op == sessiondb.DropSession {
			for a, holder := range f.taken {
				if holder == c.Session.Key {
					delete(f.taken, a)
				}
			}
		}
		if a := addressOf(c); a.IsValid() {
			f.taken[a] = c.Session.Key
		}
		if err := f.Memory.Apply(ctx, []sessiondb.Change{c}); err != nil {
			return err
		}
	}
	if len(refused.Changes) > 0 {
		return &refused
	}
	return nil
}

func addressOf(c sessiondb.Change) netip.Addr {
	if c.Op != sessiondb.PutSession {
		return netip.Addr{}
	}
	return c.Session.Address
}

// node is a journal and a Writer behind it.
type node struct {
	t       *testing.T
	journal storetest.Memory
	store   faulty
	*sessiondb.Writer
}

func newNode(t *testing.T, opts sessiondb.WriterOptions) *node {
	n := &node{t: t}
	n.store.taken = make(map[netip.Addr]sessiondb.SessionKey)
	opts.Log = slog.New(slog.DiscardHandler)
	n.Writer = sessiondb.NewWriter(n.store.open, &n.journal, opts)
	return n
}

// change does what a shard does.
func (n *node) change(changes ...sessiondb.Change) {
	n.t.Helper()
	if err := n.journal.Apply(n.t.Context(), changes); err != nil {
		n.t.Fatal(err)
	}
	before := time.Now()
	n.Submit(changes)
	if took := time.Since(before); took > 0 { // virtual time passes only while something waits
		n.t.Errorf("Submit waited for %v", took)
	}
}

// same compares the store with the journal.
func (n *node) same() {
	n.t.Helper()
	if err := storetest.Same(n.t.Context(), n.store.Reopened(), &n.journal); err != nil {
		n.t.Error(err)
	}
}

func (n *node) close() {
	n.t.Helper()
	if err := n.Close(n.t.Context()); err != nil {
		n.t.Errorf("closing: %v", err)
	}
}

func put(n int) sessiondb.Change {
	s := storetest.SessionOf(n)
	return sessiondb.Change{Op: sessiondb.PutSession, Session: &s}
}

func drop(n int) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.DropSession, Session: &sessiondb.Session{Key: storetest.SessionOf(n).Key},
		End: &sessiondb.End{At: time.Now(), Cause: "User-Request"}}
}

func entry(n int) sessiondb.Change {
	e := storetest.EntryOf(n)
	return sessiondb.Change{Op: sessiondb.PutEntry, Entry: &e}
}

func TestWriterWritesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, sessiondb.WriterOptions{})
		n.Start()
		time.Sleep(time.Second)
		n.change(put(1), put(2), entry(1))
		n.change(drop(1))
		time.Sleep(80 * time.Millisecond)
		n.same()
		s := n.Stats()
		if s.Flushed != 4 || s.Submitted != 4 || s.Pending != 0 || s.PendingBytes != 0 || s.Lag != 0 || !s.Connected || s.Resyncs != 1 {
			t.Errorf("stats are %+v", s)
		}
		if h := n.store.History(); len(h) != 1 || h[0].End.Cause != "User-Request" {
			t.Errorf("history is %+v", h)
		}
		n.close()
	})
}

// TestWriterFullBatch has a batch that is full go at once.
func TestWriterFullBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, sessiondb.WriterOptions{BatchSize: 10, Interval: time.Hour})
		n.Start()
		time.Sleep(time.Second)
		for i := range 10 {
			n.change(put(i))
		}
		synctest.Wait()
		n.same()
		n.change(put(100))
		n.close() // writes the rest
		n.same()
	})
}

func TestWriterIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, sessiondb.WriterOptions{})
		n.Start()
		time.Sleep(23 * time.Hour)
		if n.store.calls.Load() > 1 { // the opening
			t.Errorf("%d calls without work", n.store.calls.Load())
		}
		n.close()
	})
}

func TestWriterOutage(t *testing.T) {
	for _, mode := range []string{"dead", "stalled"} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testOutage(t, mode) })
		})
	}
}

func testOutage(t *testing.T, mode string) {
	n := newNode(t, sessiondb.WriterOptions{BatchSize: 10})
	n.Start()
	n.change(put(1), put(2))
	time.Sleep(time.Second)
	n.store.set(mode)
	for i := range 100 {
		n.change(put(i), put(i+1), drop(i), entry(i+1))
		time.Sleep(100 * time.Millisecond)
	}
	s := n.Stats()
	if s.Connected || s.Lag < 9*time.Second || s.Lag > 11*time.Second || s.LastError == "" || s.Failures < 1 || s.Pending == 0 {
		t.Errorf("during the outage: %+v", s)
	}
	n.store.set("")
	time.Sleep(11 * time.Second) // the longest pause and the longest call
	n.same()
	if h := n.store.History(); len(h) != 100 {
		t.Errorf("%d in the history", len(h))
	}
	if s := n.Stats(); !s.Connected || s.Lag != 0 || s.LastError != "" || s.Dropped != 0 {
		t.Errorf("after the outage: %+v", s)
	}
	// What the store had confirmed and lost is found later.
	k := storetest.SessionOf(100).Key
	if err := n.store.Memory.Apply(t.Context(), []sessiondb.Change{{Op: sessiondb.DropSession, Session: &sessiondb.Session{Key: k}}}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	n.same()
	n.close()
}

// TestWriterStart repairs all that a store can have wrong.
func TestWriterStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, sessiondb.WriterOptions{BatchSize: 7})
		walk := storetest.Walk{Rand: rand.New(rand.NewPCG(1, 2)), Keys: 100, Addresses: 1000}
		for _, m := range []*storetest.Memory{&n.store.Memory, &n.journal} {
			if err := m.Apply(t.Context(), walk.Batch(1000)); err != nil {
				t.Fatal(err)
			}
		}
		if storetest.Same(t.Context(), &n.store.Memory, &n.journal) == nil {
			t.Fatal("there is nothing to repair")
		}
		before := len(n.store.History())
		n.Start()
		time.Sleep(time.Second)
		n.same()
		s := n.Stats()
		if s.Resyncs != 1 || s.Repaired == 0 || int(s.HistoryGuessed) != len(n.store.History())-before || s.HistoryGuessed == 0 {
			t.Errorf("stats are %+v", s)
		}
		n.close()
	})
}

// TestWriterOverflow has more changes than memory.
func TestWriterOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, sessiondb.WriterOptions{MaxPending: 100_000, BatchSize: 50})
		n.Start()
		n.change(put(1), put(2), put(3))
		time.Sleep(time.Second)
		n.store.set("stalled")
		n.change(drop(1))
		for i := range 1000 {
			n.change(put(i+10), entry(i+1))
			if s := n.Stats(); s.PendingBytes > 150_000 {
				t.Fatalf("%d bytes are pending", s.PendingBytes)
			}
			time.Sleep(10 * time.Millisecond)
		}
		n.change(drop(2))
		s := n.Stats()
		if s.Dropped == 0 || s.Lag < 9*time.Second {
			t.Errorf("during the outage: %+v", s)
		}
		n.store.set("")
		time.Sleep(15 * time.Second)
		n.same()
		s = n.Stats()
		if s.Lag != 0 || s.Resyncs != 2 || s.HistoryGuessed != 1 {
			t.Errorf("after the outage: %+v", s)
		}
		if h := n.store.History(); len(h) != 2 || h[1].End.Cause != "unknown" || h[1].End.InOctets != storetest.SessionOf(2).InOctets {
			t.Errorf("history is %+v", h)
		}
		n.close()
	})
}

func TestWriterConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refused []string
		n := newNode(t, sessiondb.WriterOptions{OnConflict: func(c sessiondb.Change, err error) {
			refused = append(refused, fmt.Sprint(c.Session.Key.ID, errors.Is(err, sessiondb.ErrConflict)))
		}})
		n.store.choosy = true
		n.Start()
		time.Sleep(time.Second)
		second := put(2)
		second.Session.Address = storetest.SessionOf(1).Address
		n.change(put(1), second, put(3))
		time.Sleep(time.Second)
		if s := n.Stats(); s.Conflicts != 1 || !s.Connected || s.Pending != 0 || fmt.Sprint(refused) != "[3 true]" {
			t.Errorf("refused %v, stats %+v", refused, s)
		}
		// The first gives the address up; the second gets it in time.
		n.change(drop(1))
		time.Sleep(6 * time.Minute)
		n.same()
		n.close()
	})
}

// TestWriterInvalid has changes that no store takes among good ones.
func TestWriterInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, sessiondb.WriterOptions{})
		n.Start()
		n.Submit([]sessiondb.Change{{Op: sessiondb.PutSession}, {}})
		n.change(put(1))
		time.Sleep(time.Second)
		n.same()
		if s := n.Stats(); s.Conflicts != 2 || s.Flushed != 1 {
			t.Errorf("stats are %+v", s)
		}
		n.close()
	})
}

func TestWriterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, sessiondb.WriterOptions{})
		if err := n.Close(t.Context()); err != nil {
			t.Errorf("never started: %v", err)
		}
		n = newNode(t, sessiondb.WriterOptions{})
		n.Start()
		time.Sleep(time.Second)
		n.store.set("stalled")
		n.change(put(1))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		before := time.Now()
		err := n.Close(ctx)
		if err == nil || time.Since(before) > 6*time.Second {
			t.Errorf("error %v after %v", err, time.Since(before))
		}
		if err := n.Close(t.Context()); err == nil {
			t.Error("the second Close knows nothing of what is lost")
		}
		n.Submit([]sessiondb.Change{put(2)})
		if s := n.Stats(); s.Dropped != 1 {
			t.Errorf("after Close: %+v", s)
		}
	})
}

// TestWriterRandom is a node with random changes and a store with random
// faults; in the end both have the same.
func TestWriterRandom(t *testing.T) {
	for range 20 {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			n := newNode(t, sessiondb.WriterOptions{BatchSize: 1 + rnd.IntN(40), MaxPending: 20_000 + rnd.Int64N(100_000)})
			n.Start()
			walk := storetest.Walk{Rand: rnd, Keys: 60, Addresses: 100}
			modes := []string{"", "", "dead", "stalled"}
			for range 300 {
				n.change(walk.Batch(1 + rnd.IntN(30))...)
				time.Sleep(time.Duration(rnd.Int64N(int64(200 * time.Millisecond))))
				if rnd.IntN(20) == 0 {
					n.store.set(modes[rnd.IntN(len(modes))])
				}
			}
			n.store.set("")
			n.close()
			if err := storetest.Same(t.Context(), n.store.Reopened(), &n.journal); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}
