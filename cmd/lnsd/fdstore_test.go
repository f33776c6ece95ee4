package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/lns/dataplane"
)

// fakePlane has files to keep and nothing else.
type fakePlane struct {
	dataplane.Plane
	names []string
}

func (p fakePlane) Files(f func(dataplane.File) error) error {
	for _, n := range p.names {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = f(dataplane.File{Name: n, FD: fd})
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// TestFilesAreKept has the service manager's side, which is the supervisor's, take what lnsd gives it.
func TestFilesAreKept(t *testing.T) {
	s := &supervisor{path: filepath.Join(t.TempDir(), "notify"), news: make(chan notice, 16), held: map[string]*os.File{}}
	var err error
	if s.sock, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	defer s.sock.Close()
	go s.listen()
	t.Setenv("NOTIFY_SOCKET", s.path)
	take := func(n int) {
		t.Helper()
		t.Setenv("NOTIFY_SOCKET", "") // of a supervisor's own manager there is none
		for range n {
			select {
			case m := <-s.news:
				s.take(m)
			case <-time.After(5 * time.Second):
				t.Fatal("nothing came")
			}
		}
		t.Setenv("NOTIFY_SOCKET", s.path)
	}
	log := slog.New(slog.DiscardHandler)
	keepFiles(fakePlane{names: []string{"udp-a-0-of-2", "udp-a-1-of-2"}}, nil, log)
	notify("READY=1")
	take(3)
	if len(s.held) != 2 || !s.ready || s.held["udp-a-1-of-2"] == nil {
		t.Fatalf("held: %v, ready %v", s.held, s.ready)
	}
	if _, err := s.held["udp-a-0-of-2"].Stat(); err != nil {
		t.Errorf("what is held is of no use: %v", err)
	}
	// The next process has one of them, does not want the other, and has a new one.
	before := []dataplane.File{{Name: "udp-a-0-of-2"}, {Name: "udp-a-1-of-2"}}
	keepFiles(fakePlane{names: []string{"udp-a-0-of-2", "tun-cul0-0-of-1"}}, before, log)
	take(2)
	if len(s.held) != 2 || s.held["udp-a-1-of-2"] != nil || s.held["tun-cul0-0-of-1"] == nil {
		t.Errorf("held: %v", s.held)
	}
	cmd, err := s.command()
	if err != nil || len(cmd.ExtraFiles) != 2 {
		t.Fatalf("the next process gets %v, %v", cmd, err)
	}
	env := map[string]bool{}
	for _, v := range cmd.Env {
		env[v] = true
	}
	if !env["LISTEN_FDS=2"] || !env["LISTEN_FDNAMES=tun-cul0-0-of-1:udp-a-0-of-2"] || !env["NOTIFY_SOCKET="+s.path] {
		t.Errorf("the environment is %v", cmd.Env)
	}
}

// TestNothingIsInherited: descriptors for another process are not this one's.
func TestNothingIsInherited(t *testing.T) {
	t.Setenv("LISTEN_FDS", "2")
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDNAMES", "a:b")
	if list := inherited(); list != nil {
		t.Errorf("%v", list)
	}
	if os.Getenv("LISTEN_FDS") != "" {
		t.Error("what this process starts would think that it has descriptors")
	}
	t.Setenv("NOTIFY_SOCKET", "")
	keepFiles(fakePlane{names: []string{"udp-a-0-of-1"}}, nil, slog.New(slog.DiscardHandler)) // nobody to keep it
}

func TestDrops(t *testing.T) {
	for _, c := range []struct {
		signal   os.Signal
		shutdown string
		want     bool
	}{
		{unix.SIGTERM, shutdownKeep, false}, {unix.SIGTERM, shutdownDrop, true},
		{unix.SIGINT, shutdownKeep, true}, {unix.SIGUSR2, shutdownDrop, false},
	} {
		if got := drops(c.signal, c.shutdown); got != c.want {
			t.Errorf("%v with shutdown: %s drops %v", c.signal, c.shutdown, got)
		}
	}
}
