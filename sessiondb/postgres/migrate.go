package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrSchema says that the database's schema is not the one this version
// needs; the error around it says what to do.
var ErrSchema = errors.New("database schema does not fit this version")

// schemaVersion is the number of the last migration.
const schemaVersion = 6 + nextSchema

// Migrate brings the database's schema to this version's. Several nodes may
// call it at the same time: one works and the others wait, kept apart by a
// row of table goose_lock, which works through a connection pooler as well.
// Doing it again does nothing. The user needs the right to create tables in
// the first schema of its search path.
func Migrate(ctx context.Context, connString string) error {
	cfg, err := pgx.ParseConfig(connString)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	provider, err := newProvider(db)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	version, err := provider.GetDBVersion(ctx)
	if err == nil && version > schemaVersion {
		return checkWith(ctx, connString) // a newer program's, which may be good for this one as well
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("postgres: migrating the schema: %w", err)
	}
	_, err = db.ExecContext(ctx, "select maintain_session_history(null)")
	if err != nil {
		return fmt.Errorf("postgres: making the partitions of session_history: %w", err)
	}
	return nil
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableLockTimeout(200*time.Millisecond, 1500),
		lock.WithTableUnlockTimeout(200*time.Millisecond, 50))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, files, append(nextMigrations(),
		goose.WithLocker(locker), goose.WithSlog(slog.New(slog.DiscardHandler)), goose.WithDisableGlobalRegistry(true))...)
}

// checkSchema compares the database's schema with this version's.
func checkSchema(ctx context.Context, q querier) error {
	var version int64
	err := q.QueryRow(ctx, "select coalesce(max(version_id), 0) from goose_db_version where is_applied").Scan(&version)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "42P01" { // undefined_table
		version, err = 0, nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("postgres: reading the schema's version: %w", err)
	case version > schemaVersion:
		return stillFits(ctx, q, version)
	case version < schemaVersion:
		return fmt.Errorf("postgres: %w: it has version %d and this program needs %d; run lnsd migrate", ErrSchema, version, schemaVersion)
	}
	return nil
}

// stillFits asks a newer schema whether programs of this version may go on with it, as they have to
// while a cluster is being upgraded node after node.
func stillFits(ctx context.Context, q querier, version int64) error {
	var oldest int64
	err := q.QueryRow(ctx, "select oldest from schema_fits").Scan(&oldest)
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == "42P01" || err == nil && oldest > schemaVersion:
		return newerSchema(version)
	case err != nil:
		return fmt.Errorf("postgres: reading the schema's version: %w", err)
	}
	return nil
}

func newerSchema(version int64) error {
	return fmt.Errorf("postgres: %w: it has version %d and this program knows %d; run a newer program", ErrSchema, version, schemaVersion)
}

// checkWith is checkSchema on a connection of its own.
func checkWith(ctx context.Context, connString string) error {
	cfg, err := pgx.ParseConfig(connString)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	defer c.Close(ctx)
	return checkSchema(ctx, c)
}

// querier is what connections, pools and transactions have in common.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
