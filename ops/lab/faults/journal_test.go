package faults

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBadJournalStopsTheStart kills lnsd under sessions and has it find its journal damaged, or another node's, or a folder that
// is something else: it does not start, names the thing, and changes no octet of it. With the journal as it was before,
// all sessions go on.
func TestBadJournalStopsTheStart(t *testing.T) {
	l := newLab(t, nil)
	l.dial()
	if err := l.lnsd.Stop(syscall.SIGKILL, patience); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(l.dir, "journal")
	good := files(t, dir)
	conf := filepath.Join(l.dir, "lnsd.yaml")
	for _, c := range []struct {
		name string
		harm func(t *testing.T)
		want []string
	}{
		{"damaged log", func(t *testing.T) { harm(t, dir, "db/*.log", "*.log") }, []string{dir}},
		{"damaged marker", func(t *testing.T) { harm(t, dir, "JOURNAL") }, []string{dir, "JOURNAL"}},
		{"a folder of something else", func(t *testing.T) {
			must(t, os.RemoveAll(dir))
			must(t, os.MkdirAll(dir, 0o700))
			must(t, os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("do not delete"), 0o600))
		}, []string{dir, "thesis.tex"}},
		{"another node's", func(t *testing.T) { rename(t, conf, "node: lns1", "node: lns2") }, []string{dir, "lns1", "lns2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.harm(t)
			before := files(t, dir)
			out, err := startFails(t, conf)
			for _, w := range c.want {
				if !strings.Contains(out, w) {
					t.Errorf("lnsd says %q, and does not mention %q", out, w)
				}
			}
			if err == nil {
				t.Error("lnsd has ended without an error")
			}
			if after := files(t, dir); !maps.Equal(before, after) {
				t.Error("the folder was changed")
			}
			t.Logf("%s", out)
			must(t, os.RemoveAll(dir))
			for name, text := range good {
				must(t, os.MkdirAll(filepath.Dir(name), 0o700))
				must(t, os.WriteFile(name, []byte(text), 0o600))
			}
		})
	}
	rename(t, conf, "node: lns2", "node: lns1")
	l.start()
	if n := l.up(); n != sessions {
		t.Errorf("%d sessions are up, want %d", n, sessions)
	}
	l.hangUp()
	l.accounted(sessions)
}

// startFails runs lnsd, which is to end by itself.
func startFails(t *testing.T, conf string) (string, error) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "lnsd"), "run", "--config", conf)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return out.String(), err
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-done
		t.Fatalf("lnsd has started:\n%s", out.String())
		return "", nil
	}
}

// files are all files of a folder, but the lock.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		text, err := os.ReadFile(name)
		all[name] = string(text)
		return err
	}))
	return all
}

// harm turns an octet round in the midst of the largest file of the patterns.
func harm(t *testing.T, dir string, patterns ...string) {
	t.Helper()
	var name string
	var most int64
	for _, p := range patterns {
		found, _ := filepath.Glob(filepath.Join(dir, p))
		for _, f := range found {
			if info, err := os.Stat(f); err == nil && info.Size() > most {
				name, most = f, info.Size()
			}
		}
	}
	if name == "" {
		t.Fatalf("the journal has no %v", patterns)
	}
	text, err := os.ReadFile(name)
	must(t, err)
	text[len(text)/3] ^= 0x40
	must(t, os.WriteFile(name, text, 0o600))
}

// rename changes a word of a file.
func rename(t *testing.T, file, from, to string) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, bytes.Replace(text, []byte(from), []byte(to), 1), 0o600))
}
