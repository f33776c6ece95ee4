// Package postgres is the cluster's session store: what every node has, in
// tables that people and their tools can read.
//
// Tables sessions, tunnels, accounting_outbox and objects mirror the nodes'
// journals; session_history, partitioned by month, has the sessions that
// ended; nodes has who writes here. The views current_sessions,
// current_tunnels, addresses_in_use and unsent_accounting are for people.
// All tables are in the first schema of the user's search path.
//
// # Conflicts
//
// No two live sessions may have the same address or the same
// Acct-Session-Id, in the whole cluster. The change that would break that,
// or that PostgreSQL refuses for what is in it, is left out, all others of
// its batch are made, and Apply gives a *sessiondb.ConflictError that names it.
//
// # Poolers
//
// A pgbouncer in transaction mode may stand between: statements are unnamed,
// settings are local to their transaction, and migrations are kept apart by a
// row of a table and not by a lock of a session.
//
// # Speed
//
// Changes per second of one caller over loopback, on two busy cores that the
// server shares, in batches of 16, 100 and 1,000: sessions inserted 17,000,
// 37,000 and 40,000, sessions updated 19,000, 33,000 and 44,000; moved to the
// history, by the thousand, 53,000; read back 170,000 (BenchmarkApply,
// BenchmarkDrop, BenchmarkSessions).
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"culvert/sessiondb"
)

// Config of a store.
type Config struct {
	// ConnString is a libpq connection string or URL; several hosts and
	// target_session_attrs are understood.
	ConnString string
	// Node is this node's name; the store reads and deletes only its rows.
	Node string
	// Fenced has Apply refuse changes of tunnels and sessions whose local
	// address is not the node's in table service_addresses, for a cluster.
	Fenced bool
	// MaxConns bounds the connections; 0 means 4.
	MaxConns int32
	// ConnectTimeout bounds one attempt to connect; 0 means 5 s.
	ConnectTimeout time.Duration
	// StatementTimeout makes the server give up a statement of Apply; 0 means 10 s.
	StatementTimeout time.Duration
	// SilenceTimeout makes the server give up a transaction whose client is silent for so long; 0 means StatementTimeout.
	// In a cluster it belongs below the lease: the rows that a node has locked when it is
	// stopped or cut off are those that another has to lock to take over.
	SilenceTimeout time.Duration
}

// Validate tells what is wrong with the configuration, without connecting.
func (c Config) Validate() error {
	_, err := c.pool()
	return err
}

// pool gives the connection pool's configuration.
func (c Config) pool() (*pgxpool.Config, error) {
	if c.Node == "" {
		return nil, errors.New("postgres: the node needs a name")
	}
	if c.MaxConns < 0 || c.ConnectTimeout < 0 || c.StatementTimeout < 0 || c.SilenceTimeout < 0 {
		return nil, errors.New("postgres: connections and timeouts cannot be negative")
	}
	p, err := pgxpool.ParseConfig(c.ConnString)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	p.MaxConns = 4
	if c.MaxConns > 0 {
		p.MaxConns = c.MaxConns
	}
	p.ConnConfig.ConnectTimeout = 5 * time.Second
	if c.ConnectTimeout > 0 {
		p.ConnConfig.ConnectTimeout = c.ConnectTimeout
	}
	if p.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		p.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	if p.ConnConfig.RuntimeParams["application_name"] == "" {
		p.ConnConfig.RuntimeParams["application_name"] = "culvert " + c.Node
	}
	return p, nil
}

// Store implements sessiondb.Store.
type Store struct {
	pool   *pgxpool.Pool
	node   string
	fenced bool
	// begin is the SQL that begins a transaction.
	begin string

	closing sync.Once
	closed  atomic.Bool
	// seen is when the node's row was last written, in nanoseconds since 1970.
	seen atomic.Int64
}

// Open connects and checks that the schema is the one this version needs
// (ErrSchema if not: run Migrate). Later it connects again by itself.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	p, err := cfg.pool()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), p)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if err := checkSchema(ctx, pool); err != nil {
		go pool.Close() // may wait for a connection attempt
		return nil, err
	}
	timeout := cfg.StatementTimeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	silence := cfg.SilenceTimeout
	if silence == 0 {
		silence = timeout
	}
	// Every join of Apply is of a batch with a table's primary key. Without
	// fresh statistics PostgreSQL reads the whole table for that instead.
	begin := fmt.Sprintf("begin; set local enable_hashjoin = off; set local enable_mergejoin = off;"+
		" set local enable_seqscan = off; set local enable_material = off;"+
		" set local statement_timeout = %d; set local idle_in_transaction_session_timeout = %d",
		timeout.Milliseconds(), max(1, silence.Milliseconds())) // 0 would be for ever
	return &Store{pool: pool, node: cfg.Node, fenced: cfg.Fenced, begin: begin}, nil
}

// MaintainHistory makes the partitions of session_history that the coming
// months need and, when keep is positive, drops the sessions that ended
// longer ago than that, whole months at a time. Call it once a day. The user
// needs to own the tables.
func (s *Store) MaintainHistory(ctx context.Context, keep time.Duration) error {
	var interval any // null: keep everything
	if keep > 0 {
		interval = keep
	}
	_, err := s.pool.Exec(ctx, "select maintain_session_history($1::interval)", interval)
	if err != nil {
		return fmt.Errorf("postgres: maintaining session_history: %w", err)
	}
	return nil
}

// Close waits for the running calls and closes the connections. Closing again
// does nothing.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.closing.Do(s.pool.Close)
	return nil
}

func (s *Store) usable() error {
	if s.closed.Load() {
		return fmt.Errorf("postgres: %w", sessiondb.ErrClosed)
	}
	return nil
}
