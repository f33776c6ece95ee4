package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"culvert/ops/lab/proc"
)

// node is an lnsd.
type node struct {
	name  string
	l     *lab
	index int
	d     *proc.Daemon
	lives int
	// program is lnsd, where it is not that of bin. supervised has it keep its sockets over restarts.
	program    string
	supervised bool
}

// start starts a life of the node.
func (n *node) start() {
	defer n.l.stage("start " + n.name)()
	n.l.t.Helper()
	n.lives++
	args := []string{"ip", "netns", "exec", n.name, cmp.Or(n.program, filepath.Join(bin, "lnsd")), "run", "--config", filepath.Join(n.l.dir, n.name+".yaml")}
	if n.supervised {
		args = append(args, "--supervise")
	}
	var err error
	n.d, err = proc.Start(n.l.dir, fmt.Sprintf("%s%d", n.name, n.lives), nil, args...)
	must(n.l.t, err)
	must(n.l.t, proc.Await(patience, 50*time.Millisecond, n.d, func() error { _, err := n.ctl("status"); return err }))
}

func (n *node) signal(sig syscall.Signal) { must(n.l.t, syscall.Kill(n.d.PID(), sig)) }

// kill is kill -9.
func (n *node) kill() { _ = n.d.Stop(syscall.SIGKILL, 10*time.Second) }

// ctl runs lnsctl.
func (n *node) ctl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "lnsctl"), append([]string{"--address", "unix://" + n.l.dir + "/" + n.name + ".sock"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("lnsctl %v: %w: %s", args, err, out)
	}
	return string(out), err
}

// clusterStatus is what lnsctl says, as far as it is of use here.
type clusterStatus struct {
	Promise string
	Nodes   []struct {
		Name     string
		Draining bool
	}
	Addresses []struct {
		Address, Owner string
		Serving        bool
	}
}

func (n *node) status() (s clusterStatus, err error) {
	out, err := n.ctl("-o", "json", "cluster", "status")
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	return s, err
}

// serving are the service addresses that the node says it answers for.
func (n *node) serving() []string {
	s, err := n.status()
	if err != nil {
		return []string{err.Error()}
	}
	var list []string
	for _, a := range s.Addresses {
		if a.Serving {
			list = append(list, a.Address)
		}
	}
	return list
}

// known waits until each node has heard of the other, has its promise, and has said so in the
// database: from then on the one may take over from the other, and give it an address.
func (l *lab) known() {
	defer l.stage("known")()
	l.t.Helper()
	must(l.t, proc.Await(patience, 50*time.Millisecond, nil, func() error {
		for _, n := range l.nodes {
			s, err := n.status()
			if err != nil {
				return err
			}
			if s.Promise == "" || s.Promise == "0s" {
				return fmt.Errorf("%s has no promise yet", n.name)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c, err := pgx.Connect(ctx, l.dbURL)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		var unseen int
		if err = c.QueryRow(ctx, "select 2 - count(*) from cluster_nodes where seen >= (select members from cluster)").Scan(&unseen); err == nil && unseen > 0 {
			err = fmt.Errorf("%d nodes have not said that they know the other", unseen)
		}
		return err
	}))
}

// owns waits until the service addresses are served by these nodes.
func (l *lab) owns(one, two string) {
	defer l.stage("owns")()
	l.t.Helper()
	want := map[string][]string{one: {l.l2tp(0).String()}}
	want[two] = append(want[two], l.l2tp(1).String())
	must(l.t, proc.Await(patience, 100*time.Millisecond, nil, func() error {
		for name, list := range want {
			if n := l.nodes[name]; n.d == nil || !slices.Equal(n.serving(), list) {
				if n.d == nil {
					continue
				}
				return fmt.Errorf("%s serves %v, want %v", name, n.serving(), list)
			}
		}
		return nil
	}))
}

// ids are the sessions that are up on a node.
func (n *node) ids() []string {
	out, err := n.ctl("-o", "json", "session", "list", "--state", "up")
	var list []struct{ ID string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	must(n.l.t, err)
	var ids []string
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}
