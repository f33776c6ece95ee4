package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/ops/lab/proc"
)

// build builds lnsd with a tag, once.
func build(t *testing.T, tag string) string {
	t.Helper()
	to := filepath.Join(bin, "lnsd-"+tag)
	if _, err := os.Stat(to); err == nil {
		return to
	}
	if out, err := exec.Command("go", "build", "-tags", tag, "-o", to, "culvert/cmd/lnsd").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return to
}

// install puts a program where lnsd is started from, as a package's upgrade does.
func install(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to+".new", b, 0o755))
	must(t, os.Rename(to+".new", to))
}

// TestUpgrade replaces lnsd under sessions with traffic by one that writes records of a newer
// version, and the other way: the older one refuses to start on what the newer has written, says so and changes
// nothing, so that the newer one goes on.
func TestUpgrade(t *testing.T) {
	next := build(t, "nextversion")
	l := newHitless(t)
	old, here := filepath.Join(bin, "lnsd"), filepath.Join(l.dir, "lnsd")
	// From a place of its own, where it can be replaced.
	must(t, l.lnsd.Stop(syscall.SIGINT, patience))
	install(t, old, here)
	l.program = here
	l.start()
	l.dialWith(tunnels, each, "--packets", "0", "--packet-rate", "5", "--wait", "30s", "--stay")
	before := l.ids()
	install(t, next, here)
	o := l.kill(syscall.SIGUSR2)
	t.Logf("upgrade: %v to the first packet, %v until all that waited was served", o.first.Round(time.Millisecond), o.all.Round(time.Millisecond))
	if after := l.ids(); !slices.Equal(before, after) || len(before) != sessions {
		t.Fatalf("%d sessions before the upgrade, %d after", len(before), len(after))
	}
	time.Sleep(12 * time.Second) // HELLOs and keepalives make it write tunnels of its own version
	if n, err := l.unanswered(); err != nil || n > 0 {
		t.Errorf("%d packets were lost by the upgrade (%v)", n, err)
	}
	// Back, by mistake. The supervisor tries again and again.
	install(t, old, here)
	pid, err := l.child()
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	must(t, proc.Await(patience, 50*time.Millisecond, l.lnsd, func() error {
		if text := l.lnsd.Tail(40); !strings.Contains(text, "a newer lnsd has written it; start that one again") {
			return os.ErrNotExist
		}
		return nil
	}))
	install(t, next, here)
	must(t, proc.Await(patience, 100*time.Millisecond, l.lnsd, func() error { _, err := l.ctl("status"); return err }))
	if after := l.ids(); !slices.Equal(before, after) {
		t.Fatalf("%d sessions before the mistake, %d after", len(before), len(after))
	}
	r := l.hangUpReport(t)
	// What a process has read and not yet sent dies with it: what comes within 100 ms, where the machine is busy.
	if r.Lost > sessions*5/10 {
		t.Errorf("%d packets were lost by one kill", r.Lost)
	}
	l.accounted(sessions)
}
