package outbox

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/aaa"
	"culvert/sessiondb"
)

// store is a journal that has entries only.
type store struct {
	sessiondb.Store
	mu      sync.Mutex
	entries map[uint64]sessiondb.Entry
	fail    error
	applies int
}

func newStore() *store { return &store{entries: map[uint64]sessiondb.Entry{}} }

func (s *store) Apply(_ context.Context, changes []sessiondb.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applies++
	if s.fail != nil {
		return s.fail
	}
	for _, c := range changes {
		switch c.Op {
		case sessiondb.PutEntry:
			s.entries[c.Entry.Seq] = *c.Entry
		case sessiondb.DropEntry:
			delete(s.entries, c.Entry.Seq)
		}
	}
	return nil
}

func (s *store) Entries(ctx context.Context) iter.Seq2[sessiondb.Entry, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []sessiondb.Entry
	for _, e := range s.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b sessiondb.Entry) int { return int(a.Seq) - int(b.Seq) })
	return func(yield func(sessiondb.Entry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *store) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// put makes records durable, as the caller of Submit must.
func (s *store) put(records ...aaa.Usage) []aaa.Usage {
	for i := range records {
		b, err := aaa.AppendUsage(nil, &records[i])
		if err != nil {
			panic(err)
		}
		e := sessiondb.Entry{Seq: records[i].Seq, Session: records[i].Identity.AcctSessionID, Payload: b}
		_ = s.Apply(context.Background(), []sessiondb.Change{{Op: sessiondb.PutEntry, Entry: &e}})
	}
	return records
}

// accountant acknowledges after a delay, or fails while it is away.
type accountant struct {
	mu     sync.Mutex
	got    []aaa.Usage
	tries  int
	out    int
	maxOut int
	delay  time.Duration
	refuse func(aaa.Usage) bool
}

func (a *accountant) Account(u *aaa.Usage, done func(error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tries++
	a.out++
	a.maxOut = max(a.maxOut, a.out)
	time.AfterFunc(a.delay, func() {
		a.mu.Lock()
		a.out--
		var err error
		if a.refuse != nil && a.refuse(*u) {
			err = fmt.Errorf("test: %w", aaa.ErrUnavailable)
		} else {
			a.got = append(a.got, *u)
		}
		a.mu.Unlock()
		done(err)
	})
}

func (a *accountant) setRefuse(f func(aaa.Usage) bool) {
	a.mu.Lock()
	a.refuse = f
	a.mu.Unlock()
}

func (a *accountant) kinds(session string) (out []aaa.UsageKind) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range a.got {
		if u.Identity.AcctSessionID == session {
			out = append(out, u.Kind)
		}
	}
	return out
}

func always(aaa.Usage) bool { return true }

func rec(seq uint64, kind aaa.UsageKind, session string) aaa.Usage {
	return aaa.Usage{Seq: seq, Kind: kind, Identity: aaa.Identity{AcctSessionID: session, User: "u-" + session},
		Address: netip.MustParseAddr("198.51.100.9")}
}

// nobody never answers.
type nobody struct{}

func (nobody) Account(*aaa.Usage, func(error)) {}

type instant struct{}

func (instant) Account(_ *aaa.Usage, done func(error)) { done(nil) }
