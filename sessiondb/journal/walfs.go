package journal

import (
	"errors"
	"hash/crc32"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// walFS is the file system with write-ahead logs that sync by doing nothing,
// and with a seal on logs and manifests.
//
// Pebble's own unsynced commits are not enough: they return while the record
// is still in the process' memory, and kill -9 takes it. A synced commit
// returns after the write and the sync of the log; without the sync the
// record is in the kernel's page cache, which outlives the process. Everything
// else, tables and manifests, is synced as Pebble wants it.
type walFS struct {
	vfs.FS
	seal *seal

	mu   sync.Mutex
	logs map[*walFile]struct{} // the open ones
}

func newWALFS(under vfs.FS, s *seal) *walFS {
	return &walFS{FS: under, seal: s, logs: make(map[*walFile]struct{})}
}

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

func isManifest(name string) bool { return strings.HasPrefix(filepath.Base(name), "MANIFEST-") }

// Create implements vfs.FS.
func (fs *walFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if !isLog(name) && !isManifest(name) {
		return fs.FS.Create(name, c)
	}
	fs.seal.forget(filepath.Base(name)) // of a file that is replaced
	slot, err := fs.seal.claim(filepath.Base(name))
	if err != nil {
		return nil, err
	}
	f, err := fs.FS.Create(name, c)
	if err != nil {
		fs.seal.forget(filepath.Base(name))
		return nil, err
	}
	sealed := sealedFile{File: f, seal: fs.seal, slot: slot}
	if isManifest(name) {
		return &sealed, nil
	}
	w := &walFile{sealedFile: sealed, fs: fs}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.logs[w] = struct{}{}
	return w, nil
}

// Remove implements vfs.FS.
func (fs *walFS) Remove(name string) error {
	if isLog(name) || isManifest(name) {
		fs.seal.forget(filepath.Base(name))
	}
	return fs.FS.Remove(name)
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

// sealedFile keeps its slot of the seal up to date. One goroutine writes it.
type sealedFile struct {
	vfs.File
	seal *seal
	slot int
	size uint64
	sum  uint32
}

// Write implements vfs.File.
func (f *sealedFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	f.size += uint64(n)
	f.sum = crc32.Update(f.sum, castagnoli, b[:n])
	return n, err
}

// Sync implements vfs.File.
func (f *sealedFile) Sync() error {
	err := f.File.Sync()
	f.confirm(err)
	return err
}

// SyncData implements vfs.File.
func (f *sealedFile) SyncData() error {
	err := f.File.SyncData()
	f.confirm(err)
	return err
}

// confirm seals what is written so far.
func (f *sealedFile) confirm(err error) {
	if err == nil {
		f.seal.update(f.slot, f.size, f.sum)
	}
}

// walFile is a log.
type walFile struct {
	sealedFile
	fs *walFS
}

// Sync implements vfs.File without syncing.
func (w *walFile) Sync() error {
	w.confirm(nil)
	return nil
}

// SyncData implements vfs.File without syncing.
func (w *walFile) SyncData() error { return w.Sync() }

// SyncTo implements vfs.File without syncing.
func (w *walFile) SyncTo(int64) (bool, error) { return false, nil }

// Preallocate implements vfs.File: space reserved in advance would be zeros
// behind what was written.
func (w *walFile) Preallocate(int64, int64) error { return nil }

// Close implements vfs.File.
func (w *walFile) Close() error {
	w.fs.mu.Lock()
	delete(w.fs.logs, w)
	w.fs.mu.Unlock()
	return w.File.Close()
}
