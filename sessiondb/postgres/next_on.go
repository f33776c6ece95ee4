//go:build nextversion

package postgres

import (
	"context"
	"database/sql"

	"github.com/pressly/goose/v3"
)

const nextSchema = 1

func nextMigrations() []goose.ProviderOption {
	up := &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "alter table sessions add column next_version text not null default ''")
		return err
	}}
	return []goose.ProviderOption{goose.WithGoMigrations(goose.NewGoMigration(schemaVersion, up, nil))}
}
