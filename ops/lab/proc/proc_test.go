package proc

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       stat
		bad        bool
	}{
		{name: "plain", text: "7 (lnsd) S 3 7 7 0 -1 4 1 2 3 4 150 50 7 3 20 0", want: stat{3, 2 * time.Second, 100 * time.Millisecond}},
		{name: "name with spaces and parentheses", text: "7 (a) b) (c) R 9 7 7 0 -1 4 1 2 3 4 1 0 0 0 20 0", want: stat{9, tick, 0}},
		{name: "cut off", text: "7 (lnsd) S 3 7", bad: true},
		{name: "not a number", text: "7 (lnsd) S x 7 7 0 -1 4 1 2 3 4 150 50 7 3 20 0", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseStat([]byte(c.text))
			if got != c.want || (err != nil) != c.bad {
				t.Errorf("parseStat: %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	spent := 0
	for began := time.Now(); time.Since(began) < 100*time.Millisecond; {
		spent += len(strings.Repeat("x", 1000))
	}
	t.Logf("made %d octets to be busy", spent)
	after, err := CPU(os.Getpid())
	tree, err2 := CPUTree(os.Getpid())
	if err = errors.Join(err, err2); err != nil || after <= before || tree < after {
		t.Errorf("CPU %v, then %v, with children %v: %v", before, after, tree, err)
	}
	if rss, err := RSS(os.Getpid()); err != nil || rss < 1<<20 {
		t.Errorf("RSS: %d, %v", rss, err)
	}
	if _, err := CPU(1 << 30); err == nil {
		t.Error("CPU of a process that is not there gave no error")
	}
}

func TestDaemon(t *testing.T) {
	dir := t.TempDir()
	d, err := Start(dir, "talker", nil, "sh", "-c", "echo one; echo two; exec sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	if err := Await(10*time.Second, time.Millisecond, d, func() error {
		if d.Tail(1) != "two" {
			return errors.New("it has not spoken")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := d.Wait(time.Millisecond); err == nil {
		t.Error("Wait found the end of a program that runs")
	}
	if err := d.Stop(syscall.SIGTERM, 10*time.Second); err != nil {
		t.Error(err)
	}
	if err := Await(time.Minute, time.Millisecond, d, func() error { return errors.New("not yet") }); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("Await with a dead daemon: %v", err)
	}
}

func TestDaemonThatFails(t *testing.T) {
	d, err := Start(t.TempDir(), "failer", nil, "sh", "-c", "echo because >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Wait(10 * time.Second); err == nil || !strings.Contains(err.Error(), "because") {
		t.Errorf("Wait: %v", err)
	}
}

func TestDaemonThatWillNotEnd(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	d, err := Start(t.TempDir(), "stubborn", nil, "sh", "-c", "trap '' TERM; touch "+ready+"; while :; do sleep 0.05; done")
	if err != nil {
		t.Fatal(err)
	}
	if err := Await(10*time.Second, time.Millisecond, d, func() error {
		_, err := os.Stat(ready)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(syscall.SIGTERM, 50*time.Millisecond); err == nil {
		t.Error("Stop gave no error for a program that it had to kill")
	}
}
