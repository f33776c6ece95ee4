package sessiondb

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Opener connects to the store that a Writer writes to. It is called until it
// succeeds once; it must heed ctx.
type Opener func(ctx context.Context) (Store, error)

// WriterOptions tune a Writer. The zero value is good.
type WriterOptions struct {
	// Interval is how long a change may wait for others to be written with
	// it; 0 means 75 ms.
	Interval time.Duration
	// BatchSize bounds the changes of one Apply, and writes early when so
	// many are pending; 0 means 1,000.
	BatchSize int
	// MaxPending bounds the memory of pending changes in bytes, roughly; 0
	// means 64 MiB. Beyond it all of them are dropped and the store is
	// brought up to date from the source later.
	MaxPending int64
	// Timeout bounds one Apply, and one silence of a reader; 0 means 5 s.
	Timeout time.Duration
	// RetryFirst and RetryCap bound the pause after a failure, which
	// doubles from one to the other; 0 means 100 ms and 5 s.
	RetryFirst, RetryCap time.Duration
	// Serves, where set, says which local addresses are this node's at the
	// moment, for a cluster in which they move between nodes. A resync leaves
	// alone what the store has of other addresses, and writes nothing of them.
	Serves func(local netip.AddrPort) bool
	// OnConflict is told each change that the store refused for good. It is
	// called on the Writer's goroutine and must not block. It may be nil.
	OnConflict func(Change, error)
	// Log takes what an operator should know; nil means slog.Default.
	Log *slog.Logger
	// Now and Rand are for simulations, which call Step instead of Start and
	// whose stores keep the timeouts themselves; nil means the real ones. Rand gives
	// a number from 0 to n-1.
	Now  func() time.Time
	Rand func(n int64) int64
}

func (o WriterOptions) withDefaults() WriterOptions {
	o.Interval = cmp.Or(o.Interval, 75*time.Millisecond)
	o.BatchSize = cmp.Or(o.BatchSize, 1000)
	o.MaxPending = cmp.Or(o.MaxPending, 64<<20)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.RetryFirst = cmp.Or(o.RetryFirst, 100*time.Millisecond)
	o.RetryCap = cmp.Or(o.RetryCap, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Int64N
	}
	return o
}

// WriterStats are a Writer's figures. The counters only grow.
type WriterStats struct {
	// Connected is true while the last attempt to reach the store worked;
	// Resyncing while the store is being compared with the source.
	Connected, Resyncing bool
	// Pending counts the changes that wait, PendingBytes their memory.
	Pending      int
	PendingBytes int64
	// Lag is how far the store is behind: the age of the oldest change that
	// it may lack.
	Lag time.Duration
	// Submitted counts changes taken, Flushed changes written (coalesced
	// ones count once), Conflicts those refused, Dropped those given up on
	// overflow, to be made good by a resync.
	Submitted, Flushed, Conflicts, Dropped uint64
	// Resyncs counts finished resyncs; Repaired the changes they made;
	// HistoryGuessed the sessions among them whose end nobody recorded, so
	// that their history has the time of the resync and old counters.
	Resyncs, Repaired, HistoryGuessed uint64
	// Failures counts failed attempts; LastError is the last, empty again
	// after a success.
	Failures  uint64
	LastError string
}

// Writer writes changes to a store behind the caller's back: Submit never
// waits, whatever the store does. Memory is bounded; a store that is away for
// so long that the bound is reached is brought up to date from the source,
// the node's journal, when it is back. That is a resync: what the store has
// for this node is compared with what the source has, both in key order, and
// made equal, deletions included. Only the history is then best effort: a
// session that began and ended while changes were being dropped is missing in
// it, and one that ended then has a guessed end (HistoryGuessed).
//
// A resync also happens after Start, some time after a failure of the store,
// which may have lost what it had confirmed, and some time after a conflict,
// whose reason may have gone.
type Writer struct {
	open   Opener
	source Store
	opts   WriterOptions

	// some is signalled when the queue is no longer empty, full when it
	// holds a batch.
	some, full chan struct{}
	stop       chan struct{}
	done       chan struct{}
	cancel     context.CancelFunc

	// mu guards what follows.
	mu       sync.Mutex
	started  bool
	closing  bool
	queue    *queue
	inflight []Change  // taken from the queue, being written or to be written again
	since    time.Time // the age of inflight
	// discarding is true from an overflow until the resync that makes it
	// good begins; lostSince is when it began.
	discarding bool
	lostSince  time.Time
	stats      WriterStats
	waiters    waiters
	// asked is set by Resync until one begins.
	asked bool

	// Only the Writer's goroutine touches what follows.
	store      Store
	resyncAt   time.Time // when a resync is due; zero: none is
	lastResync time.Time
	left       int       // how many resyncs in a row had to leave something of an address that was not this node's then
	failures   int       // in a row
	failedAt   time.Time // the first of them
}

// NewWriter makes a Writer that brings what open gives up to date with
// source, which must have every change before it is submitted. Nothing
// happens before Start.
func NewWriter(open Opener, source Store, opts WriterOptions) *Writer {
	return &Writer{
		open: open, source: source, opts: opts.withDefaults(),
		some: make(chan struct{}, 1), full: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
		queue: newQueue(),
	}
}

// Start begins to write, with a resync. It returns at once; call it once.
func (w *Writer) Start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.started || w.closing {
		return
	}
	w.started = true
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go w.run(ctx)
}

// Submit implements Sink. It is safe for concurrent use; changes to one key
// must be submitted in their order.
func (w *Writer) Submit(changes []Change) {
	now := w.opts.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Submitted += uint64(len(changes))
	if w.discarding || w.closing {
		w.stats.Dropped += uint64(len(changes))
		return
	}
	before := w.queue.len()
	for _, c := range changes {
		if c.Op == PutCall || c.Op == DropCall {
			continue // of use to the node alone, see Journal
		}
		if err := c.Validate(); err != nil {
			w.stats.Conflicts++
			w.opts.Log.Error("sessiondb: change cannot be stored", "error", err)
			continue
		}
		w.queue.add(c, now)
	}
	if w.queue.bytes > w.opts.MaxPending {
		w.overflow()
		return
	}
	if before == 0 && w.queue.len() > 0 {
		signal(w.some)
	}
	if w.queue.len() >= w.opts.BatchSize {
		signal(w.full)
	}
}

// overflow gives up what is pending.
func (w *Writer) overflow() {
	w.opts.Log.Warn("sessiondb: too many changes wait for the database; it will be brought up to date from the journal",
		"dropped", w.queue.len())
	if w.lostSince.IsZero() {
		w.lostSince = w.queue.oldest()
	}
	w.stats.Dropped += uint64(w.queue.len())
	w.queue = w.queue.emptied()
	w.waiters.lost()
	w.discarding = true
	signal(w.some)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Stats gives the current figures.
func (w *Writer) Stats() WriterStats {
	now := w.opts.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Pending = w.queue.len() + len(w.inflight)
	s.PendingBytes = w.queue.bytes
	for i := range w.inflight {
		s.PendingBytes += w.inflight[i].size()
	}
	for _, t := range []time.Time{w.queue.oldest(), w.since, w.lostSince} {
		if !t.IsZero() {
			s.Lag = max(s.Lag, now.Sub(t))
		}
	}
	return s
}

// Close takes no more changes, writes what is pending until ctx ends, and
// closes the store. The error says what was left unwritten; the resync of the
// next Start makes it good.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	first := !w.closing
	w.closing = true
	started := w.started
	w.mu.Unlock()
	if !started {
		return nil
	}
	if first {
		close(w.stop)
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		w.cancel()
		<-w.done
	}
	if s := w.Stats(); s.Pending > 0 || w.unfinished() {
		return fmt.Errorf("sessiondb: the database is behind by %d changes and %v: %s", s.Pending, s.Lag.Round(time.Millisecond), s.LastError)
	}
	return nil
}

// unfinished tells whether dropped changes still wait for their resync.
func (w *Writer) unfinished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.lostSince.IsZero()
}
