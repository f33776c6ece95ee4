// Package outbox brings accounting records from the journal to an accounting
// server: each at least once, those of a session in order, a Start or Stop
// never lost.
//
// A record is in the journal before it is submitted and leaves the journal after
// it has been acknowledged. In between the outbox keeps it in memory, or, when
// very many wait, a stub of it.
package outbox

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"culvert/aaa"
	"culvert/sessiondb"
)

// Config tunes an Outbox. The zero value is good.
type Config struct {
	// Node is the node's name in the journal's entries.
	Node string
	// Concurrency is how many records may be with the Accountant at once (256).
	Concurrency int
	// RetryFirst and RetryCap bound the wait before a record that no server
	// acknowledged is tried again: 1 second doubling up to 1 minute.
	RetryFirst, RetryCap time.Duration
	// MemoryRecords is how many waiting records are kept whole in memory
	// (65,536); of the others there is a stub, and they are read back from the
	// journal when their turn comes.
	MemoryRecords int
	// DropEvery is the longest wait before acknowledged records are dropped
	// from the journal, in batches (50 ms).
	DropEvery time.Duration
	// Log may be nil.
	Log *slog.Logger
	// Now and Rand are for simulations; nil means the real ones. Rand gives a number from 0 to n-1.
	Now  func() time.Time
	Rand func(n int64) int64
}

func (c Config) withDefaults() Config {
	c.Concurrency = orDefault(c.Concurrency, 256)
	c.RetryFirst = orDefault(c.RetryFirst, time.Second)
	c.RetryCap = max(orDefault(c.RetryCap, time.Minute), c.RetryFirst)
	c.MemoryRecords = orDefault(c.MemoryRecords, 1<<16)
	c.DropEvery = orDefault(c.DropEvery, 50*time.Millisecond)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Int64N
	}
	return c
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Stats are an Outbox's state and counters.
type Stats struct {
	// Pending records are not acknowledged, InFlight of them are with the
	// Accountant, Stubs of them are in the journal only.
	Pending, InFlight, Stubs int
	// Away is true while the Accountant answers nothing and is only tried now and then.
	Away bool
	// Submitted, Acknowledged, Coalesced (interims that a later record of
	// their session made needless), Retried and Corrupt (entries of the
	// journal that could not be read) count records since New.
	Submitted, Acknowledged, Coalesced, Retried, Corrupt uint64
	// JournalErrors counts failures to read from the journal or to drop from it.
	JournalErrors uint64
}

// Outbox implements aaa.Ledger. Its goroutine run hands records to the
// Accountant, drop takes acknowledged ones out of the journal.
type Outbox struct {
	// Immutable.
	cfg        Config
	journal    sessiondb.Store
	accountant aaa.Accountant
	seed       maphash.Seed
	wake       chan struct{} // something for run to do
	dropWake   chan struct{}
	stop       context.CancelFunc
	stopped    context.Context
	wg         sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	sessions map[uint64]*session
	ready    list    // sessions whose first record may go
	waiting  waiting // sessions whose first record failed, by when to try again
	pace     pace
	whole    int      // records in memory
	drops    []uint64 // acknowledged or superseded, still in the journal
	idle     chan struct{}
	stats    Stats
}

var _ aaa.Ledger = (*Outbox)(nil)

// New makes an Outbox that drops acknowledged entries from the journal. Of the
// journal it uses Apply and Entries only; give one that passes changes on to
// the cluster's store where there is one. The caller must Close the outbox.
func New(cfg Config, journal sessiondb.Store, accountant aaa.Accountant) *Outbox {
	o := NewManual(cfg, journal, accountant)
	o.wg.Add(2)
	go o.run()
	go o.drop()
	return o
}

// NewManual makes an Outbox without goroutines, for simulations: it acts when
// Step is called, and is not closed.
func NewManual(cfg Config, journal sessiondb.Store, accountant aaa.Accountant) *Outbox {
	cfg = cfg.withDefaults()
	o := &Outbox{
		cfg: cfg, journal: journal, accountant: accountant, seed: maphash.MakeSeed(),
		wake: make(chan struct{}, 1), dropWake: make(chan struct{}, 1),
		sessions: map[uint64]*session{}, pace: newPace(cfg),
	}
	o.stopped, o.stop = context.WithCancel(context.Background())
	return o
}

// Load takes up what the journal holds and tells how many records that is.
// Call it once, before the first Submit. Entries that cannot be read are
// logged, counted and left in the journal.
func (o *Outbox) Load(ctx context.Context) (int, error) {
	n := 0
	for e, err := range o.journal.Entries(ctx) {
		if err != nil {
			return n, fmt.Errorf("outbox: reading the journal: %w", err)
		}
		u, err := aaa.ParseUsage(e.Payload)
		if err != nil {
			o.corrupt(e, err)
			continue
		}
		o.mu.Lock()
		o.add(&u)
		o.mu.Unlock()
		n++
	}
	o.poke()
	return n, nil
}

func (o *Outbox) corrupt(e sessiondb.Entry, err error) {
	o.mu.Lock()
	o.stats.Corrupt++
	o.mu.Unlock()
	o.cfg.Log.Error("accounting record in the journal cannot be read", "seq", e.Seq, "session", e.Session, "err", err)
}

// Submit is that of aaa.Ledger. The records must be in the journal already,
// each as an Entry of its Seq. The slice may be reused, what its elements
// refer to must not change.
func (o *Outbox) Submit(records []aaa.Usage) {
	o.mu.Lock()
	if !o.closed {
		for i := range records {
			o.add(&records[i])
		}
		o.stats.Submitted += uint64(len(records))
	}
	o.mu.Unlock()
	o.poke()
}

func (o *Outbox) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Stats gives the state and the counters.
func (o *Outbox) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats
	s.Stubs, s.Away = s.Pending-o.whole, o.pace.away()
	return s
}

// Close waits until everything is acknowledged or ctx is done, applies what
// is to be dropped to the journal, and stops. What is left stays in the
// journal for the next Load; the error tells how many records that is.
// Records submitted after Close stay in the journal as well. Close may be
// called once.
func (o *Outbox) Close(ctx context.Context) error {
	o.mu.Lock()
	o.closed = true
	o.idle = make(chan struct{})
	idle := o.idle
	o.checkIdle()
	o.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	o.stop()
	o.wg.Wait()
	o.mu.Lock()
	left := o.stats.Pending
	o.mu.Unlock()
	if err := o.flush(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("outbox: dropping acknowledged records: %w", err)
	}
	if left > 0 {
		return fmt.Errorf("outbox: %d accounting records are not acknowledged; they stay in the journal", left)
	}
	return nil
}

// checkIdle tells Close that nothing is pending any more. The caller holds mu.
func (o *Outbox) checkIdle() {
	if o.idle != nil && o.stats.Pending == 0 {
		close(o.idle)
		o.idle = nil
	}
}
