package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Restart starts the server again after Stop or Kill, and waits until it
// takes connections.
func (s *Server) Restart() error {
	if s.cmd != nil {
		return errors.New("pgtest: the server is running")
	}
	// What a killed server shared in /dev/shm would stay there; its own folder is removed.
	args := []string{"-D", s.data(), "-k", s.Dir, "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-c", "dynamic_shared_memory_type=mmap"}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	cmd.Dir = s.Dir
	if err := unprivileged(cmd); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) { cmd.Wait(); close(exited) }(s.exited)
	return s.awaitReady(time.Minute)
}

func (s *Server) awaitReady(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, s.ConnString("postgres"))
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-s.exited:
			s.cmd = nil
			return fmt.Errorf("pgtest: the server ended: %s", s.Log())
		case <-ctx.Done():
			return fmt.Errorf("pgtest: the server does not answer: %w: %s", err, s.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop shuts the server down as an operator would, ending its connections.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	s.Resume()
	s.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-s.exited:
		s.cmd = nil
	case <-time.After(20 * time.Second):
		s.Kill()
	}
}

// Kill ends the server and all its processes at once, as a power failure
// does to everything but what the kernel has.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	all := append([]int{s.cmd.Process.Pid}, children(s.cmd.Process.Pid)...)
	for _, pid := range all {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.exited
	for _, pid := range all {
		for deadline := time.Now().Add(5 * time.Second); running(pid) && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
	}
	s.cmd, s.stalled = nil, nil
}

// Stall stops all the server's processes where they are: connections stay, and
// the kernel takes new ones, but nothing answers.
func (s *Server) Stall() {
	if s.cmd == nil || s.stalled != nil {
		return
	}
	postmaster := s.cmd.Process.Pid
	syscall.Kill(postmaster, syscall.SIGSTOP) // first, so that it makes no more children
	s.stalled = append([]int{postmaster}, children(postmaster)...)
	for _, pid := range s.stalled {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// Resume ends Stall.
func (s *Server) Resume() {
	for _, pid := range s.stalled {
		syscall.Kill(pid, syscall.SIGCONT)
	}
	s.stalled = nil
}

// Close ends the server and removes its folder.
func (s *Server) Close() {
	s.Kill()
	os.RemoveAll(s.Dir)
}

// children gives the processes whose parent is pid.
func children(pid int) []int {
	var all []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		child, _ := strconv.Atoi(strings.Split(name, "/")[2])
		if fields := statFields(child); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			all = append(all, child)
		}
	}
	return all
}

func running(pid int) bool {
	fields := statFields(pid)
	return len(fields) > 0 && fields[0] != "Z" && fields[0] != "X"
}

// statFields gives what follows the name in /proc/pid/stat: state, parent, ...
func statFields(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// unprivileged makes cmd run as another user when this one is root, because
// PostgreSQL refuses to, and end when this process does.
func unprivileged(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		return nil
	}
	uid, gid, err := runAs()
	if err == nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return err
}

func own(dir string) error {
	if os.Getuid() != 0 {
		return nil
	}
	uid, gid, err := runAs()
	if err != nil {
		return err
	}
	return os.Chown(dir, int(uid), int(gid))
}

// runAs gives the user that root runs PostgreSQL as.
func runAs() (uid, gid uint32, err error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		id, err1 := strconv.ParseUint(u.Uid, 10, 32)
		group, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return 0, 0, err
		}
		return uint32(id), uint32(group), nil
	}
	return 0, 0, fmt.Errorf("%w: there is no user postgres to run it as", ErrNotInstalled)
}
