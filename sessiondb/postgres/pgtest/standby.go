package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Standby makes a hot standby of s by streaming replication, which ends with
// the test. Its databases are read-only until Promote.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	r, err := s.standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func (s *Server) standby() (*Server, error) {
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	r := &Server{Dir: dir, bin: s.bin, settings: s.settings}
	if err := own(dir); err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(s.bin, "pg_basebackup"), "-D", r.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port),
		"-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync")
	cmd.Dir = dir
	if err := unprivileged(cmd); err != nil {
		return nil, err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	if r.Port, err = freePort(); err == nil {
		err = r.Restart()
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Promote makes a standby take over, and waits until it does.
func (s *Server) Promote() error {
	cmd := exec.Command(filepath.Join(s.bin, "pg_ctl"), "promote", "-D", s.data(), "-w", "-t", "60")
	cmd.Dir = s.Dir
	if err := unprivileged(cmd); err != nil {
		return err
	}
	cmd.SysProcAttr.Pdeathsig = 0
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_ctl promote, after %v: %w: %s", time.Since(began), err, out)
	}
	return nil
}
