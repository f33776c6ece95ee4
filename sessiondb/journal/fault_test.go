package journal

import (
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

func entryChange(n int) []sessiondb.Change {
	e := storetest.EntryOf(n)
	return []sessiondb.Change{{Op: sessiondb.PutEntry, Entry: &e}}
}

// TestFull has changes refused while there is too little space, and taken
// when there is enough again.
func TestFull(t *testing.T) {
	opts := quiet()
	opts.MinFree = math.MaxInt64
	j, err := Open(t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for range 2 {
		if err := j.Apply(t.Context(), entryChange(1)); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), j.dir) {
			t.Fatalf("error %v, should be %v", err, ErrFull)
		}
	}
	j.space.least = 1
	time.Sleep(spaceInterval)
	if err := j.Apply(t.Context(), entryChange(1)); err != nil {
		t.Fatal(err)
	}
}

// fullFS fails the writes of logs at the flick of a switch.
type fullFS struct {
	vfs.FS
	full *atomic.Bool
}

type fullFile struct {
	vfs.File
	full *atomic.Bool
}

func (fs fullFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if isLog(name) && err == nil {
		f = fullFile{f, fs.full}
	}
	return f, err
}

func (f fullFile) Write(b []byte) (int, error) {
	if f.full.Load() {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(b)
}

// TestLogFails has the write of a log fail: no call may hang, crash or claim
// success, and what was confirmed before must be there afterwards.
func TestLogFails(t *testing.T) {
	dir := t.TempDir()
	var full atomic.Bool
	j, err := openOn(fullFS{vfs.Default, &full}, dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Apply(t.Context(), entryChange(1)); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			if err := j.Apply(t.Context(), entryChange(10+i)); err == nil {
				t.Error("a change was taken that could not be written")
			}
		})
	}
	group.Wait()
	full.Store(false)
	err = j.Apply(t.Context(), entryChange(20))
	if err == nil || !strings.Contains(err.Error(), "opened again") {
		t.Errorf("error %v", err)
	}
	j.Close()
	j = mustOpen(t, dir)
	var seqs []uint64
	for e, err := range j.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, e.Seq)
	}
	if len(seqs) == 0 || seqs[0] != 1 || seqs[len(seqs)-1] == 20 {
		t.Errorf("the entries are %v", seqs)
	}
}
