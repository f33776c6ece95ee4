package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"culvert/lns/cluster"
	"culvert/ops"
	machine "culvert/sessiondb/cluster"
	"culvert/sessiondb/postgres"
)

// clusterOps is the cluster as operators see it.
type clusterOps struct{ d *daemon }

// countTime bounds the wait for the database's figures.
const countTime = 2 * time.Second

// Status is that of ops.Cluster.
func (c clusterOps) Status(ctx context.Context) (ops.ClusterStatus, error) {
	s, err := c.d.cluster.Load().Status(ctx)
	if err != nil {
		return ops.ClusterStatus{}, err
	}
	out := ops.ClusterStatus{Node: s.Node, Lease: s.Lease, Promise: s.Promise, Stopped: s.Stopped,
		Draining: s.Draining, Database: s.Database, Age: s.Age}
	if s.Promise == machine.Forever {
		out.Promise = -1
	}
	var counts postgres.Counts
	err = errors.New("the database does not answer")
	if s.Database == "" { // else who asks would wait for it, and just then has no time
		counts, err = c.counts(ctx)
	}
	for _, n := range s.Nodes {
		ago, ok := counts.Renewed[n.Name]
		if !ok {
			ago = -1
		}
		out.Nodes = append(out.Nodes, ops.ClusterNode{Name: n.Name, Address: n.At, Epoch: n.Epoch, Member: n.Member,
			Draining: n.Draining, Lease: n.Lease, Answered: n.Answered, Renewed: ago})
	}
	for _, a := range s.Addresses {
		x := ops.ServiceAddress{Local: a.Local, Owner: a.Owner, Epoch: a.Epoch, Serving: a.Serving, Tunnels: -1, Sessions: -1}
		if err == nil {
			x.Tunnels, x.Sessions = counts.Tunnels[a.Local], counts.Sessions[a.Local]
		}
		out.Addresses = append(out.Addresses, x)
	}
	return out, nil
}

func (c clusterOps) counts(ctx context.Context) (postgres.Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	s, err := c.d.clusterDB.open(ctx)
	if err != nil {
		return postgres.Counts{}, err
	}
	return s.Counts(ctx)
}

// MoveAll is that of ops.Cluster.
func (c clusterOps) MoveAll(ctx context.Context, to string) ([]netip.AddrPort, error) {
	return c.d.cluster.Load().MoveAll(ctx, to)
}

// SetDraining is that of ops.Cluster.
func (c clusterOps) SetDraining(ctx context.Context, on bool) error {
	return c.d.cluster.Load().SetDraining(ctx, on)
}

// statusTime bounds the wait for the runner, which never does anything that takes long.
const statusTime = time.Second

func (d *daemon) clusterStatus() (cluster.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTime)
	defer cancel()
	return d.cluster.Load().Status(ctx)
}

// clusterStopped is why no call should be sent here.
func (d *daemon) clusterStopped() []string {
	if s, err := d.clusterStatus(); err == nil && s.Stopped && len(s.Addresses) > 0 {
		return []string{"cluster: this node has neither a lease nor the word of all others that they will not claim, and answers for nothing"}
	}
	return nil
}

func (d *daemon) clusterWarnings() []string {
	s, err := d.clusterStatus()
	if err != nil || s.Database == "" {
		return nil
	}
	return []string{fmt.Sprintf("cluster: the database has not answered for %v, so nothing can be taken over: %s", s.Age.Round(time.Second), s.Database)}
}

func (d *daemon) clusterStats() ops.ClusterStats {
	s, err := d.clusterStatus()
	if err != nil {
		return ops.ClusterStats{}
	}
	out := ops.ClusterStats{Lease: s.Lease, Stopped: s.Stopped, Addresses: len(s.Addresses)}
	for _, a := range s.Addresses {
		if a.Owner == s.Node {
			out.Owned++
		}
		if a.Serving {
			out.Serving++
		}
	}
	for _, n := range s.Nodes {
		if n.Member {
			out.Members++
		}
	}
	return out
}
