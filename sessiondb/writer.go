package sessiondb

import (
	"context"
	"log/slog"
	"time"
)

// Opener connects to the store that a Writer writes to. It is called again
// whenever the store may have come back; it must heed ctx.
type Opener func(ctx context.Context) (Store, error)

// WriterOptions tune a Writer. The zero value is good.
type WriterOptions struct {
	// Interval is how often pending changes are written; 0 means 75 ms.
	Interval time.Duration
	// BatchSize bounds the changes of one Apply, and writes early when so
	// many are pending; 0 means 1,000.
	BatchSize int
	// MaxPending bounds the memory of pending changes in bytes, roughly; 0
	// means 64 MiB. Beyond it all of them are dropped and the store is
	// brought up to date from the source later.
	MaxPending int64
	// Timeout bounds one Apply; 0 means 5 s.
	Timeout time.Duration
	// RetryFirst and RetryCap bound the pause after a failure, which
	// doubles from one to the other; 0 means 100 ms and 5 s.
	RetryFirst, RetryCap time.Duration
	// OnConflict is told each change that the store refused for good. It is
	// called on the Writer's goroutine and must not block. It may be nil.
	OnConflict func(Change, error)
	// Log takes what an operator should know; nil means slog.Default.
	Log *slog.Logger
}

// WriterStats are a Writer's figures. The counters only grow.
type WriterStats struct {
	// Connected is true while the last attempt to reach the store worked;
	// Resyncing while the store is being compared with the source.
	Connected, Resyncing bool
	// Pending counts the changes that wait, PendingBytes their memory.
	Pending      int
	PendingBytes int64
	// Lag is the age of the oldest change that is not in the store; while a
	// resync is needed, the time since it became so.
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

// Writer writes changes to a store behind the caller's back.
type Writer struct{}

// NewWriter makes a Writer that brings what open gives up to date with
// source. Nothing happens before Start.
func NewWriter(open Opener, source Store, opts WriterOptions) *Writer { return &Writer{} }

// Start begins to write, with a resync. It returns at once.
func (w *Writer) Start() {}

// Submit implements Sink.
func (w *Writer) Submit(changes []Change) {}

// Stats gives the current figures.
func (w *Writer) Stats() WriterStats { return WriterStats{} }

// Close writes what is pending, until ctx ends, and closes the store. The
// error says what was left unwritten; the next Start makes it good.
func (w *Writer) Close(ctx context.Context) error { return nil }
