package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// TestDropLooksUpByKey has the planner know nothing of tables that were filled a moment ago: each session and tunnel that is dropped is
// looked up by its key, with any number of them, also when the statement has been planned for good. Else each may be compared with each.
func TestDropLooksUpByKey(t *testing.T) {
	const rows = 10_000
	s := mustOpen(t, newDatabase(t))
	defer s.Close()
	var puts []sessiondb.Change
	var sessions, tunnels []row
	for i := range rows {
		tunnel, session := storetest.TunnelOf(i), drop(storetest.SessionOf(i), "x")
		puts = append(puts, put(storetest.SessionOf(i)), sessiondb.Change{Op: sessiondb.PutTunnel, Tunnel: &tunnel})
		sessions = append(sessions, row{change: &session, end: session.End, keep: true})
		tunnels = append(tunnels, row{change: &sessiondb.Change{Op: sessiondb.DropTunnel, Tunnel: &tunnel}})
	}
	if err := s.Apply(t.Context(), puts); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		for _, n := range []int{1, 10, 1000, maxRows} {
			for key, c := range map[string]struct {
				sql  string
				args []any
			}{
				"sessions_pkey": {deleteSessionsSQL, deleteSessionsArgs(s.node, sessions[:n])},
				"tunnels_pkey":  {deleteTunnelsSQL, deleteTunnelsArgs(s.node, tunnels[:n])},
			} {
				plan := planFor(t, s, mode, c.sql, c.args)
				if !strings.Contains(plan, "Index Scan using "+key) || strings.Contains(plan, "Join Filter") {
					t.Errorf("%d rows, %s:\n%s", n, mode, plan)
				}
			}
		}
	}
}

// planFor is how PostgreSQL would run a statement of Apply.
func planFor(t *testing.T, s *Store, mode, sql string, args []any) string {
	t.Helper()
	var lines []string
	err := s.transaction(t.Context(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "set local plan_cache_mode = "+mode); err != nil {
			return err
		}
		rows, err := tx.Query(t.Context(), "explain "+sql, args...)
		if err != nil {
			return err
		}
		lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
