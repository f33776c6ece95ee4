package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/lns/cluster"
	"culvert/lns/dataplane"
)

// clusterConns bounds the connections for leases and claims, which must not
// wait for those that write behind.
const clusterConns = 3

// makeCluster makes the node's part in the cluster. It starts when the server
// runs, and ends after it, so that goodbyes still leave.
func (d *daemon) makeCluster() error {
	if d.set.cluster == nil {
		return nil
	}
	d.clusterDB = &clusterStore{d: d, busy: make(chan struct{}, 1)}
	cfg := *d.set.cluster
	cfg.Epoch, cfg.Fence, cfg.Log = uint64(d.journal.Epoch()), d.fence, d.log
	d.clusterHost = d.makeHost()
	cfg.Store, cfg.Host, cfg.Keeper = d.clusterDB, d.clusterHost, clusterKeeper{d.journal}
	r, err := cluster.New(cfg)
	if err != nil {
		return err
	}
	d.cluster.Store(r)
	d.onAbort(d.clusterDB.close)
	d.onAbort(r.Close)
	return nil
}

// startCluster lets addresses come.
func (d *daemon) startCluster() error {
	r := d.cluster.Load()
	if r == nil {
		return nil
	}
	d.clusterHost.Server = clusterServer{d.server}
	if err := r.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { d.keepPools(ctx) })
	done.Go(func() { d.takeEntries(ctx) })
	if d.set.file.Cluster.Counters > 0 {
		done.Go(func() { d.keepCounts(ctx, time.Duration(d.set.file.Cluster.Counters)) })
	}
	d.onAbort(func() { cancel(); done.Wait() })
	return nil
}

// serves tells the write-behind whose records are this node's.
func (d *daemon) serves(local netip.AddrPort) bool {
	r := d.cluster.Load()
	return r != nil && r.Serves(local)
}

// clusterSection is the part of the file about the cluster.
type clusterSection struct {
	// Address is where the other nodes ask this one, by UDP.
	Address text[netip.AddrPort] `yaml:"address"`
	// Interface gets the service addresses; Hook is a command that is told
	// of them, instead or as well.
	Interface string `yaml:"interface"`
	Hook      string `yaml:"hook"`
	// Prefer are the listen addresses that this node takes when they are nobody's.
	Prefer []text[netip.AddrPort] `yaml:"prefer"`
	// Lease is how long the node may be silent before another takes over.
	Lease span `yaml:"lease"`
	// Counters is how often the database gets what sessions have counted, for the node that takes
	// them over; 0 is never: then what was counted since a session's last accounting record is lost with its node.
	Counters span `yaml:"counters"`
}

// cluster checks the section; nil where there is none.
func (b *builder) cluster(node string, c *clusterSection, listen []netip.AddrPort, url string) *cluster.Config {
	if !c.Address.V.IsValid() {
		if c.Interface != "" || c.Hook != "" || len(c.Prefer) > 0 {
			b.bad("$.cluster.address", "name the address and port at which the other nodes ask this one, such as 10.0.0.1:9108")
		}
		return nil
	}
	out := &cluster.Config{Listen: c.Address.V}
	out.Node, out.Serves, out.Prefer, out.Lease = node, listen, values(c.Prefer), time.Duration(c.Lease)
	if c.Address.V.Addr().IsUnspecified() || c.Address.V.Port() == 0 {
		b.bad("$.cluster.address", "%v: the other nodes are told this address; it has to be one of this host's own, with a port", c.Address.V)
	}
	if url == "" {
		b.bad("$.cluster", "a cluster needs a database that all its nodes share; set database.url")
	}
	var list cluster.Several
	if c.Interface != "" {
		list = append(list, cluster.Interface{Name: c.Interface})
	}
	if c.Hook != "" {
		list = append(list, cluster.Hook{Command: c.Hook})
	}
	if len(list) == 0 {
		b.bad("$.cluster.interface", "name the interface that gets the service addresses, or a hook that announces them")
	}
	out.Addresses = list
	for i, a := range listen {
		if a.Port() == 0 {
			b.bad(fmt.Sprintf("$.l2tp.listen[%d]", i), "%v: in a cluster every node has the same addresses and ports; name a port", a)
		}
		if i != slices.IndexFunc(listen, func(x netip.AddrPort) bool { return x.Addr() == a.Addr() }) {
			b.bad(fmt.Sprintf("$.l2tp.listen[%d]", i), "%v: in a cluster each address moves by itself; it is there twice", a)
		}
	}
	for i, a := range out.Prefer {
		if !slices.Contains(listen, a) {
			b.bad(fmt.Sprintf("$.cluster.prefer[%d]", i), "%v is not in l2tp.listen, which has the service addresses of the whole cluster", a)
		}
	}
	if d := time.Duration(c.Counters); d != 0 && (d < time.Second || d > time.Hour) {
		b.bad("$.cluster.counters", "%v is neither 0 nor between 1s and 1h", d)
	}
	if d := out.Lease; d < time.Second || d > 5*time.Minute {
		b.bad("$.cluster.lease", "%v is not between 1s and 5m", d)
	}
	return out
}

// fenceFor is closed for all listeners until the cluster says otherwise.
func fenceFor(listen []netip.AddrPort) *dataplane.Fence { return dataplane.NewFence(len(listen)) }
