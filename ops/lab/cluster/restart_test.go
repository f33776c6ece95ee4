package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// TestRestart restarts the lnsd of a node as an upgrade does, and kills it, where its sockets are kept meanwhile: nothing
// moves, and what comes waits until the new process knows that the address is still its own.
func TestRestart(t *testing.T) {
	l := newLab(t, pgtest.Start(t), "")
	a := l.nodes["a"]
	must(t, a.d.Stop(syscall.SIGTERM, patience))
	a.supervised = true
	a.start()
	l.owns("a", "b")
	l.dial()
	before := l.all("a", "b")
	l.speaks("a", "b")
	began := time.Now()
	for _, sig := range []syscall.Signal{syscall.SIGUSR2, syscall.SIGKILL, syscall.SIGKILL} {
		pid, err := a.child()
		must(t, err)
		to := pid
		if sig == syscall.SIGUSR2 {
			to = a.d.PID() // the supervisor, which starts the program anew
		}
		must(t, syscall.Kill(to, sig))
		must(t, proc.Await(patience, 20*time.Millisecond, a.d, func() error {
			if now, err := a.child(); err != nil || now == pid {
				return fmt.Errorf("process %d is still there, or none is: %w", pid, err)
			}
			_, err := a.ctl("status")
			return err
		}))
		l.owns("a", "b")
		l.same(before, "a", "b")
		if sig == syscall.SIGKILL {
			time.Sleep(time.Second)
		} else if lost := l.lost(); lost > 0 {
			t.Errorf("%d packets were lost by an upgrade", lost)
		}
	}
	if turns, gap := l.watch.turns(l.service[0], began); turns != "a" {
		t.Errorf("in turn, %q sent from %v", turns, l.service[0])
	} else {
		t.Logf("no packet for %v", gap.Round(time.Millisecond))
	}
	l.tables("a", "b")
	r := l.hangUp()
	if most := 2 * l.inHand(); r.Lost > most {
		t.Errorf("%d packets were lost by two kills, want %d at most", r.Lost, most)
	}
	l.octets(r, 0)
}

// inHand is how many packets a process may have read and not yet sent when it is killed, which die with it: what comes in
// the 100 ms for which a busy machine may have kept it from going on. What comes until the next one serves takes longer, and is kept.
func (l *lab) inHand() int {
	rate, err := strconv.ParseFloat(l.rate, 64)
	must(l.t, err)
	return int(rate * float64(l.sessions()) / 10)
}

// child is the process that a supervisor runs.
func (n *node) child() (int, error) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", n.d.PID()))
	var list []byte
	for _, f := range files {
		b, _ := os.ReadFile(f)
		list = append(list, b...)
	}
	if pids := bytes.Fields(list); len(pids) == 1 {
		return strconv.Atoi(string(pids[0]))
	}
	return 0, fmt.Errorf("the supervisor has the children %q", list)
}
