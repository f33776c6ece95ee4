package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/lns/cluster"
	"culvert/lns/dataplane"
	"culvert/ops"
	"culvert/sessiondb"
	machine "culvert/sessiondb/cluster"
	"culvert/sessiondb/postgres"
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

// clusterStore is the database as the cluster's runner sees it. It connects
// when it is first needed, and again by itself.
type clusterStore struct {
	d *daemon
	// busy is full while somebody has s; a channel, since connecting may take longer than others can wait.
	busy chan struct{}
	s    *postgres.Store
}

func (c *clusterStore) open(ctx context.Context) (*postgres.Store, error) {
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return nil, fmt.Errorf("the database, to which this node is connecting: %w", ctx.Err())
	}
	if c.s != nil {
		return c.s, nil
	}
	if c.d.set.file.Database.Migrate {
		if err := postgres.Migrate(ctx, c.d.set.database); err != nil {
			return nil, err
		}
	}
	cfg := c.d.postgres()
	cfg.MaxConns, cfg.ConnectTimeout, cfg.StatementTimeout = clusterConns, 2*time.Second, 5*time.Second
	s, err := postgres.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c.s = s
	return s, nil
}

func (c *clusterStore) close() {
	c.busy <- struct{}{}
	defer func() { <-c.busy }()
	if c.s == nil {
		return
	}
	closed := make(chan struct{})
	go func() { c.s.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(2 * time.Second): // a dead server is not waited for
	}
}

func (c *clusterStore) member() postgres.Member {
	cfg := c.d.set.cluster
	return postgres.Member{Epoch: uint64(c.d.journal.Epoch()), At: cfg.Listen.String(), Lease: cfg.Lease, Version: version, Serves: cfg.Serves}
}

// Secret is that of cluster.Store.
func (c *clusterStore) Secret(ctx context.Context) ([]byte, error) {
	s, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	return s.Secret(ctx)
}

// Renew is that of cluster.Store.
func (c *clusterStore) Renew(ctx context.Context, seen uint64, draining bool) (machine.View, error) {
	s, err := c.open(ctx)
	if err != nil {
		return machine.View{}, err
	}
	v, err := s.Renew(ctx, c.member(), seen, draining)
	if errors.Is(err, postgres.ErrSuperseded) {
		err = errors.Join(cluster.ErrSuperseded, err)
	}
	return v, err
}

// Claim is that of cluster.Store.
func (c *clusterStore) Claim(ctx context.Context, x machine.Claim) (machine.Result, error) {
	s, err := c.open(ctx)
	if err != nil {
		return machine.Lost, err
	}
	return s.Claim(ctx, uint64(c.d.journal.Epoch()), x)
}

// Expel is that of cluster.Store.
func (c *clusterStore) Expel(ctx context.Context, e machine.Expel) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	return s.Expel(ctx, e)
}

// Leave is that of cluster.Store.
func (c *clusterStore) Leave(ctx context.Context) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	return s.Leave(ctx)
}

// Transfer is that of cluster.Store.
func (c *clusterStore) Transfer(ctx context.Context, a machine.Address, to string, last []sessiondb.Change) (bool, error) {
	s, err := c.open(ctx)
	if err != nil {
		return true, err
	}
	err = s.Transfer(ctx, a, to, last)
	return err != nil && postgres.CertainlyNot(err), err
}

// clusterKeeper keeps what the database said last in the node's journal.
type clusterKeeper struct{ journal sessiondb.Journal }

// The key of what clusterKeeper keeps, among the journal's objects.
const (
	objectCluster = "cluster"
	objectView    = "view"
)

// Load is that of cluster.Keeper.
func (k clusterKeeper) Load() (*cluster.Kept, error) {
	for o, err := range k.journal.Objects(context.Background(), objectCluster) {
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		kept := new(cluster.Kept)
		if o.Name != objectView || json.Unmarshal(o.Payload, kept) != nil {
			continue // of another version: the database says it again
		}
		return kept, nil
	}
	return nil, nil
}

// Save is that of cluster.Keeper.
func (k clusterKeeper) Save(kept *cluster.Kept) error {
	b, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return k.journal.Apply(context.Background(), []sessiondb.Change{{Op: sessiondb.PutObject,
		Object: &sessiondb.Object{Kind: objectCluster, Name: objectView, Payload: b}}})
}

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
