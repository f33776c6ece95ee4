package postgres

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// TestCount keeps what sessions have counted apart from their records: who takes them over gets the
// later of both, and what is another node's, or not there, is left alone.
func TestCount(t *testing.T) {
	db := newDatabase(t)
	open := func(node string) *Store {
		s, err := Open(t.Context(), Config{ConnString: db, Node: node})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	a, b := open("a"), open("b")
	session := storetest.SessionOf(1)
	session.Node = "a"
	session.InOctets, session.OutOctets, session.InPackets, session.OutPackets = 100, 200, 1, 2
	if err := a.Apply(t.Context(), []sessiondb.Change{{Op: sessiondb.PutSession, Session: &session}}); err != nil {
		t.Fatal(err)
	}
	other := session.Key
	other.ID++
	count := func(s *Store, in, out uint64) {
		t.Helper()
		if err := s.Count(t.Context(), []Counted{{Key: session.Key, InOctets: in, OutOctets: out, InPackets: 9}, {Key: other, InOctets: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(in, out, packets uint64) {
		t.Helper()
		for s, err := range b.SessionsAt(t.Context(), session.Key.Tunnel.Local) {
			if err != nil || s.InOctets != in || s.OutOctets != out || s.InPackets != packets || s.OutPackets != 2 {
				t.Errorf("%d %d %d %d, %v; want %d %d %d 2", s.InOctets, s.OutOctets, s.InPackets, s.OutPackets, err, in, out, packets)
			}
		}
		var v uint64
		if err := connect(t, db).QueryRow(t.Context(), "select in_octets from current_sessions").Scan(&v); err != nil || v != in {
			t.Errorf("the view says %d, %v; want %d", v, err, in)
		}
	}
	check(100, 200, 1)
	count(a, 150, 0)
	check(150, 200, 9)
	count(a, 160, 260)
	check(160, 260, 9)
	count(b, 999, 999)
	check(160, 260, 9)
	// The record itself is what was applied, so that a resync has nothing to do.
	for s, err := range a.Sessions(t.Context()) {
		if err != nil || !s.Equal(&session) {
			t.Errorf("%+v, %v", s, err)
		}
	}
	c := connect(t, db)
	rows := func() (n int) {
		if err := c.QueryRow(t.Context(), "select count(*) from session_counters").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := c.Exec(t.Context(), "update session_counters set counted_at = now() - interval '1 hour'"); err != nil {
		t.Fatal(err)
	}
	if err := a.SweepCounters(t.Context()); err != nil || rows() != 1 {
		t.Errorf("%v; %d rows of a session that is up", err, rows())
	}
	if err := a.Apply(t.Context(), []sessiondb.Change{{Op: sessiondb.DropSession, Session: &session}}); err != nil {
		t.Fatal(err)
	}
	if err := a.SweepCounters(t.Context()); err != nil || rows() != 0 {
		t.Errorf("%v; %d rows of sessions that have ended", err, rows())
	}
}

// TestCountReadsWhatItNeeds has the planner know nothing of freshly filled tables: each session is looked up
// by its key nevertheless, also when the statement has been planned for good.
func TestCountReadsWhatItNeeds(t *testing.T) {
	const batch, batches = 300, 12 // PostgreSQL makes a generic plan after 5
	s := mustOpen(t, newDatabase(t))
	defer s.Close()
	var changes []sessiondb.Change
	for i := range batch * batches {
		x := storetest.SessionOf(i)
		changes = append(changes, sessiondb.Change{Op: sessiondb.PutSession, Session: &x})
	}
	if err := s.Apply(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	zero := make([]int64, batch)
	err := s.transaction(t.Context(), func(tx pgx.Tx) error {
		for part := range slices.Chunk(changes, batch) {
			var k tunnelKeys
			var ids []int32
			for _, c := range part {
				k.add(c.Session.Key.Tunnel)
				ids = append(ids, int32(c.Session.Key.ID))
			}
			tag, err := tx.Exec(t.Context(), countSQL, escape(s.node), k.address, k.port, k.id, ids, zero, zero, zero, zero)
			if err != nil {
				return err
			}
			if tag.RowsAffected() != batch {
				t.Errorf("%d sessions were counted, want %d", tag.RowsAffected(), batch)
			}
		}
		var read int
		err := tx.QueryRow(t.Context(), "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'sessions'").Scan(&read)
		if read > batch*batches*2 {
			t.Errorf("%d rows were read for %d sessions", read, batch*batches)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
