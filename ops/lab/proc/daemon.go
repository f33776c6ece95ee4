package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Daemon is a program that runs beside the suite. One goroutine at a time may
// use it, but for Done.
type Daemon struct {
	// Name is for messages, Log the path of what it prints.
	Name, Log string
	// Done is closed when it has ended; Err then says how.
	Done chan struct{}
	Err  error

	cmd *exec.Cmd
}

// Start starts a program whose output goes to <dir>/<name>.log. in, where not
// nil, is its standard input.
func Start(dir, name string, in *os.File, command ...string) (*Daemon, error) {
	d := &Daemon{Name: name, Log: filepath.Join(dir, name+".log"), Done: make(chan struct{})}
	log, err := os.Create(d.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd = exec.Command(command[0], command[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if in != nil {
		d.cmd.Stdin = in
	}
	// Some servers signal their process group when they end.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		d.Err = d.cmd.Wait()
		close(d.Done)
	}()
	return d, nil
}

// PID is the process's.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Stop ends the program by a signal and waits for it; after limit it is killed,
// and that is the error.
func (d *Daemon) Stop(sig syscall.Signal, limit time.Duration) error {
	_ = d.cmd.Process.Signal(sig) // one that has ended already is told of below
	select {
	case <-d.Done:
		return nil
	case <-time.After(limit):
		_ = d.cmd.Process.Kill()
		<-d.Done
		return fmt.Errorf("%s did not end within %v of %v; see %s", d.Name, limit, sig, d.Log)
	}
}

// Wait waits for the program to end by itself, with success.
func (d *Daemon) Wait(limit time.Duration) error {
	select {
	case <-d.Done:
		if d.Err != nil {
			return fmt.Errorf("%s: %w\n%s", d.Name, d.Err, d.Tail(30))
		}
		return nil
	case <-time.After(limit):
		return fmt.Errorf("%s has not ended after %v\n%s", d.Name, limit, d.Tail(30))
	}
}

// Tail is the last n lines of what the program has printed.
func (d *Daemon) Tail(n int) string {
	text, _ := os.ReadFile(d.Log) // for people
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Await polls until try gives nil, and gives its last error after limit. It
// gives up at once when the daemon, if any, has ended.
func Await(limit, every time.Duration, d *Daemon, try func() error) error {
	var dead <-chan struct{}
	if d != nil {
		dead = d.Done
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
			return fmt.Errorf("%s has ended: %v\n%s", d.Name, d.Err, d.Tail(30))
		case <-time.After(every):
		}
	}
}
