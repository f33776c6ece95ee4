// Package cluster runs this node's part in a cluster: it asks the database
// and the other nodes what cluster.Machine (sessiondb/cluster, which has the
// rules) wants asked, and makes this host answer for the service addresses
// that are its own: address, fence, tunnels and sessions.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/lns/dataplane"
	"culvert/sessiondb/cluster"
)

// The time that one call of the database, and the settling of a move, may take.
const (
	storeTime  = 4 * time.Second
	settleTime = 30 * time.Second
	takeTime   = 2 * time.Minute
	retryTake  = 2 * time.Second
)

// Runner is this node's part in the cluster. Its methods may be called from any goroutine.
type Runner struct {
	cfg   Config
	log   *slog.Logger
	peers *peers
	moves net.Listener
	calls chan func()
	puts  chan put
	ctx   context.Context
	stop  context.CancelFunc
	done  sync.WaitGroup
	now   func() time.Duration
	// by runs it where it has no goroutines of its own; nil but in a simulation.
	by *Manual

	// Only the loop touches what follows.
	m      *cluster.Machine
	fx     cluster.Effects
	places map[netip.AddrPort]*place
	secret []byte
	// saved is what the machine had saved last; taken is Kept.Taken.
	saved *cluster.Saved
	taken map[netip.AddrPort]uint64
	// failing is the last error of the database, empty when it answers.
	failing    string
	superseded bool
	// seen says that the database has told this life who owns what.
	seen bool
}

// New makes a runner. Nothing happens before Start.
func New(cfg Config) (*Runner, error) { return newRunner(cfg, nil) }

func newRunner(cfg Config, by *Manual) (*Runner, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if !cfg.Listen.Addr().IsValid() || cfg.Listen.Addr().IsUnspecified() {
		return nil, fmt.Errorf("cluster: address %v: name the address and port at which the other nodes ask this one", cfg.Listen)
	}
	r := &Runner{cfg: cfg, log: cfg.Log, calls: make(chan func(), 256), puts: make(chan put, 256),
		now: dataplane.BootTime, places: map[netip.AddrPort]*place{}, by: by}
	if by != nil {
		r.now = by.Now
	}
	for i, a := range cfg.Serves {
		// The journal may have what was this node's in an earlier life.
		r.places[a] = &place{local: a, listener: i, stale: true}
	}
	kept, err := cfg.Keeper.Load()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	var saved *cluster.Saved
	r.taken = map[netip.AddrPort]uint64{}
	if kept != nil {
		saved, r.secret = &kept.Saved, kept.Secret
		r.saved = saved
		if r.taken = kept.Taken; r.taken == nil {
			r.taken = ownedBy(cfg.Node, &kept.Saved.View)
		}
	}
	if r.m, err = cluster.New(cfg.Config, r.now(), saved); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// Start begins: from here on addresses come and go.
func (r *Runner) Start() (err error) {
	r.peers, err = listenPeers(r.cfg.Listen, r.log, func(m received) {
		r.post(func() { r.m.Receive(r.now(), m.from, m.m, &r.fx) })
	})
	if err != nil {
		return fmt.Errorf("cluster: address %v: %w", r.cfg.Listen, err)
	}
	// Moves without loss come by TCP, on the same address and port.
	if r.moves, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(r.cfg.Listen)); err != nil {
		r.peers.close()
		return fmt.Errorf("cluster: address %v: %w", r.cfg.Listen, err)
	}
	r.done.Go(func() { r.accept(r.moves) })
	if r.secret != nil {
		r.peers.secret.Store(&r.secret)
	}
	r.done.Go(r.loop)
	r.done.Go(r.putAll)
	return nil
}

// Close ends the node's part: it answers for nothing any more. What is on its
// addresses is left to the next start, or to another node when the lease lapses.
func (r *Runner) Close() {
	r.stop()
	if r.peers != nil {
		r.peers.close()
	}
	if r.moves != nil {
		r.moves.Close()
	}
	r.done.Wait()
	for _, p := range r.places {
		r.cfg.Fence.Set(p.listener, 0)
	}
}

// Serves tells whether an address is this node's and what is on it is alive
// here; for WriterOptions.Serves.
func (r *Runner) Serves(local netip.AddrPort) bool {
	i := slices.Index(r.cfg.Serves, local)
	return i >= 0 && r.cfg.Fence.Until(i) > r.now()
}
