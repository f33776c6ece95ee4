package lns

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/netip"
	"time"

	"culvert/lns/cluster"
	"culvert/sessiondb"
	machine "culvert/sessiondb/cluster"
)

// simConn is what the write-behind, the runner and the host's part call, each from a coroutine.

// Apply implements sessiondb.Store.
func (s simConn) Apply(_ context.Context, changes []sessiondb.Change) error {
	return s.transact(asksWrite, "", func() error {
		if refused := s.d.apply(s.h.name, changes, true); refused != nil {
			return refused
		}
		return nil
	})
}

// Tunnels implements sessiondb.Store, as do the other readers.
func (s simConn) Tunnels(context.Context) iter.Seq2[sessiondb.Tunnel, error] {
	return query(s, func() []sessiondb.Tunnel {
		return rowsOf(s.d.tunnels, sessiondb.TunnelKey.Compare, func(t *sessiondb.Tunnel) bool { return t.Node == s.h.name })
	})
}

// Sessions: see Tunnels.
func (s simConn) Sessions(context.Context) iter.Seq2[sessiondb.Session, error] {
	return query(s, func() []sessiondb.Session {
		return rowsOf(s.d.sessions, sessiondb.SessionKey.Compare, func(x *sessiondb.Session) bool { return x.Node == s.h.name })
	})
}

// Entries: see Tunnels.
func (s simConn) Entries(context.Context) iter.Seq2[sessiondb.Entry, error] {
	return query(s, func() []sessiondb.Entry {
		return rowsOf(s.d.entries, compareEntries, func(e *sessiondb.Entry) bool { return e.Node == s.h.name })
	})
}

// Objects are not simulated: the journal's are given back, so that nothing is to be repaired.
func (s simConn) Objects(ctx context.Context, kind string) iter.Seq2[sessiondb.Object, error] {
	return s.h.store.Objects(ctx, kind)
}

// Close implements sessiondb.Store.
func (s simConn) Close() error { return nil }

// TunnelsAt is that of cluster.Database, as is SessionsAt.
func (s simConn) TunnelsAt(_ context.Context, local netip.AddrPort) iter.Seq2[sessiondb.Tunnel, error] {
	return query(s, func() []sessiondb.Tunnel {
		return rowsOf(s.d.tunnels, sessiondb.TunnelKey.Compare, func(t *sessiondb.Tunnel) bool { return t.Key.Local == local })
	})
}

// SessionsAt: see TunnelsAt.
func (s simConn) SessionsAt(_ context.Context, local netip.AddrPort) iter.Seq2[sessiondb.Session, error] {
	return query(s, func() []sessiondb.Session {
		return rowsOf(s.d.sessions, sessiondb.SessionKey.Compare, func(x *sessiondb.Session) bool { return x.Key.Tunnel.Local == local })
	})
}

// Secret is that of cluster.Store, as are the others.
func (s simConn) Secret(context.Context) ([]byte, error) { return []byte("secret"), nil }

// Renew: see Secret.
func (s simConn) Renew(_ context.Context, seen uint64, draining bool) (v machine.View, err error) {
	cfg := s.h.config
	m := &machine.Node{Name: cfg.Node, Epoch: cfg.Epoch, At: cfg.Node, Lease: cfg.Lease, Serves: cfg.Serves}
	err = s.transact(asksRenewal, "", func() (err error) { v, err = s.d.renew(s.h, m, seen, draining); return err })
	return v, err
}

// Claim: see Secret.
func (s simConn) Claim(_ context.Context, c machine.Claim) (r machine.Result, err error) {
	epoch := s.h.config.Epoch
	err = s.transact(asksClaim, c.From, func() error { r = s.d.claim(s.h.name, epoch, c); return nil })
	switch {
	case errors.Is(err, errRefused):
		return machine.Lost, err
	case err != nil:
		return machine.Unknown, err
	}
	return r, nil
}

// Expel: see Secret.
func (s simConn) Expel(_ context.Context, e machine.Expel) error {
	return s.transact(asksChange, "", func() error { s.d.expel(e); return nil })
}

// Leave: see Secret.
func (s simConn) Leave(context.Context) error { return nil }

// Transfer: see Secret.
func (s simConn) Transfer(_ context.Context, a machine.Address, to string, last []sessiondb.Change) (bool, error) {
	err := s.transact(asksChange, "", func() error { return s.d.transfer(s.h.name, a, to, last) })
	var refused *sessiondb.ConflictError
	return errors.Is(err, errRefused) || errors.Is(err, errNotOwner) || errors.As(err, &refused), err
}

// simKeeper keeps the runner's view in the node's journal.
type simKeeper struct{ store *simStore }

// Load is that of cluster.Keeper.
func (k simKeeper) Load() (*cluster.Kept, error) {
	for o, err := range k.store.Objects(context.Background(), "cluster") {
		if err != nil {
			return nil, err
		}
		kept := new(cluster.Kept)
		return kept, json.Unmarshal(o.Payload, kept)
	}
	return nil, nil
}

// Save is that of cluster.Keeper.
func (k simKeeper) Save(kept *cluster.Kept) error {
	b, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return k.store.Apply(context.Background(), []sessiondb.Change{{Op: sessiondb.PutObject,
		Object: &sessiondb.Object{Kind: "cluster", Name: "view", Payload: b}}})
}

// nodeAddresses are the service addresses on a host, and what the routers have heard.
type nodeAddresses struct {
	c *simCluster
	h *simHost
}

// Add is that of cluster.Addresses.
func (s nodeAddresses) Add(a netip.Addr, lifetime time.Duration, fresh bool) error {
	end := never
	if lifetime > 0 {
		end = s.c.w.now + (lifetime + time.Second - 1).Truncate(time.Second)
	}
	s.h.addrs[a] = end
	if fresh {
		s.c.heard[a] = s.h
	}
	return nil
}

// Remove is that of cluster.Addresses.
func (s nodeAddresses) Remove(a netip.Addr) error {
	delete(s.h.addrs, a)
	return nil
}
