package sessiondb_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// unsteady is a store that is away, whose answers get lost, or that forgets what it had
// confirmed, as one that has failed over.
type unsteady struct {
	storetest.Memory
	away, lost bool
}

var errAway = errors.New("test: away")

func (u *unsteady) open(context.Context) (sessiondb.Store, error) {
	if u.away {
		return nil, errAway
	}
	return u, nil
}

// Close keeps what is in it.
func (u *unsteady) Close() error { return nil }

func (u *unsteady) Apply(ctx context.Context, changes []sessiondb.Change) error {
	if u.away {
		return errAway
	}
	if err := u.Memory.Apply(ctx, changes); err != nil {
		return err
	}
	if u.lost {
		return errAway // after it was done
	}
	return nil
}

// fuzzedWriter is a Writer in virtual time behind a journal, as a node has it.
type fuzzedWriter struct {
	t       *testing.T
	now     time.Time
	journal storetest.Memory
	store   unsteady
	w       *sessiondb.Writer
	opts    sessiondb.WriterOptions
}

// change does what a shard does: journal first.
func (z *fuzzedWriter) change(c sessiondb.Change) {
	if err := z.journal.Apply(z.t.Context(), []sessiondb.Change{c}); err != nil {
		z.t.Fatal(err)
	}
	z.w.Submit([]sessiondb.Change{c})
}

func (z *fuzzedWriter) step(op, arg byte) {
	n := int(arg) % 12
	switch op % 9 {
	case 0:
		z.change(put(n))
	case 1:
		z.change(drop(n))
	case 2:
		z.change(entry(n + 1))
	case 3:
		e := storetest.EntryOf(n + 1)
		z.change(sessiondb.Change{Op: sessiondb.DropEntry, Entry: &e})
	case 4:
		z.store.away = arg&1 != 0
	case 5:
		z.store.lost = arg&1 != 0
	case 6:
		// It fails over to one that lacks the latest, while something is being written.
		_ = z.store.Memory.Apply(z.t.Context(), []sessiondb.Change{drop(n)})
		z.store.away = true
		z.change(entry(n + 1))
		z.advance(z.w.Step(z.t.Context()))
		z.store.away = false
	case 7:
		z.w = sessiondb.NewWriter(z.store.open, &z.journal, z.opts) // the process dies
	case 8:
		z.advance(time.Duration(arg) * 50 * time.Millisecond)
	}
	pause := z.w.Step(z.t.Context())
	s := z.w.Stats()
	if pause < 0 || s.PendingBytes > z.opts.MaxPending+4096 || s.Pending > 0 && pause > 10*time.Second {
		z.t.Fatalf("pause %v, %+v", pause, s)
	}
}

func (z *fuzzedWriter) advance(d time.Duration) { z.now = z.now.Add(min(d, time.Minute)) }

// FuzzWriter has a database go away, lose its answers and what it had confirmed, and a process die, in
// any order: what waits is bounded, and in the end the database has what the journal has.
func FuzzWriter(f *testing.F) {
	f.Add(uint8(9), []byte{0, 1, 0, 2, 1, 1, 2, 3, 3, 3, 8, 200})
	f.Add(uint8(1), []byte{4, 1, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 2, 1, 2, 2, 4, 0, 8, 255})
	f.Add(uint8(0), []byte{5, 1, 0, 1, 1, 1, 5, 0, 8, 9, 0, 1, 7, 0, 1, 1})
	f.Add(uint8(30), []byte{0, 1, 0, 2, 0, 3, 6, 2, 8, 255, 1, 2, 7, 0, 0, 9})
	f.Fuzz(func(t *testing.T, size uint8, ops []byte) {
		z := &fuzzedWriter{t: t, now: time.Unix(1_800_000_000, 0)}
		z.opts = sessiondb.WriterOptions{
			BatchSize: 1 + int(size)%8, MaxPending: 1000 + int64(size)*100, Log: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return z.now }, Rand: func(n int64) int64 { return n / 2 },
		}
		z.w = sessiondb.NewWriter(z.store.open, &z.journal, z.opts)
		for n := 0; len(ops) >= 2 && n < 256; n++ {
			z.step(ops[0], ops[1])
			ops = ops[2:]
		}
		z.store.away, z.store.lost = false, false
		for n := 0; ; n++ {
			pause := z.w.Step(t.Context())
			if pause >= time.Hour && z.w.Stats().Pending == 0 {
				break
			}
			if n > 1000 {
				t.Fatalf("it never comes to rest: %+v", z.w.Stats())
			}
			z.advance(max(pause, time.Millisecond))
		}
		if err := storetest.Same(t.Context(), &z.store.Memory, &z.journal); err != nil {
			t.Fatal(err)
		}
	})
}
