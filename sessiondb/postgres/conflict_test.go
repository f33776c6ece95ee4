package postgres

import (
	"errors"
	"strings"
	"testing"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

var ended = time.Date(2026, 3, 2, 1, 2, 3, 0, time.UTC)

func put(s sessiondb.Session) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.PutSession, Session: &s}
}

func drop(s sessiondb.Session, cause string) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.DropSession, Session: &sessiondb.Session{Key: s.Key},
		End: &sessiondb.End{At: ended, Cause: cause, InOctets: 11, OutOctets: 12, InPackets: 13, OutPackets: 14}}
}

// sessions gives n sessions with different addresses.
func sessions(n int) []sessiondb.Session {
	all := make([]sessiondb.Session, n)
	for i := range all {
		all[i] = storetest.SessionOf(i)
	}
	return all
}

func puts(all []sessiondb.Session) []sessiondb.Change {
	changes := make([]sessiondb.Change, len(all))
	for i := range all {
		changes[i] = put(all[i])
	}
	return changes
}

// TestConflicts has rows that PostgreSQL refuses among many that are good.
func TestConflicts(t *testing.T) {
	s := mustOpen(t, newDatabase(t))
	holder := storetest.SessionOf(5000)
	if err := s.Apply(t.Context(), []sessiondb.Change{put(holder)}); err != nil {
		t.Fatal(err)
	}
	all := sessions(300)
	all[17].Address = holder.Address              // taken in the table
	all[200].Address = all[100].Address           // taken in the batch
	all[250].AcctSessionID = all[3].AcctSessionID // not unique
	batch := append(puts(all), sessiondb.Change{Op: sessiondb.PutEntry, Entry: &sessiondb.Entry{Seq: 1}})
	for round := range 2 { // the second time the table has all but the three
		err := s.Apply(t.Context(), batch)
		var refused *sessiondb.ConflictError
		if !errors.As(err, &refused) || !errors.Is(err, sessiondb.ErrConflict) {
			t.Fatalf("round %d: error %v", round, err)
		}
		var keys []string
		for _, c := range refused.Changes {
			keys = append(keys, c.Session.Key.String())
		}
		want := strings.Join([]string{all[17].Key.String(), all[200].Key.String(), all[250].Key.String()}, " ")
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("round %d: refused %s, should be %s", round, got, want)
		}
		if !strings.Contains(refused.Errs[0].Error(), "sessions_address_once") {
			t.Errorf("the first error is %v", refused.Errs[0])
		}
	}
	n := 0
	for _, err := range s.Sessions(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 298 {
		t.Errorf("%d sessions, should be 298", n)
	}
	for _, err := range s.Entries(t.Context()) {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestTwoNodes has two nodes with sessions of their own, one of which wants
// an address that the other has.
func TestTwoNodes(t *testing.T) {
	db := newDatabase(t)
	a := mustOpen(t, db)
	b, err := Open(t.Context(), Config{ConnString: db, Node: "node-2"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	mine, theirs := storetest.SessionOf(1), storetest.SessionOf(2001)
	if err := a.Apply(t.Context(), puts([]sessiondb.Session{mine})); err != nil {
		t.Fatal(err)
	}
	thief := theirs
	thief.Address = mine.Address
	if err := b.Apply(t.Context(), puts([]sessiondb.Session{thief})); !errors.Is(err, sessiondb.ErrConflict) {
		t.Errorf("error %v, should be %v", err, sessiondb.ErrConflict)
	}
	if err := b.Apply(t.Context(), []sessiondb.Change{put(theirs), drop(mine, "not mine")}); err != nil {
		t.Fatal(err)
	}
	for s, err := range a.Sessions(t.Context()) {
		if err != nil || s.Key != mine.Key {
			t.Errorf("the first node has %v, %v", s.Key, err)
		}
	}
	for s, err := range b.Sessions(t.Context()) {
		if err != nil || s.Key != theirs.Key || s.Node != "node-2" {
			t.Errorf("the second node has %v of %s, %v", s.Key, s.Node, err)
		}
	}
	var nodes int
	if err := connect(t, db).QueryRow(t.Context(), "select count(*) from nodes where last_seen > now() - interval '1 minute'").Scan(&nodes); err != nil || nodes != 2 {
		t.Errorf("%d nodes are seen, %v", nodes, err)
	}
}
