package postgres

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"culvert/sessiondb"
	"culvert/sessiondb/postgres/pgtest"
	"culvert/sessiondb/storetest"
)

// server is shared by all tests that do not break it.
var server *pgtest.Server

func TestMain(m *testing.M) {
	var err error
	server, err = pgtest.New("fsync=off")
	if err != nil && (!errors.Is(err, pgtest.ErrNotInstalled) || os.Getenv("CI") == "true") {
		println(err.Error())
		os.Exit(1)
	}
	code := m.Run()
	if server != nil {
		server.Close()
	}
	os.Exit(code)
}

// newDatabase gives a database with the schema.
func newDatabase(t testing.TB) string {
	t.Helper()
	if server == nil {
		t.Skip(pgtest.ErrNotInstalled)
	}
	db := server.NewDatabase(t)
	if err := Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return db
}

func mustOpen(t testing.TB, db string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{ConnString: db, Node: storetest.Node})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// connect opens a plain connection, as a person would.
func connect(t testing.TB, db string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) sessiondb.Store { return mustOpen(t, newDatabase(t)) })
}
