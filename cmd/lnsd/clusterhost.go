package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"sync"
	"time"

	"culvert/aaa"
	"culvert/lns"
	"culvert/sessiondb"
	"culvert/sessiondb/postgres"
)

// clusterHost brings to life and forgets what is on service addresses.
type clusterHost struct{ d *daemon }

// Take is that of cluster.Host.
func (h *clusterHost) Take(ctx context.Context, local netip.AddrPort, own bool) error {
	d := h.d
	d.withheld.wait(ctx)
	var done lns.Recovery
	var err error
	if own {
		for s, err := range d.journal.Sessions(ctx) {
			if err == nil && s.Key.Tunnel.Local == local {
				d.withheld.release(s.Address)
			}
		}
		done, err = d.server.RecoverKept(ctx, local)
	} else {
		done, err = h.load(ctx, local)
	}
	if err != nil {
		return err
	}
	d.writer.Resync()
	d.log.Info("cluster: what is on an address lives here now", "address", local, "from_journal", own, "tunnels", done.Tunnels,
		"sessions", done.Sessions, "cleared", done.Cleared, "closed", done.Closed, "dropped_tunnels", done.Dropped, "took", done.Took.Round(time.Millisecond))
	return nil
}

// load brings to life what the database has.
func (h *clusterHost) load(ctx context.Context, local netip.AddrPort) (lns.Recovery, error) {
	s, err := h.d.clusterDB.open(ctx)
	if err != nil {
		return lns.Recovery{}, err
	}
	if err := h.d.server.ForgetKept(ctx, local); err != nil { // of an earlier ownership
		return lns.Recovery{}, err
	}
	sessions := func(yield func(sessiondb.Session, error) bool) {
		for r, err := range s.SessionsAt(ctx, local) {
			h.d.withheld.release(r.Address)
			if !yield(r, err) {
				return
			}
		}
	}
	return h.d.server.Recover(ctx, lns.Recovered{Tunnels: s.TunnelsAt(ctx, local), Sessions: iter.Seq2[sessiondb.Session, error](sessions), Adopt: true})
}

// flushTime is how long a move waits for what was written behind.
const flushTime = 5 * time.Second

// Give is that of cluster.Host.
func (h *clusterHost) Give(ctx context.Context, local netip.AddrPort) ([]sessiondb.Change, error) {
	last, err := h.d.server.Detach(local)
	h.withhold(last)
	if err != nil {
		return last, err
	}
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if err := h.d.writer.Flush(ctx); err != nil {
		return last, fmt.Errorf("the database does not take what is written behind: %w", err)
	}
	return last, nil
}

// withhold keeps the addresses of sessions that live on elsewhere from being given to others.
func (h *clusterHost) withhold(last []sessiondb.Change) {
	for _, c := range last {
		if c.Op == sessiondb.PutSession {
			h.d.withheld.take(c.Session.Address)
		}
	}
}

// Restore is that of cluster.Host.
func (h *clusterHost) Restore(ctx context.Context, local netip.AddrPort, last []sessiondb.Change) error {
	for _, c := range last {
		if c.Op == sessiondb.PutSession {
			h.d.withheld.release(c.Session.Address)
		}
	}
	_, err := h.d.server.RecoverLast(ctx, last)
	h.d.writer.Resync()
	return err
}

// Forget is that of cluster.Host.
func (h *clusterHost) Forget(local netip.AddrPort) error {
	last, err := h.d.server.Detach(local)
	if err != nil {
		return err
	}
	h.withhold(last)
	return h.d.server.ForgetKept(context.Background(), local)
}

// withheld are addresses of this node's pools that sessions on other nodes
// have, since their service address has moved there.
type withheld struct {
	d     *daemon
	ready chan struct{} // closed when the database has been asked once
	once  sync.Once

	mu sync.Mutex
	// since is from when on; what the database said before is too old to release it.
	since map[netip.Addr]time.Time
}

// withheldOwner is no session's number; withheldUser tells operators.
const (
	withheldOwner = math.MaxUint64
	withheldUser  = "(a session on another node)"
)

func newWithheld(d *daemon) *withheld {
	return &withheld{d: d, ready: make(chan struct{}), since: map[netip.Addr]time.Time{}}
}

// firstList is how long taking an address waits for the first list.
const firstList = time.Second

// wait waits until the database has been asked once, or is known not to answer.
func (w *withheld) wait(ctx context.Context) {
	select {
	case <-w.ready:
	case <-ctx.Done():
	case <-time.After(firstList):
	}
}

func (w *withheld) take(a netip.Addr) {
	if !a.IsValid() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.d.pools.Reserve(a, withheldUser, withheldOwner) == nil {
		w.since[a] = time.Now()
	}
}

func (w *withheld) release(a netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.since[a]; ok {
		delete(w.since, a)
		w.d.pools.Release(a, withheldOwner)
	}
}

// withheldFor is how long an address is withheld at the least: the database
// may not have heard yet of the session that has it.
const withheldFor = 30 * time.Second

// set compares with what the database says.
func (w *withheld) set(list []netip.Addr) {
	elsewhere := make(map[netip.Addr]bool, len(list))
	for _, a := range list {
		elsewhere[a] = true
		if _, _, held := w.d.pools.Holder(a); !held {
			w.take(a)
		}
	}
	w.mu.Lock()
	var gone []netip.Addr
	for a, since := range w.since {
		if !elsewhere[a] && time.Since(since) > withheldFor {
			gone = append(gone, a)
		}
	}
	w.mu.Unlock()
	for _, a := range gone {
		w.release(a)
	}
}

// asked says that the database has been asked, or does not answer.
func (w *withheld) asked() { w.once.Do(func() { close(w.ready) }) }

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
				d.withheld.set(elsewhere)
			}
		}
		d.withheld.asked()
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
