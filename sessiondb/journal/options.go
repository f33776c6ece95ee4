package journal

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

const (
	defaultCache = 8 << 20
	// memTable is the size of the memory between the log and the tables: small, since a record's place in it is
	// searched for, which is cheaper where it fits a processor's cache. Two are in use at times, and up to
	// maxMemTables while the disk is slow; beyond that Apply waits for it.
	memTable     = 4 << 20
	maxMemTables = 16
	// So many of them lie on the disk before they are merged with what lives longer. Nobody reads
	// them before the next start.
	tablesApart = 32
)

// pebbleOptions trades disk for CPU: records are small and many, and all of
// them together are some 100 MiB.
func pebbleOptions(o Options, fs *walFS) *pebble.Options {
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCache
	}
	opts := &pebble.Options{
		FS: fs,
		// Later versions' logs say how far they were synced, which is not
		// true here: after a failure of the machine they would be refused.
		FormatMajorVersion:          pebble.FormatColumnarBlocks,
		CacheSize:                   o.CacheBytes,
		MemTableSize:                memTable,
		MemTableStopWritesThreshold: maxMemTables,
		L0CompactionThreshold:       tablesApart,
		L0StopWritesThreshold:       4 * tablesApart,
		MaxOpenFiles:                200,
		Logger:                      pebbleLog{o.Log},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { o.Log.Warn("journal: background work failed", "error", err) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				o.Log.Error("journal: damaged file", "error", info.String())
			},
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	return opts
}

// fatalError is what pebbleLog panics with.
type fatalError struct{ message string }

func (e fatalError) Error() string { return e.message }

// pebbleLog is Pebble's logger. Its information is of interest to nobody.
type pebbleLog struct{ log *slog.Logger }

func (l pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("journal: " + fmt.Sprintf(format, args...))
}

// Fatalf must not return. Journal.commit catches its panic. In Pebble's own
// goroutines it ends the process, which is right: what is in the log is safe,
// and the next opening takes it from there.
func (l pebbleLog) Fatalf(format string, args ...any) {
	err := fatalError{fmt.Sprintf(format, args...)}
	l.log.Error("journal: " + err.message)
	panic(err)
}
