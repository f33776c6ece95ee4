package lns

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"sync"
	"time"

	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// Recovered is what a store holds of tunnels whose LNS is no more: this node's
// earlier life, or another node whose addresses this one has taken over.
type Recovered struct {
	Tunnels  iter.Seq2[sessiondb.Tunnel, error]
	Sessions iter.Seq2[sessiondb.Session, error]
	// Calls is nil for a store that keeps none. Then the LAC is taken to hold just the
	// calls of Sessions, and those that were being set up are not cleared. With Adopt a session
	// without a call lives on, as what Calls has may be older than Sessions.
	Calls iter.Seq2[sessiondb.Call, error]
	// Adopt says that the records are another node's: they are written into this
	// node's journal, and to its Sink, under its own name.
	Adopt bool
	// Local, with Adopt, is the address that they are of: the other node may have had tunnels on
	// it that the store has not heard of, so that ids of new ones begin behind theirs.
	Local netip.AddrPort
}

// Recovery says what became of Recovered.
type Recovery struct {
	// Tunnels and Sessions live on.
	Tunnels, Sessions int
	// Cleared calls are those that the LAC is told to forget: they were being set up, or
	// their end had not reached it.
	Cleared int
	// Closed sessions got their accounting Stop: their LAC has ended them, or nothing can go on with them.
	Closed int
	// Dropped tunnels cannot be gone on with.
	Dropped int
	Took    time.Duration
}

// Recover brings tunnels and sessions back to life, with the same ids, sequence
// numbers, addresses, timers and accounting: nothing is negotiated or authenticated
// anew, and no Start or Stop is sent. The addresses of the tunnels must be
// among the plane's listeners; a tunnel of another address is not lived on with, and
// its sessions are closed with a Stop.
//
// Start does it with the journal. On a running server it may be called at any time, from
// any goroutine, for tunnels that it does not have; packets of LACs that come
// meanwhile are dropped as for no tunnel, and not answered.
//
// A record that cannot be read is an error that names it and says what to do, and then nothing was
// changed: not in the journal, and no session is brought to life.
func (s *Server) Recover(ctx context.Context, from Recovered) (Recovery, error) {
	began := time.Now()
	r := newReviver(s, from.Adopt)
	r.local = from.Local
	if err := r.read(ctx, &from); err != nil {
		return Recovery{}, err
	}
	if err := r.checkFree(); err != nil {
		return Recovery{}, err
	}
	if err := r.settle(ctx); err != nil {
		return Recovery{}, err
	}
	r.revive()
	r.done.Took = time.Since(began)
	return r.done, nil
}

// recoverJournal goes on where an earlier life of this node has ended.
func (s *Server) recoverJournal() error {
	ctx, j := context.Background(), s.cfg.Journal
	done, err := s.Recover(ctx, Recovered{Tunnels: j.Tunnels(ctx), Sessions: j.Sessions(ctx), Calls: j.Calls(ctx)})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if done != (Recovery{Took: done.Took}) {
		s.log.Info("sessions of an earlier life of this node go on", "tunnels", done.Tunnels, "sessions", done.Sessions,
			"cleared", done.Cleared, "closed", done.Closed, "dropped_tunnels", done.Dropped, "took", done.Took.Round(time.Millisecond))
	}
	s.recovery = done
	return nil
}

// Recovery is what Start has brought back to life.
func (s *Server) Recovery() Recovery { return s.recovery }

// onShards runs f for every shard, where it may touch all that is the shard's,
// and waits for all. Before Start has made the shards' goroutines, nobody
// else touches them.
func (s *Server) onShards(f func(*shard)) {
	if s.running {
		s.each(f)
		return
	}
	var all sync.WaitGroup
	for _, sh := range s.shards {
		sh.now = s.clock.Mono()
		if s.starting {
			all.Go(func() { f(sh) })
		} else {
			f(sh)
		}
	}
	all.Wait()
}

// stoodIn makes a profile for tunnels whose own is gone: an operator has removed it
// while they lived, and they live on.
func (r *reviver) stoodIn(name string) (*profile, error) {
	if p := r.profiles[name]; p != nil {
		return p, nil
	}
	p := r.srv.profiles.named(name)
	if p == nil {
		d := DefaultLACProfile()
		if d.Name = name; name == "" {
			d.Name = "unnamed"
		}
		var err error
		if p, err = newProfile(d, r.srv.cfg.Node, r.srv.cfg.Rand); err != nil {
			return nil, err
		}
		p.use, p.stoodIn = &profileUse{}, true
		r.srv.log.Warn("tunnels go on without their LAC profile, which is gone; the defaults apply to them", "profile", name)
	}
	r.profiles[name] = p
	return p, nil
}

// listenerOf finds a local address among the plane's.
func (r *reviver) listenerOf(k sessiondb.TunnelKey) (uint16, bool) {
	i, ok := r.listeners[k.Local]
	return i, ok
}

// planeKey is a session's key in the plane.
func planeKey(listener uint16, k sessiondb.SessionKey) dataplane.Key {
	return dataplane.Key{Listener: listener, Tunnel: k.Tunnel.ID, Session: k.ID}
}
