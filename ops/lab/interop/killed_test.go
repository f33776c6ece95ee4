package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// killed kills lnsd with -9, twice, under a call with a ping going on: neither xl2tpd, nor pppd, nor the
// ping notices.
func (l *lab) killed(x *row, mode string) {
	name := "killed-" + mode
	ln := lineOf(name, "chap")
	lac := l.lacFor(x, secured(name, mode, ln))
	c := l.up(x, lac, ln)
	x.check("ping", func() error { return c.ping(coreAddr) })
	l.started(x, c)
	x.check("ping", func() error {
		done := make(chan error, 1)
		go func() {
			out, err := c.lac.host.Run(60*time.Second, fmt.Sprintf("busybox ping -q -c 60 -i 0.1 -W 5 -I %s %s", c.addr, coreAddr))
			if err == nil && !strings.Contains(out, " 0% packet loss") {
				err = fmt.Errorf("packets were lost while lnsd was killed: %s", out)
			}
			done <- err
		}()
		for range 2 {
			time.Sleep(1500 * time.Millisecond)
			if err := l.lnsd.kill(); err != nil {
				return err
			}
		}
		return <-done
	})
	x.check("ping", func() error { return c.ping(coreAddr) })
	x.check("up", func() error {
		list, err := l.lnsd.sessions()
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.ID == c.sessionID && s.User == c.line.user && s.Address == c.addr {
				return nil
			}
		}
		return fmt.Errorf("after the kills there is no session %s: %+v", c.sessionID, list)
	})
	x.check("end", c.hangUp)
	l.ended(x, c, byUser)
}

// child is the process that the supervisor runs.
func (s *lnsd) child() (int, error) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.PID()))
	var children []byte
	for _, f := range files {
		b, _ := os.ReadFile(f)
		children = append(children, b...)
	}
	list := bytes.Fields(children)
	if len(list) != 1 {
		return 0, fmt.Errorf("the supervisor has %d children", len(list))
	}
	return strconv.Atoi(string(list[0]))
}

// kill kills the process that the supervisor runs, and waits until the next one serves.
func (s *lnsd) kill() error {
	pid, err := s.child()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	return await(patience, s.Daemon, func() error {
		_, err := s.ctl("status")
		return err
	})
}
