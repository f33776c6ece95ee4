package lns

import (
	"context"
	"fmt"
	"iter"
	"time"

	"culvert/aaa"
	"culvert/sessiondb"
	"culvert/sessiondb/journal"
)

// simStore is the node's journal: the real codec over memory that survives
// lnsd. It may fail, stall, and be the last thing that lnsd does.
type simStore struct {
	w *world
	m *journal.Memory
	// What a correct reader finds in m, for those who check.
	tunnels  map[sessiondb.TunnelKey]*sessiondb.Tunnel
	sessions map[sessiondb.SessionKey]*sessiondb.Session
	calls    map[sessiondb.SessionKey]bool
	entries  map[uint64]bool
	cleared  map[sessiondb.TunnelKey]int // calls that were dropped
	// stops are the causes of all Stops that were ever journaled.
	stops map[string]aaa.TerminateCause
	// failing refuses changes; stall is the longest that a step's Apply holds its shard up.
	failing, failed bool // now, and ever
	stall           time.Duration
	dead            bool // no process has it open
}

func newSimStore(w *world) *simStore {
	return &simStore{
		w: w, tunnels: map[sessiondb.TunnelKey]*sessiondb.Tunnel{}, sessions: map[sessiondb.SessionKey]*sessiondb.Session{},
		calls: map[sessiondb.SessionKey]bool{}, entries: map[uint64]bool{}, cleared: map[sessiondb.TunnelKey]int{}, stops: map[string]aaa.TerminateCause{},
	}
}

// leftovers are the sessions that an earlier life has left, by Acct-Session-Id.
type leftovers struct{ sessions map[string]bool }

// reopen opens the journal for the next life, and checks that it reads back as it was written.
func (s *simStore) reopen() leftovers {
	s.dead = false
	if s.m == nil {
		s.m = journal.NewMemory()
	} else {
		s.m = s.m.Reopen()
	}
	left, n := leftovers{map[string]bool{}}, 0
	for got, err := range s.m.Sessions(context.Background()) {
		if want := s.sessions[got.Key]; err != nil || want == nil || !got.Equal(want) {
			s.w.fail("journal is read back", "session %+v, want %+v, error %v", got, want, err)
		}
		left.sessions[got.AcctSessionID] = true
	}
	for got, err := range s.m.Tunnels(context.Background()) {
		if want := s.tunnels[got.Key]; err != nil || want == nil || !got.Equal(want) {
			s.w.fail("journal is read back", "tunnel %+v, want %+v, error %v", got, want, err)
		}
		n++
	}
	if len(left.sessions) != len(s.sessions) || n != len(s.tunnels) {
		s.w.fail("journal is read back", "%d of %d sessions, %d of %d tunnels", len(left.sessions), len(s.sessions), n, len(s.tunnels))
	}
	return left
}

// Epoch implements sessiondb.Journal.
func (s *simStore) Epoch() uint32 { return s.m.Epoch() }

// Close implements sessiondb.Store.
func (s *simStore) Close() error { return nil }

// Apply implements sessiondb.Store.
func (s *simStore) Apply(ctx context.Context, changes []sessiondb.Change) error {
	s.w.life.effect()
	if s.failing {
		s.failed = true
		s.w.books.forgotten(changes)
		return fmt.Errorf("simulated: %w", journal.ErrFull)
	}
	if err := s.m.Apply(ctx, changes); err != nil {
		s.w.fail("journal takes it", "%v", err)
	}
	for i := range changes {
		s.note(&changes[i], changes)
	}
	s.w.life.effect()
	return nil
}

// note keeps the books of what is in the journal.
func (s *simStore) note(c *sessiondb.Change, batch []sessiondb.Change) {
	switch c.Op {
	case sessiondb.PutTunnel:
		s.tunnels[c.Tunnel.Key] = c.Tunnel
	case sessiondb.DropTunnel:
		delete(s.tunnels, c.Tunnel.Key)
	case sessiondb.PutSession:
		s.sessions[c.Session.Key] = c.Session
	case sessiondb.DropSession:
		s.ended(c, batch)
		delete(s.sessions, c.Session.Key)
	case sessiondb.PutCall:
		s.calls[c.Call.Key] = true
		s.w.tell("  journal: call %d.%d", c.Call.Key.Tunnel.ID, c.Call.Key.ID)
	case sessiondb.DropCall:
		delete(s.calls, c.Call.Key)
		s.cleared[c.Call.Key.Tunnel]++
		s.w.tell("  journal: call %d.%d is gone", c.Call.Key.Tunnel.ID, c.Call.Key.ID)
	case sessiondb.PutEntry:
		s.entries[c.Entry.Seq] = true
		s.account(c.Entry)
	case sessiondb.DropEntry:
		delete(s.entries, c.Entry.Seq)
	}
}

// account notes an accounting record.
func (s *simStore) account(e *sessiondb.Entry) {
	u, err := aaa.ParseUsage(e.Payload)
	if err != nil || u.Seq != e.Seq || u.Identity.AcctSessionID != e.Session {
		s.w.fail("journal takes it", "record %d of %s: %+v, %v", e.Seq, e.Session, u, err)
	}
	if s.w.cluster != nil {
		s.w.cluster.books.journaled(s.w.simHost, &u)
	} else {
		s.w.books.journaled(&u)
	}
	if u.Kind == aaa.UsageStop {
		s.stops[e.Session] = u.Cause
	}
}

// ended checks that a session's record goes in the same moment as its Stop comes, and that
// both give one cause.
func (s *simStore) ended(c *sessiondb.Change, batch []sessiondb.Change) {
	id := c.Session.AcctSessionID
	if s.w.cluster != nil && c.End.Cause == "moved to another node" {
		return
	}
	for i := range batch {
		if e := batch[i].Entry; batch[i].Op == sessiondb.PutEntry && e.Session == id {
			u, _ := aaa.ParseUsage(e.Payload)
			if u.Kind == aaa.UsageStop {
				s.w.ended(id, c.End.Cause, u.Cause)
				return
			}
		}
	}
	s.w.fail("one Stop for each Start", "session %s left the journal without a Stop in the same moment", id)
}

// ended notes why a session ended, for good.
func (w *world) ended(id, cause string, acct aaa.TerminateCause) {
	if was, ok := w.causes[id]; ok && w.cluster == nil {
		w.fail("one cause", "session %s ended by %s and again by %s", id, was, cause)
	}
	w.causes[id] = cause
	for c := range causeCount {
		if c.String() == cause {
			if c.Acct() != acct {
				w.fail("one cause", "session %s: cause %s, but its Stop says %d", id, cause, acct)
			}
			return
		}
	}
	w.fail("one cause", "session %s: no such cause as %q", id, cause)
}

// Tunnels implements sessiondb.Store, as the other readers do.
func (s *simStore) Tunnels(ctx context.Context) iter.Seq2[sessiondb.Tunnel, error] {
	return s.m.Tunnels(ctx)
}

// Sessions: see Tunnels.
func (s *simStore) Sessions(ctx context.Context) iter.Seq2[sessiondb.Session, error] {
	return s.m.Sessions(ctx)
}

// Calls: see Tunnels.
func (s *simStore) Calls(ctx context.Context) iter.Seq2[sessiondb.Call, error] {
	return s.m.Calls(ctx)
}

// Entries: see Tunnels.
func (s *simStore) Entries(ctx context.Context) iter.Seq2[sessiondb.Entry, error] {
	return s.m.Entries(ctx)
}

// Objects: see Tunnels.
func (s *simStore) Objects(ctx context.Context, kind string) iter.Seq2[sessiondb.Object, error] {
	return s.m.Objects(ctx, kind)
}

// counts counts the sessions and tunnels that lnsd should have.
func (s *simStore) counts() (sessions, tunnels int) {
	if s.w.cluster == nil {
		return len(s.sessions), len(s.tunnels)
	}
	for k := range s.sessions {
		if s.w.life.has(k.Tunnel.Local) {
			sessions++
		}
	}
	for k := range s.tunnels {
		if s.w.life.has(k.Local) {
			tunnels++
		}
	}
	return sessions, tunnels
}
