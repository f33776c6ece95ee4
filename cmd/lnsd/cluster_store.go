package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"culvert/lns/cluster"
	"culvert/sessiondb"
	machine "culvert/sessiondb/cluster"
	"culvert/sessiondb/postgres"
)

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
