package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"culvert/ops/lab/proc"
)

const (
	// envRun is set by `make interop`: the suite takes minutes, so that
	// `go test ./...` leaves it out.
	envRun = "CULVERT_INTEROP"
	// envOut is where logs, the capture and the table are left.
	envOut = "CULVERT_INTEROP_OUT"
)

// patience bounds each wait for what is sure to come. It tells what hangs from what is slow, on a machine that may have a fifth
// of its speed for minutes, and costs nothing where all is well. How fast we are is for the benchmarks to tell.
const patience = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(envRun) == "" {
		os.Exit(m.Run()) // the suite skips and says why
	}
	os.Exit(proc.Main(m.Run))
}

// needsInside skips a test that is not in the suite's namespaces.
func needsInside(t *testing.T) {
	t.Helper()
	switch {
	case os.Getenv(envRun) == "":
		t.Skip("run by make interop")
	case !proc.Inside():
		t.Skip("needs root, for namespaces and devices")
	}
}

// output runs a program for at most limit and gives what it printed.
func output(limit time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// await polls until try gives nil, and gives its last error after limit. It
// gives up at once when the daemon, if any, has ended.
func await(limit time.Duration, d *proc.Daemon, try func() error) error {
	return proc.Await(limit, 20*time.Millisecond, d, try)
}

// tail is the last n lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
