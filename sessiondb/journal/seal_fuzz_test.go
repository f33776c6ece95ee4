package journal

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// FuzzSeal opens a journal's seal whatever is in it, as a machine that failed may have left it: it is
// refused with a reason or it counts from now on, and what it says of files is bounded by what is there.
func FuzzSeal(f *testing.F) {
	slot := func(name string, active byte, size, sum uint64) []byte {
		b := make([]byte, slotSize)
		b[offUsed], b[offActive] = byte(len(name)), active
		binary.LittleEndian.PutUint64(b[offPairs:], size)
		binary.LittleEndian.PutUint64(b[offPairs+8:], sum)
		copy(b[offName:], name)
		return b
	}
	f.Add([]byte(sealMagic), uint8(1), slot("000001.log", 0, 4, 0xb63cfbcd))
	f.Add([]byte(sealMagic), uint8(1), slot("000001.log", 0, 1<<63, 0))
	f.Add([]byte(sealMagic), uint8(0), slot("../../etc/passwd", 0, 1, 0))
	f.Add([]byte(sealMagic), uint8(1), append(slot("a", 2, 0, 0), slot("", 0, 0, 0)...))
	f.Add([]byte("culvert seal 2"), uint8(1), []byte{})
	dir := f.TempDir()
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o700); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(db, "000001.log"), []byte{1, 2, 3, 4}, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, head []byte, clean uint8, slots []byte) {
		content := make([]byte, sealSize)
		copy(content[:offClean], head)
		content[offClean] = clean
		copy(content[slotSize:], slots)
		if err := os.WriteFile(filepath.Join(dir, sealFile), content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openSeal(dir)
		if err != nil {
			return
		}
		defer s.close()
		if s.begin(db) != nil {
			return
		}
		slot, err := s.claim("000002.log")
		if err != nil {
			return // all places are taken
		}
		s.update(slot, 9, 5)
		s.forget("000002.log")
		if again, err := s.claim("000003.log"); err != nil || again > slot {
			t.Fatalf("a place that was given back is not found: %d after %d, %v", again, slot, err)
		}
	})
}
