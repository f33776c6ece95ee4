//go:build !nextversion

package postgres

import "github.com/pressly/goose/v3"

// nextSchema is 1 in programs that tests of upgrades build with the tag nextversion: they
// have one more migration, which programs of this version can live with.
const nextSchema = 0

func nextMigrations() []goose.ProviderOption { return nil }
