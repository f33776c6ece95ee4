package cluster

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// TestRollingUpgrade upgrades a cluster to an lnsd that has one more migration and writes records of a
// newer version, node after node, by the commands that ARCHITECTURE.md gives, under subscribers who ping: nobody
// is dropped, and no packet is lost. A node of the older version starts anew meanwhile.
func TestRollingUpgrade(t *testing.T) {
	l := newLab(t, pgtest.Start(t), "")
	next := filepath.Join(bin, "lnsd-next")
	if out, err := exec.Command("go", "build", "-tags", "nextversion", "-o", next, "culvert/cmd/lnsd").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l.dial()
	before := l.all("a", "b")
	l.tables("a", "b")
	a, b := l.nodes["a"], l.nodes["b"]

	// The new version migrates the database under the old one, which can even start on it.
	out, err := exec.Command("ip", "netns", "exec", "a", next, "migrate", "--config", filepath.Join(l.dir, "a.yaml")).CombinedOutput()
	if err != nil {
		t.Fatalf("lnsd migrate: %v\n%s", err, out)
	}
	l.drain("a", "b")
	a.restart()
	l.canTake("a")
	l.drain("b", "a") // empties b, whose addresses both are a's now

	l.drain("a", "b") // and back: nothing has been upgraded yet
	a.program = next
	a.restart()
	l.canTake("a")
	l.drain("b", "a")
	l.same(before, "a")
	b.program = next
	b.restart()
	l.canTake("b")
	l.same(before, "a")
	if _, err := a.ctl("cluster", "status"); err != nil {
		t.Error(err)
	}
	l.drain("a", "b")
	l.same(before, "b")
	l.tables("b")
	if r := l.hangUp(); r.Lost > 0 {
		t.Errorf("%d packets were lost", r.Lost)
	}
}

// drain moves all that a node has to another, and waits until it is there.
func (l *lab) drain(from, to string) {
	l.t.Helper()
	must(l.t, proc.Await(patience, 500*time.Millisecond, nil, func() error {
		_, err := l.nodes[to].ctl("undrain")
		if err == nil {
			_, err = l.nodes[from].ctl("node", "drain", "--to", to)
		}
		return err
	}))
	l.owns(to, to)
}

// restart ends the node's lnsd as systemd does, and starts the one that is installed now.
func (n *node) restart() {
	n.l.t.Helper()
	must(n.l.t, n.d.Stop(syscall.SIGTERM, patience))
	n.start()
}
