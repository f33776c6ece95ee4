package dataplane

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzCounterFile opens whatever may stand where the counters do: with the head of
// a file, and with what is in its slots. What is refused stays as it is; of what is
// taken every slot is a session's or free, and each session's counts only grow.
func FuzzCounterFile(f *testing.F) {
	head := append([]byte(counterMagic), counterFormat)
	slot := make([]byte, countsSize)
	slot[0], slot[8], slot[16] = 7, 5, 9
	other := bytes.Clone(slot)
	other[0] = 8
	f.Add(head, append(slot, other...), uint64(7), true)
	f.Add(head, append(slot, slot...), uint64(7), true) // one session twice
	f.Add(append([]byte(counterMagic), 2), slot, uint64(1), true)
	f.Add([]byte("culvert"), []byte{}, uint64(1), false)
	f.Add([]byte{}, []byte{}, uint64(0), false)
	log := slog.New(slog.DiscardHandler)
	path := filepath.Join(f.TempDir(), "counters")
	f.Fuzz(func(t *testing.T, head, slots []byte, id uint64, whole bool) {
		if len(head) > counterHeader || len(slots) > counterChunk {
			return
		}
		writeCounterFile(t, path, head, slots, whole)
		before, _ := os.Stat(path)
		c, err := OpenCounters(path, log)
		if err != nil {
			if after, _ := os.Stat(path); after.Size() != before.Size() {
				t.Fatalf("a file that is refused (%v) has changed", err)
			}
			return
		}
		defer func() {
			for _, mem := range c.chunks {
				_ = unix.Munmap(mem)
			}
			_ = c.Close()
		}()
		if n := len(c.chunks) * (counterChunk / countsSize); len(c.left)+len(c.free) != n {
			t.Fatalf("%d slots, of which %d are sessions' and %d free", n, len(c.left), len(c.free))
		}
		was, known := Counters{}, Counters{InOctets: 6, OutPackets: 1}
		if s := c.left[id]; s != nil {
			was = s.get()
		}
		s, found := c.take(id, &known)
		want := known
		if found {
			want = was.atLeast(&known)
		}
		if got := s.get(); got != want {
			t.Fatalf("found %v: counts are %+v, want %+v", found, got, want)
		}
		c.settle()
		if len(c.left) != 0 {
			t.Fatal("something is left that nobody claimed")
		}
		c.give(s)
	})
}

// writeCounterFile makes a file of a head and a chunk, or of the head alone.
func writeCounterFile(t *testing.T, path string, head, slots []byte, whole bool) {
	t.Helper()
	if err := os.WriteFile(path, head, 0o600); err != nil {
		t.Fatal(err)
	}
	if !whole {
		return
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(counterHeader + counterChunk); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(slots, counterHeader); err != nil {
		t.Fatal(err)
	}
}
