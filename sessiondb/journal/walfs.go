package journal

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// walFS is the file system with write-ahead logs that sync by doing nothing.
//
// Pebble's own unsynced commits are not enough: they return while the record
// is still in the process' memory, and kill -9 takes it. A synced commit
// returns after the write and the sync of the log; without the sync the
// record is in the kernel's page cache, which outlives the process. Everything
// else, tables and manifests, is synced as Pebble wants it.
type walFS struct {
	vfs.FS

	mu   sync.Mutex
	logs map[*walFile]struct{} // the open ones
}

func newWALFS() *walFS {
	return &walFS{FS: vfs.Default, logs: make(map[*walFile]struct{})}
}

// Create implements vfs.FS.
func (fs *walFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	w := &walFile{File: f, fs: fs}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.logs[w] = struct{}{}
	return w, nil
}

// ReuseForWrite implements vfs.FS, and begins a new log instead: after a
// failure of the machine the old content of a reused one would lie between
// what was written back and what was not.
func (fs *walFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.Remove(old); err != nil {
		return nil, err
	}
	return fs.Create(name, c)
}

// Unwrap implements vfs.FS.
func (fs *walFS) Unwrap() vfs.FS { return fs.FS }

// syncLogs brings the open logs to disk.
func (fs *walFS) syncLogs() error {
	fs.mu.Lock()
	logs := slices.Collect(maps.Keys(fs.logs))
	fs.mu.Unlock()
	var errs []error
	for _, w := range logs {
		errs = append(errs, w.File.SyncData())
	}
	return errors.Join(errs...)
}

type walFile struct {
	vfs.File
	fs *walFS
}

// The syncs that do nothing, and a reservation of space that would leave
// zeros behind what was written.

func (*walFile) Sync() error                    { return nil }
func (*walFile) SyncData() error                { return nil }
func (*walFile) SyncTo(int64) (bool, error)     { return false, nil }
func (*walFile) Preallocate(int64, int64) error { return nil }

// Close implements vfs.File.
func (w *walFile) Close() error {
	w.fs.mu.Lock()
	delete(w.fs.logs, w)
	w.fs.mu.Unlock()
	return w.File.Close()
}
