//go:build !nojournal

package main

import (
	"log/slog"

	"culvert/sessiondb"
	"culvert/sessiondb/journal"
)

// openJournal opens the node's own store.
func openJournal(dir, node string, log *slog.Logger) (sessiondb.Journal, error) {
	return journal.Open(dir, journal.Options{Node: node, Log: log})
}
