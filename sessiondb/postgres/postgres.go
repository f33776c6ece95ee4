// Package postgres is the cluster's session store.
package postgres

import (
	"context"
	"errors"
	"time"

	"culvert/sessiondb"
)

// Config of a store.
type Config struct {
	// ConnString is a libpq connection string or URL; several hosts and
	// target_session_attrs are understood.
	ConnString string
	// Node is this node's name; the store reads and deletes only its rows.
	Node string
	// MaxConns bounds the connections; 0 means 4.
	MaxConns int32
	// ConnectTimeout bounds one attempt to connect; 0 means 5 s.
	ConnectTimeout time.Duration
	// StatementTimeout makes the server give up a statement; 0 means 10 s.
	StatementTimeout time.Duration
}

// Open connects and checks that the schema is the one this version needs
// (ErrSchema if not: run Migrate).
func Open(ctx context.Context, cfg Config) (sessiondb.Store, error) {
	return nil, errors.ErrUnsupported
}

// Migrate brings the database's schema to this version's. Several nodes may
// call it at the same time; doing it again does nothing.
func Migrate(ctx context.Context, connString string) error {
	return errors.ErrUnsupported
}

// ErrSchema says that the database's schema is older or newer than this version's.
var ErrSchema = errors.New("database schema does not fit this version")
