package lns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// Detach forgets every tunnel and session of a local address without a word to
// anybody: no StopCCN, no CDN, no accounting Stop. It gives the last word on them,
// with which Recover brings those that are up back to life, here or on the node
// that has the address from now on. Calls that are being set up are not in it. What it forgets stays
// in the journal until ForgetKept. Nothing may come in for the address any more, nor leave for it: see
// dataplane.Fence.
func (s *Server) Detach(local netip.AddrPort) ([]sessiondb.Change, error) {
	i := slices.Index(s.listeners, local)
	if i < 0 {
		return nil, fmt.Errorf("%v is no listen address of this node", local)
	}
	last, keys := s.detach(uint16(i))
	s.cfg.Plane.Remove(keys, make([]dataplane.Counters, len(keys)))
	return last, nil
}

// detach forgets what is on a listener, and leaves its sessions in the plane: keys.
func (s *Server) detach(listener uint16) (last []sessiondb.Change, keys []dataplane.Key) {
	parts, known := make([][]sessiondb.Change, len(s.shards)), make([][]dataplane.Key, len(s.shards))
	// Sessions first: a tunnel that is gone would not hear what its sessions still say.
	s.each(func(sh *shard) { parts[sh.idx], known[sh.idx] = sh.detachSessions(listener) })
	sessions := slices.Concat(parts...)
	clear(parts)
	s.each(func(sh *shard) { parts[sh.idx] = sh.detachTunnels(listener) })
	return append(slices.Concat(parts...), sessions...), slices.Concat(known...)
}

// detachSessions forgets the sessions of a listener. The plane has those of keys still.
func (sh *shard) detachSessions(listener uint16) (last []sessiondb.Change, keys []dataplane.Key) {
	now := sh.srv.clock.Wall()
	for k, s := range sh.sessions {
		if k.Listener != listener {
			continue
		}
		switch s.state {
		case stateUp:
			c := sh.counters(s)
			u := sh.usage(s, aaa.UsageInterim, now, c)
			last = append(last, sessiondb.Change{Op: sessiondb.PutSession, Session: sh.record(s, sh.state(s, sh.encode(s, &u)), now, c)})
			keys = append(keys, k)
			sh.established--
			sh.unqueueAdd(k)
		case stateClosing: // accounted and off the plane
		default:
			sh.srv.settingUp.Add(-1)
		}
		if s.state != stateClosing {
			if s.address.IsValid() {
				sh.srv.cfg.Addresses.Release(s.address, s.owner)
			}
			sh.srv.prefixes.release(s.routes(), s.owner)
		}
		sh.wheel.stop(&s.timer)
		delete(sh.sessions, k)
		sh.srv.sessions.Add(-1)
		s.facts.profile.use.sessions.Add(-1)
		sh.bury(s)
	}
	return last, keys
}

// detachTunnels forgets the tunnels of a listener.
func (sh *shard) detachTunnels(listener uint16) (last []sessiondb.Change) {
	for id, t := range sh.tunnels {
		if id.listener != listener {
			continue
		}
		if t.recovers != nil {
			sh.wheel.stop(&t.timer)
			delete(sh.tunnels, id)
			continue
		}
		if !t.down {
			t.facts.profile.use.tunnels.Add(-1)
			t.down = true // so that what this step has queued for it finds it gone
			if t.up {
				last = append(last, sessiondb.Change{Op: sessiondb.PutTunnel, Tunnel: sh.tunnelRecord(t)})
			}
		}
		sh.unbind(t)
		sh.wheel.stop(&t.timer)
		sh.buryTunnel(t)
		delete(sh.tunnels, id)
	}
	for k := range sh.held.byKey {
		if k.Listener == listener {
			delete(sh.held.byKey, k)
		}
	}
	if sh.accept != nil {
		for k := range sh.accept.known {
			if k.listener == listener {
				delete(sh.accept.known, k)
			}
		}
		sh.accept.ids[listener] = newTunnelIDs(sh.srv.epoch)
	}
	return last
}

// ForgetKept takes what the journal has of a local address out of it, where
// another node has the address. The cluster's store is not told: there it is the other node's.
func (s *Server) ForgetKept(ctx context.Context, local netip.AddrPort) error {
	var list []sessiondb.Change
	j := s.cfg.Journal
	for r, err := range j.Sessions(ctx) {
		if err != nil {
			return fmt.Errorf("journal: sessions: %w", err)
		}
		if r.Key.Tunnel.Local == local {
			list = append(list, sessiondb.Change{Op: sessiondb.DropSession, Session: &sessiondb.Session{Key: r.Key, Node: r.Node},
				End: &sessiondb.End{At: s.clock.Wall(), Cause: "moved to another node"}})
		}
	}
	for r, err := range j.Calls(ctx) {
		if err != nil {
			return fmt.Errorf("journal: calls: %w", err)
		}
		if r.Key.Tunnel.Local == local {
			list = append(list, sessiondb.Change{Op: sessiondb.DropCall, Call: &sessiondb.Call{Key: r.Key, Node: r.Node}})
		}
	}
	for r, err := range j.Tunnels(ctx) {
		if err != nil {
			return fmt.Errorf("journal: tunnels: %w", err)
		}
		if r.Key.Local == local {
			list = append(list, sessiondb.Change{Op: sessiondb.DropTunnel, Tunnel: &sessiondb.Tunnel{Key: r.Key, Node: r.Node}})
		}
	}
	for len(list) > 0 {
		n := min(len(list), settleBatch)
		if err := j.Apply(ctx, list[:n]); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		list = list[n:]
	}
	return nil
}

// RecoverKept brings to life what the journal has of a local address, as Start
// does with all of it where Config.Elsewhere is not set.
func (s *Server) RecoverKept(ctx context.Context, local netip.AddrPort) (Recovery, error) {
	j := s.cfg.Journal
	return s.Recover(ctx, Recovered{
		Tunnels:  only(j.Tunnels(ctx), func(r *sessiondb.Tunnel) bool { return r.Key.Local == local }),
		Sessions: only(j.Sessions(ctx), func(r *sessiondb.Session) bool { return r.Key.Tunnel.Local == local }),
		Calls:    only(j.Calls(ctx), func(r *sessiondb.Call) bool { return r.Key.Tunnel.Local == local }),
	})
}

// RecoverLast brings to life what Detach gave. What else the journal knows of calls of these tunnels, since
// they were being set up or cleared, is cleared.
func (s *Server) RecoverLast(ctx context.Context, last []sessiondb.Change) (Recovery, error) {
	tunnels := map[sessiondb.TunnelKey]bool{}
	for _, c := range last {
		if c.Op == sessiondb.PutTunnel {
			tunnels[c.Tunnel.Key] = true
		}
	}
	return s.Recover(ctx, Recovered{
		Calls: only(s.cfg.Journal.Calls(ctx), func(r *sessiondb.Call) bool { return tunnels[r.Key.Tunnel] }),
		Tunnels: func(yield func(sessiondb.Tunnel, error) bool) {
			for _, c := range last {
				if c.Op == sessiondb.PutTunnel && !yield(*c.Tunnel, nil) {
					return
				}
			}
		},
		Sessions: func(yield func(sessiondb.Session, error) bool) {
			for _, c := range last {
				if c.Op == sessiondb.PutSession && !yield(*c.Session, nil) {
					return
				}
			}
		},
		Adopt: true,
	})
}

// NextSeq numbers accounting records that come from elsewhere, unique on this node for ever.
func (s *Server) NextSeq() uint64 { return s.lastSeq.Add(1) }

// only yields the records that keep wants, and errors.
func only[T any](seq func(func(T, error) bool), keep func(*T) bool) func(func(T, error) bool) {
	return func(yield func(T, error) bool) {
		for r, err := range seq {
			if (err != nil || keep(&r)) && !yield(r, err) {
				return
			}
		}
	}
}
