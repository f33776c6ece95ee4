package main

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"time"

	"culvert/aaa"
	"culvert/lns"
	"culvert/lns/cluster"
	"culvert/lns/dataplane"
	"culvert/sessiondb"
	"culvert/sessiondb/postgres"
)

// clusterServer is the server as lns/cluster uses it.
type clusterServer struct{ *lns.Server }

// RecoverKept is that of cluster.Server, as are the others.
func (s clusterServer) RecoverKept(ctx context.Context, local netip.AddrPort) (cluster.Recovered, error) {
	r, err := s.Server.RecoverKept(ctx, local)
	return cluster.Recovered(r), err
}

// RecoverLast: see RecoverKept.
func (s clusterServer) RecoverLast(ctx context.Context, last []sessiondb.Change) (cluster.Recovered, error) {
	r, err := s.Server.RecoverLast(ctx, last)
	return cluster.Recovered(r), err
}

// HandOver is that of cluster.Hander.
func (s clusterServer) HandOver(local netip.AddrPort, late func([]dataplane.Datagram)) (cluster.Handing, []sessiondb.Change, error) {
	h, last, err := s.Server.HandOver(local, late)
	if err != nil {
		return nil, last, err
	}
	return h, last, nil
}

// Adopt: see RecoverKept.
func (s clusterServer) Adopt(ctx context.Context, local netip.AddrPort, tunnels iter.Seq2[sessiondb.Tunnel, error], sessions iter.Seq2[sessiondb.Session, error]) (cluster.Recovered, error) {
	r, err := s.Recover(ctx, lns.Recovered{Tunnels: tunnels, Sessions: sessions, Adopt: true, Local: local})
	return cluster.Recovered(r), err
}

// makeHost makes the host's part of the daemon. Its Server is there when the cluster starts.
func (d *daemon) makeHost() *cluster.Sessions {
	return &cluster.Sessions{
		Writer: d.writer, Journal: d.journal, Withheld: d.withheld, Log: d.log, Plane: d.plane,
		Open: func(ctx context.Context) (cluster.Database, error) {
			s, err := d.clusterDB.open(ctx)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	}
}

// poolsEvery is how often the database is asked which of this node's addresses are elsewhere.
const poolsEvery = 10 * time.Second

// keepPools tells the database which addresses this node hands out, and asks
// it which of them are in use elsewhere.
func (d *daemon) keepPools(ctx context.Context) {
	var list []postgres.Network
	for _, p := range d.set.pools.Pools {
		for _, r := range p.Ranges {
			for _, prefix := range prefixes(r) {
				list = append(list, postgres.Network{Pool: p.Name, Prefix: prefix})
			}
		}
	}
	told, complained := false, ""
	d.every(ctx, poolsEvery, func(ctx context.Context) {
		s, err := d.clusterDB.open(ctx)
		if err == nil && !told {
			err = s.SetPools(ctx, list)
			told = err == nil
		}
		if err == nil {
			var elsewhere []netip.Addr
			if elsewhere, err = s.AddressesElsewhere(ctx); err == nil {
				d.withheld.Set(elsewhere)
			}
		}
		d.withheld.Asked()
		if err != nil && ctx.Err() == nil && err.Error() != complained {
			complained = err.Error()
			d.log.Warn("cluster: the pools' addresses cannot be compared with the other nodes'", "err", err)
		}
	})
}

// takenAtOnce is how many accounting records are taken over in one piece.
const takenAtOnce = 500

// takeEntries takes over the accounting records of nodes that are no more.
func (d *daemon) takeEntries(ctx context.Context) {
	d.every(ctx, poolsEvery, func(ctx context.Context) {
		s, err := d.clusterDB.open(ctx)
		for n := takenAtOnce; err == nil && n == takenAtOnce; {
			if n, err = s.TakeEntries(ctx, takenAtOnce, d.adoptEntries); n > 0 {
				d.log.Info("cluster: accounting records of a node that is out are sent from here", "records", n)
			}
		}
		if err != nil && ctx.Err() == nil {
			d.log.Debug("cluster: the accounting records of other nodes", "err", err)
		}
	})
}

// adoptEntries journals other nodes' records under numbers of this node's, and
// has them sent.
func (d *daemon) adoptEntries(list []sessiondb.Entry) error {
	var changes []sessiondb.Change
	var usages []aaa.Usage
	for i := range list {
		u, err := aaa.ParseUsage(list[i].Payload)
		if err != nil {
			d.log.Error("cluster: an accounting record of another node cannot be read; it is left out", "node", list[i].Node, "session", list[i].Session, "err", err)
			continue
		}
		u.Seq = d.server.NextSeq()
		payload, err := aaa.AppendUsage(nil, &u)
		if err != nil {
			return err
		}
		changes = append(changes, sessiondb.Change{Op: sessiondb.PutEntry, Entry: &sessiondb.Entry{
			Seq: u.Seq, Node: d.set.node, Session: list[i].Session, Payload: payload}})
		usages = append(usages, u)
	}
	if len(changes) == 0 {
		return nil
	}
	if err := d.store().Apply(context.Background(), changes); err != nil {
		return errors.Join(errors.New("the journal does not take them"), err)
	}
	d.outbox.Submit(usages)
	return nil
}

// every calls f now and then, each time for a while, until ctx ends.
func (d *daemon) every(ctx context.Context, interval time.Duration, f func(context.Context)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		c, cancel := context.WithTimeout(ctx, interval)
		f(c)
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
