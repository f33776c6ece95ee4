package postgres

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/postgres/pgtest"
	"culvert/sessiondb/storetest"
)

// history gives what session_history has, one line a session.
func history(t *testing.T, db string) []string {
	t.Helper()
	rows, err := connect(t, db).Query(t.Context(), `
select format('%s %s %s %s/%s', user_name, cause, to_char(ended_at at time zone 'UTC', 'DD HH24:MI:SS'), in_octets, out_packets)
from session_history order by user_name, cause`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	return all
}

// TestHistory applies each batch twice, as after a commit whose answer was
// lost, and wants every end exactly once.
func TestHistory(t *testing.T) {
	one, two, three, again := storetest.SessionOf(1), storetest.SessionOf(2), storetest.SessionOf(3), storetest.SessionOf(1)
	again.AcctSessionID, again.User = "again", "again"
	db := newDatabase(t)
	s := mustOpen(t, db)
	for _, batch := range [][]sessiondb.Change{
		{put(one), put(two)},
		{drop(one, "a"), put(again)},                  // the key begins anew
		{put(three), drop(three, "b")},                // comes and goes in a batch
		{drop(again, "c"), put(one), drop(one, "d")},  // both, and one is again of the same name
		{put(two), drop(two, "e"), drop(two, "late")}, // the row of the table counts once
		{drop(storetest.SessionOf(77), "unheard of")},
	} {
		for range 2 {
			if err := s.Apply(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []string{
		"again c 02 01:02:03 11/14",
		"user1@isp.example a 02 01:02:03 11/14",
		"user2@isp.example e 02 01:02:03 11/14",
		"user3@isp.example b 02 01:02:03 11/14",
	}
	// The ends "a" and "d" have the same session, number and moment: one row.
	if got := history(t, db); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the history is\n%s\nshould be\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestEndUnknown has a session end without an End: the last counters count.
func TestEndUnknown(t *testing.T) {
	db := newDatabase(t)
	s := mustOpen(t, db)
	one := storetest.SessionOf(1)
	c := drop(one, "")
	c.End = nil
	if err := errors.Join(s.Apply(t.Context(), puts([]sessiondb.Session{one})), s.Apply(t.Context(), []sessiondb.Change{c})); err != nil {
		t.Fatal(err)
	}
	if got := history(t, db); len(got) != 1 || !strings.HasSuffix(got[0], " 1000/4") {
		t.Errorf("the history is %q", got)
	}
}

func TestMaintainHistory(t *testing.T) {
	db := newDatabase(t)
	s := mustOpen(t, db)
	c := connect(t, db)
	_, err := c.Exec(t.Context(), `create table session_history_2020_01 partition of session_history for values from ('2020-01-01') to ('2020-02-01')`)
	if err != nil {
		t.Fatal(err)
	}
	var batch []sessiondb.Change
	for i, at := range []time.Time{
		time.Date(2020, 1, 31, 0, 0, 0, 0, time.UTC), // a partition that is too old
		time.Date(2019, 1, 31, 0, 0, 0, 0, time.UTC), // the default partition, too old
		time.Now(),
	} {
		end := drop(storetest.SessionOf(i), "x")
		end.End.At = at
		batch = append(batch, put(storetest.SessionOf(i)), end)
	}
	if err := s.Apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if err := s.MaintainHistory(t.Context(), 0); err != nil || len(history(t, db)) != 3 {
		t.Errorf("keeping everything: %d left, error %v", len(history(t, db)), err)
	}
	if err := s.MaintainHistory(t.Context(), 365*24*time.Hour); err != nil || len(history(t, db)) != 1 {
		t.Errorf("keeping a year: %d left, error %v", len(history(t, db)), err)
	}
	var partitions, inDefault int
	err = c.QueryRow(t.Context(), `select (select count(*) from pg_inherits where inhparent = 'session_history'::regclass),
		(select count(*) from session_history_default)`).Scan(&partitions, &inDefault)
	if err != nil || partitions != 4 || inDefault != 0 { // three months and the default
		t.Errorf("%d partitions, %d in the default one, error %v", partitions, inDefault, err)
	}
}

// TestMigrateTogether has several nodes start at once on an empty database.
func TestMigrateTogether(t *testing.T) {
	if server == nil {
		t.Skip(pgtest.ErrNotInstalled)
	}
	db := server.NewDatabase(t)
	if _, err := Open(t.Context(), Config{ConnString: db, Node: "a"}); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "lnsd migrate") {
		t.Errorf("before: error %v", err)
	}
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			if err := Migrate(t.Context(), db); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	mustOpen(t, db)
	c := connect(t, db)
	if _, err := c.Exec(t.Context(), "insert into goose_db_version (version_id, is_applied) values (99, true)"); err != nil {
		t.Fatal(err)
	}
	// A newer schema says whether programs of this version may go on with it.
	for _, err := range []error{Migrate(t.Context(), db), second(openAndClose(t, db))} {
		if err != nil {
			t.Errorf("newer, and fits: error %v", err)
		}
	}
	if _, err := c.Exec(t.Context(), "update schema_fits set oldest = 99"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{Migrate(t.Context(), db), second(Open(t.Context(), Config{ConnString: db, Node: "a"}))} {
		if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "99") {
			t.Errorf("newer: error %v", err)
		}
	}
}

func openAndClose(t *testing.T, db string) (*Store, error) {
	s, err := Open(t.Context(), Config{ConnString: db, Node: "a"})
	if err == nil {
		err = s.Close()
	}
	return nil, err
}

func second(_ *Store, err error) error { return err }

func TestConfig(t *testing.T) {
	good := Config{ConnString: "postgres://a@h1,h2/db?target_session_attrs=read-write", Node: "a"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]Config{
		"no node":     {ConnString: good.ConnString},
		"no string":   {ConnString: "postgres://%zz", Node: "a"},
		"bad port":    {ConnString: "port=x", Node: "a"},
		"connections": {ConnString: good.ConnString, Node: "a", MaxConns: -1},
		"timeout":     {ConnString: good.ConnString, Node: "a", StatementTimeout: -1},
	} {
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := Open(t.Context(), c); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// TestModes has the ways of sending statements that poolers need.
func TestModes(t *testing.T) {
	for _, mode := range []string{"exec", "cache_statement", "describe_exec", "cache_describe"} {
		t.Run(mode, func(t *testing.T) {
			db := newDatabase(t)
			s := mustOpen(t, db+"&default_query_exec_mode="+mode)
			var model storetest.Memory
			walk := storetest.Walk{Rand: newRand(), Keys: 20, Addresses: 30}
			for i := range 20 {
				batch := walk.Batch(30)
				if err := errors.Join(s.Apply(t.Context(), batch), model.Apply(t.Context(), batch)); err != nil {
					t.Fatal(err)
				}
				if err := storetest.Same(t.Context(), s, &model); err != nil {
					t.Fatal(fmt.Errorf("batch %d: %w", i, err))
				}
			}
		})
	}
}

// TestViews reads what people read.
func TestViews(t *testing.T) {
	db := newDatabase(t)
	s := mustOpen(t, db)
	session, tunnel, entry := storetest.SessionOf(1), storetest.TunnelOf(1), storetest.EntryOf(1)
	err := s.Apply(t.Context(), []sessiondb.Change{put(session), {Op: sessiondb.PutTunnel, Tunnel: &tunnel}, {Op: sessiondb.PutEntry, Entry: &entry}})
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, db)
	for query, want := range map[string]string{
		`select format('%s %s %s %s', user_name, host(address), routes, lac) from current_sessions`:                   "user1@isp.example 100.0.0.1 {10.0.0.8/29} 203.0.113.5",
		`select format('%s %s %s %s', lac_name, lac, sessions, tunnel_id) from current_tunnels`:                       "lac-1 203.0.0.1 1 1",
		`select string_agg(format('%s %s %s', network, use, user_name), ', ' order by network) from addresses_in_use`: "10.0.0.8/29 route user1@isp.example, 100.0.0.1/32 address user1@isp.example",
		`select format('%s %s', seq, record) from unsent_accounting`:                                                  `1 {"n":1}`,
		`select (count(*) > 10)::text from pg_attribute a join pg_class k on k.oid = a.attrelid
			where k.relname in ('sessions') and a.attnum > 0 and col_description(k.oid, a.attnum) is not null`: "true",
	} {
		var got string
		if err := c.QueryRow(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s\ngives %q, should be %q (%v)", query, got, want, err)
		}
	}
}
