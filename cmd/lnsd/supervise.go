package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The wait before a process that died is started again: the first one doubles up
// to the last with each process that dies before it has served for restartCalm.
const (
	restartFirst = 20 * time.Millisecond
	restartLast  = 5 * time.Second
	restartCalm  = time.Second
)

// supervisor is lnsd's parent where no service manager keeps descriptors: it holds
// the sockets and TUN queues, and starts lnsd again when it dies. It does so little that it
// need not be replaced with lnsd.
type supervisor struct {
	args []string
	log  *slog.Logger
	path string // of the socket that lnsd notifies
	sock *net.UnixConn
	// news are what lnsd says; held the descriptors by name.
	news  chan notice
	held  map[string]*os.File
	ready bool      // this child has been, ever is any
	since time.Time // when it became so
	ever  bool
}

// notice is one message of lnsd.
type notice struct {
	text  string
	files []*os.File
}

// supervise runs lnsd with these arguments until it is told to end.
func supervise(args []string, log *slog.Logger) error {
	dir, err := os.MkdirTemp("", "lnsd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &supervisor{args: args, log: log, path: filepath.Join(dir, "notify"), news: make(chan notice, 16), held: map[string]*os.File{}}
	if s.sock, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"}); err != nil {
		return err
	}
	defer s.sock.Close()
	go s.listen()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	return s.run(signals)
}

// listen passes on what lnsd says.
func (s *supervisor) listen() {
	b, oob := make([]byte, 4096), make([]byte, 4096)
	for {
		n, k, _, _, err := s.sock.ReadMsgUnix(b, oob)
		if err != nil {
			return
		}
		m := notice{text: string(b[:n])}
		list, _ := unix.ParseSocketControlMessage(oob[:k])
		for i := range list {
			fds, _ := unix.ParseUnixRights(&list[i])
			for _, fd := range fds {
				unix.CloseOnExec(fd)
				m.files = append(m.files, os.NewFile(uintptr(fd), "kept"))
			}
		}
		s.news <- m
	}
}

// errEnd is why there is no next life.
var errEnd = errors.New("end")

// run starts life after life.
func (s *supervisor) run(signals <-chan os.Signal) error {
	wait := restartFirst
	for {
		began := time.Now()
		again, err := s.life(signals)
		switch {
		case errors.Is(err, errEnd):
			return nil
		case !s.ever:
			return err // it never worked: its own words say what is wrong
		}
		if again || s.ready && time.Since(s.since) >= restartCalm {
			wait = restartFirst
		}
		if !again {
			s.log.Error("lnsd has died and is started again; its sessions go on", "how", err, "after", time.Since(began).Round(time.Millisecond), "in", wait)
			if end := s.pause(wait, signals); end {
				return nil
			}
			wait = min(2*wait, restartLast)
		}
	}
}

// pause waits, and says whether to end instead.
func (s *supervisor) pause(d time.Duration, signals <-chan os.Signal) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return false
		case g := <-signals:
			if g == syscall.SIGTERM || g == syscall.SIGINT {
				return true
			}
		case m := <-s.news:
			s.take(m)
		}
	}
}

// life runs one process to its end. again says that it ended because it was told to make
// room for the next one; the error how it ended else, errEnd for good.
func (s *supervisor) life(signals <-chan os.Signal) (again bool, err error) {
	cmd, err := s.command()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	s.ready = false
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	ending := false
	for {
		select {
		case err := <-done:
			switch {
			case ending, err == nil && !again:
				return false, errors.Join(errEnd, err)
			case again:
				return true, nil
			}
			return false, err
		case m := <-s.news:
			s.take(m)
		case g := <-signals:
			switch g {
			case syscall.SIGTERM, syscall.SIGINT:
				ending, again = true, false
			case syscall.SIGUSR2:
				again = !ending
			}
			_ = cmd.Process.Signal(g)
		}
	}
}

// take acts on what lnsd says.
func (s *supervisor) take(m notice) {
	name, remove := "", false
	for line := range strings.Lines(m.text) {
		switch key, v, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "READY":
			s.ready, s.ever, s.since = true, true, time.Now()
			notify("READY=1")
		case "FDNAME":
			name = v
		case "FDSTOREREMOVE":
			remove = true
		}
	}
	if old := s.held[name]; old != nil && (remove || len(m.files) > 0) {
		old.Close()
		delete(s.held, name)
	}
	for _, f := range m.files {
		if name == "" || s.held[name] != nil {
			f.Close()
			continue
		}
		s.held[name] = f
	}
}

// command is lnsd with all that is held. The program is looked up anew each time: an
// upgrade has put another one in its place.
func (s *supervisor) command() (*exec.Cmd, error) {
	program, err := programPath()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), program, s.args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Signals of a terminal come to the supervisor, which passes them on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	names := make([]string, 0, len(s.held))
	for n := range s.held {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.held[n])
	}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "NOTIFY_SOCKET=") && !strings.HasPrefix(v, "LISTEN_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+s.path)
	if len(names) > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprint("LISTEN_FDS=", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	return cmd, nil
}

// programPath is where lnsd was started from, not what is there: that may be replaced.
func programPath() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return os.Executable()
	}
	return filepath.Abs(path)
}
