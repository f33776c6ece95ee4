// Package journal is the node's local session store. It survives the death of
// the process.
package journal

import (
	"errors"
	"log/slog"

	"culvert/sessiondb"
)

// Options of a journal. The zero value is good.
type Options struct {
	// Node is kept in the journal's folder; a folder of another node is
	// refused. Empty: not checked.
	Node string
	// CacheBytes bounds the memory for blocks read from disk; 0 means 16 MiB.
	CacheBytes int64
	// Log takes the store's own messages; nil drops them.
	Log *slog.Logger
}

// Open opens the journal in folder dir, and makes the folder when it is not
// there. It refuses, and leaves untouched, a folder that another process has
// open (ErrInUse), that holds something else or that cannot be read
// (sessiondb.ErrCorrupt); the error names the folder and says what to do.
func Open(dir string, opts Options) (sessiondb.Journal, error) {
	return nil, errors.ErrUnsupported
}

// ErrInUse says that another process has the journal open.
var ErrInUse = errors.New("journal is in use")
