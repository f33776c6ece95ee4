package journal

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// fill makes a journal with n sessions and closes it.
func fill(t *testing.T, dir string, n int) {
	t.Helper()
	j := mustOpen(t, dir)
	var changes []sessiondb.Change
	for i := range n {
		s := storetest.SessionOf(i)
		s.State = bytes.Repeat([]byte{byte(i)}, 1000)
		changes = append(changes, sessiondb.Change{Op: sessiondb.PutSession, Session: &s})
		if len(changes) == 100 || i == n-1 {
			if err := j.Apply(t.Context(), changes); err != nil {
				t.Fatal(err)
			}
			changes = nil
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// content gives all files of a folder but the lock.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockFile {
			return err
		}
		text, err := os.ReadFile(name)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// refused opens a folder that must be refused and left as it is.
func refused(t *testing.T, dir string, opts Options, want error, mention ...string) {
	t.Helper()
	before := content(t, dir)
	j, err := Open(dir, opts)
	if err == nil {
		j.Close()
		t.Errorf("opened, should be refused (%v)", mention)
		return
	}
	if want != nil && !errors.Is(err, want) {
		t.Errorf("error %v, should be %v", err, want)
	}
	for _, m := range append(mention, dir) {
		if !strings.Contains(err.Error(), m) {
			t.Errorf("error %q does not mention %q", err, m)
		}
	}
	after := content(t, dir)
	for name, text := range before {
		if after[name] != text {
			t.Errorf("file %s was changed", name)
		}
	}
}

func TestEpochRises(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "journal")
	for want := uint32(1); want < 5; want++ {
		j := mustOpen(t, dir)
		if j.Epoch() != want {
			t.Errorf("epoch %d, should be %d", j.Epoch(), want)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForeignFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("do not delete"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, quiet(), sessiondb.ErrCorrupt, "thesis.tex", "empty folder")
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("the folder has %v", names)
	}
	if err := os.MkdirAll(filepath.Join(dir, "sub", "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, filepath.Join(dir, "sub")) // a fresh file system is no foreign folder
}

func TestNotAFolder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, name, quiet(), nil)
}

func TestOtherNode(t *testing.T) {
	dir := t.TempDir()
	opts := quiet()
	opts.Node = "a"
	j, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	opts.Node = "b"
	refused(t, dir, opts, sessiondb.ErrCorrupt, `"a"`, `"b"`)
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir)
	refused(t, dir, quiet(), ErrInUse, "process")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
}

func TestMarkerDamaged(t *testing.T) {
	for name, damage := range map[string]func(text string) string{
		"empty":   func(string) string { return "" },
		"cut":     func(s string) string { return s[:len(s)-3] },
		"changed": func(s string) string { return strings.Replace(s, "epoch 1", "epoch 2", 1) },
		"layout":  func(s string) string { return strings.Replace(s, "journal 1", "journal 2", 1) },
		"more":    func(s string) string { return s + "x" },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir, 10)
			file := filepath.Join(dir, markerFile)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(damage(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, quiet(), sessiondb.ErrCorrupt, "JOURNAL", "mv ")
		})
	}
}

func TestDatabaseMissing(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 10)
	if err := os.RemoveAll(filepath.Join(dir, databaseFolder)); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, quiet(), sessiondb.ErrCorrupt)
}

// TestDamaged damages each kind of file; either the opening or the reading
// must notice, and no wrong record may be given.
func TestDamaged(t *testing.T) {
	for pattern, kinds := range map[string][]string{
		"*.sst": {"garbage", "cut", "flip", "missing"}, "*.log": {"garbage", "cut", "flip", "missing"},
		"MANIFEST-*": {"garbage", "cut", "flip", "missing"}, "marker.manifest.*": {"missing"}, // its content is its name
	} {
		for _, kind := range kinds {
			t.Run(pattern+" "+kind, func(t *testing.T) { testDamaged(t, pattern, kind) })
		}
	}
}

func testDamaged(t *testing.T, pattern, kind string) {
	const sessions = 25_000 // some are in tables, some in the log
	dir := t.TempDir()
	fill(t, dir, sessions)
	files, _ := filepath.Glob(filepath.Join(dir, databaseFolder, pattern))
	if len(files) == 0 {
		t.Fatal("there is no such file")
	}
	damageFile(t, files[len(files)-1], kind)
	j, err := Open(dir, quiet())
	if err == nil {
		defer j.Close()
		n := 0
		for s, e := range j.Sessions(t.Context()) {
			if err = e; e != nil {
				break
			}
			if want := storetest.SessionOf(n); s.Key != want.Key || s.User != want.User {
				t.Fatalf("session %d is %v of %s", n, s.Key, s.User)
			}
			n++
		}
		if err == nil && n != sessions {
			t.Errorf("nobody noticed; %d sessions", n)
		}
	}
	if err != nil && (!errors.Is(err, sessiondb.ErrCorrupt) || !strings.Contains(err.Error(), dir)) {
		t.Errorf("error %v", err)
	}
}

func damageFile(t *testing.T, name, kind string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	switch kind {
	case "missing":
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		return
	case "garbage":
		for i := range text {
			text[i] = byte(rand.Uint32())
		}
	case "cut":
		text = text[:len(text)/2]
	case "flip":
		text[len(text)/3] ^= 0x40
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestMachineFailed is what a failure of the machine may leave: a log without
// its end, and a seal of an earlier boot. What is before the end must be there.
func TestMachineFailed(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 100)
	logs, _ := filepath.Glob(filepath.Join(dir, databaseFolder, "*.log"))
	name := logs[len(logs)-1]
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, info.Size()-10); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, quiet(), sessiondb.ErrCorrupt, "missing")
	s, err := openSeal(dir)
	if err != nil {
		t.Fatal(err)
	}
	*s.number(offClean) = 0
	copy(s.mem[offBoot:], "another boot")
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	j := mustOpen(t, dir)
	for n, err := range j.Tunnels(t.Context()) {
		t.Fatal(n, err)
	}
	for _, err := range j.Sessions(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	apply := []sessiondb.Change{{Op: sessiondb.PutEntry, Entry: &sessiondb.Entry{Seq: 1}}}
	if err := j.Apply(t.Context(), apply); err != nil {
		t.Fatal(err)
	}
}

func TestSealDamaged(t *testing.T) {
	for name, damage := range map[string]func(text []byte) []byte{
		"empty":   func([]byte) []byte { return nil },
		"garbage": func(b []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(b)) },
		"slot":    func(b []byte) []byte { b[slotSize+offActive] = 7; return b },
		"numbers": func(b []byte) []byte {
			for i := slotSize + offPairs; i < slotSize+offName; i++ {
				b[i] ^= 1
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir, 10)
			file := filepath.Join(dir, sealFile)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(text), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, quiet(), sessiondb.ErrCorrupt)
		})
	}
}
