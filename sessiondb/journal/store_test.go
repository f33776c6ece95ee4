package journal

import (
	"log/slog"
	"testing"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// quiet are Options without messages.
func quiet() Options { return Options{Log: slog.New(slog.DiscardHandler)} }

func mustOpen(t testing.TB, dir string) *Journal {
	t.Helper()
	j, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) sessiondb.Store { return mustOpen(t, t.TempDir()) })
}
