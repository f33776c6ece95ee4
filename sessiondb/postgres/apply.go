package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"culvert/sessiondb"
)

// maxRows bounds the rows of one statement.
const maxRows = 5000

// seenInterval is how often the node's row is written.
const seenInterval = 5 * time.Second

// statement is one kind of SQL with its rows.
type statement struct {
	run  func(ctx context.Context, tx pgx.Tx, node string, rows []row) error
	rows []row
}

// statements gives the plan's SQL: what frees a key or an address is first.
func (p *plan) statements() []statement {
	return []statement{
		{deleteSessions, p.dropSessions},
		{insertPast, p.pastSessions},
		{deleteTunnels, p.dropTunnels},
		{deleteEntries, p.dropEntries},
		{deleteObjects, p.dropObjects},
		{upsertTunnels, p.putTunnels},
		{upsertSessions, p.putSessions},
		{upsertEntries, p.putEntries},
		{upsertObjects, p.putObjects},
	}
}

// Apply implements sessiondb.Store, in one transaction. Only when PostgreSQL
// refuses a row is a second one made, in which every refused row is found by
// halving and left out. When ctx ends during the commit, the changes may have
// been made; applying them again is right.
func (s *Store) Apply(ctx context.Context, changes []sessiondb.Change) error {
	if err := sessiondb.Validate(changes); err != nil {
		return err
	}
	if err := s.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	statements := planOf(changes).statements()
	var refused sessiondb.ConflictError
	err := s.transaction(ctx, func(tx pgx.Tx) error {
		refused = sessiondb.ConflictError{}
		ours, err := s.fence(ctx, tx, statements, &refused)
		if err != nil {
			return err
		}
		return s.runAll(ctx, tx, ours, nil)
	})
	if aboutRows(err) {
		err = s.transaction(ctx, func(tx pgx.Tx) error {
			refused = sessiondb.ConflictError{}
			ours, err := s.fence(ctx, tx, statements, &refused)
			if err != nil {
				return err
			}
			return s.runAll(ctx, tx, ours, &refused)
		})
	}
	if err != nil {
		return s.explain(ctx, err)
	}
	if len(refused.Changes) > 0 {
		return &refused
	}
	return nil
}

// transaction frames f. The commit is a message of its own: a server that
// wakes after its client has given up finds no commit and makes nothing.
func (s *Store) transaction(ctx context.Context, f func(pgx.Tx) error) error {
	touched := false
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: s.begin}, func(tx pgx.Tx) (err error) {
		if touched, err = s.touch(ctx, tx); err != nil {
			return err
		}
		return f(tx)
	})
	if touched && err != nil {
		s.seen.Store(0)
	}
	return err
}

// touch says in the node's row that it is alive, now and then.
func (s *Store) touch(ctx context.Context, tx pgx.Tx) (touched bool, err error) {
	now := time.Now().UnixNano()
	last := s.seen.Load()
	if now-last < int64(seenInterval) || !s.seen.CompareAndSwap(last, now) {
		return false, nil
	}
	_, err = tx.Exec(ctx, `insert into nodes (name) values ($1)
		on conflict (name) do update set last_seen = now()`, escape(s.node))
	return true, err
}

// runAll runs the statements that have rows. With refused, each is isolated.
func (s *Store) runAll(ctx context.Context, tx pgx.Tx, statements []statement, refused *sessiondb.ConflictError) error {
	for _, st := range statements {
		for rows := st.rows; len(rows) > 0; {
			n := min(len(rows), maxRows)
			var err error
			if refused == nil {
				err = st.run(ctx, tx, s.node, rows[:n])
			} else {
				err = s.isolate(ctx, tx, statement{st.run, rows[:n]}, refused)
			}
			if err != nil {
				return err
			}
			rows = rows[n:]
		}
	}
	return nil
}

// isolate runs the statement in a savepoint, and halves of it when it fails,
// down to the rows that are refused.
func (s *Store) isolate(ctx context.Context, tx pgx.Tx, st statement, refused *sessiondb.ConflictError) error {
	err := pgx.BeginFunc(ctx, tx, func(sp pgx.Tx) error { return st.run(ctx, sp, s.node, st.rows) })
	if !aboutRows(err) {
		return err
	}
	if len(st.rows) == 1 {
		refused.Changes = append(refused.Changes, *st.rows[0].change)
		refused.Errs = append(refused.Errs, err)
		return nil
	}
	half := len(st.rows) / 2
	if err := s.isolate(ctx, tx, statement{st.run, st.rows[:half]}, refused); err != nil {
		return err
	}
	return s.isolate(ctx, tx, statement{st.run, st.rows[half:]}, refused)
}

// aboutRows tells errors that the content of rows causes, by SQLSTATE's class:
// data exception, integrity constraint violation, program limit exceeded.
func aboutRows(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) != 5 {
		return false
	}
	switch pgErr.Code[:2] {
	case "22", "23", "54":
		return true
	}
	return false
}

// explain makes sure that an error of ctx is known as one, and leaves the
// connections to a server that has become read-only, as it does in a failover.
func (s *Store) explain(ctx context.Context, err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "25006" { // read_only_sql_transaction
		s.pool.Reset()
	}
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("postgres: %w: %w", cause, err)
	}
	return fmt.Errorf("postgres: %w", err)
}
