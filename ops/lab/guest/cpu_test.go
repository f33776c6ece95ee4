package guest

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPick(t *testing.T) {
	var all unix.CPUSet
	for _, cpu := range []int{0, 3, 70} {
		all.Set(cpu)
	}
	for n, want := range []int{70, 3, 0, 70, 3} {
		if got := pick(&all, n); got != want {
			t.Errorf("pick %d: processor %d, want %d", n, got, want)
		}
	}
}

// TestOnOneCPU has a child tell where it may run, and looks that this process may run where it could before.
func TestOnOneCPU(t *testing.T) {
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	cmd := exec.Command("nproc")
	cmd.Stdout = &told
	if err := onOneCPU(cmd.Start); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || told.String() != "1\n" {
		t.Errorf("the child has %q processors, want 1 (%v)", told.String(), err)
	}
	failed := errors.New("no such program")
	if err := onOneCPU(func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("onOneCPU: %v, want the start's error", err)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
		t.Errorf("this process may run on %v, could on %v (%v)", after, before, err)
	}
}
