package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ip runs commands of ip(8).
func ip(lines ...string) error {
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
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

// daemon is a server that the suite started.
type daemon struct {
	name string
	cmd  *exec.Cmd
	log  string // the path of its output
	done chan struct{}
	err  error // why it ended; after done
}

// startDaemon starts a program whose output goes to <out>/<name>.log.
func startDaemon(out, name string, command ...string) (*daemon, error) {
	d := &daemon{name: name, log: filepath.Join(out, name+".log"), done: make(chan struct{})}
	log, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd = exec.Command(command[0], command[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	// Some servers signal their process group when they end.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	return d, nil
}

// stop ends the daemon by a signal and waits for it.
func (d *daemon) stop(sig syscall.Signal, limit time.Duration) error {
	_ = d.cmd.Process.Signal(sig) // one that has ended already is told of below
	select {
	case <-d.done:
		return nil
	case <-time.After(limit):
		_ = d.cmd.Process.Kill()
		<-d.done
		return fmt.Errorf("%s did not end within %v of %v; see %s", d.name, limit, sig, d.log)
	}
}

// await polls until try gives nil, and gives its last error after limit. It
// gives up at once when the daemon, if any, has ended.
func await(limit time.Duration, d *daemon, try func() error) error {
	var dead <-chan struct{}
	if d != nil {
		dead = d.done
	}
	for end := time.Now().Add(limit); ; {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %v: %w", limit, err)
		}
		select {
		case <-dead:
			text, _ := os.ReadFile(d.log)
			return fmt.Errorf("%s ended: %v\n%s", d.name, d.err, tail(string(text), 30))
		case <-time.After(20 * time.Millisecond):
		}
	}
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
