// Package lns is the LNS role: a Server whose shards own the tunnels and
// sessions that LACs bring. It uses contracts only: a data plane, AAA, a
// journal. The files: accept.go takes new tunnels, tunnel.go and call.go run
// control connections, session.go, auth.go and up.go a session's way up,
// timers.go its life, end.go its one way down.
package lns

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"culvert/lns/dataplane"
)

// Server is an LNS. Make it with New, then Start it; all its methods may be
// called from any goroutine.
type Server struct {
	cfg       Config
	log       *slog.Logger
	clock     Clock
	profiles  *profileSet
	listeners []netip.AddrPort
	shards    []*shard
	hub       hub
	started   time.Time
	epoch     uint32
	boot      uint64 // of the clock

	draining  atomic.Bool
	settingUp atomic.Int64  // calls between ICRQ and up
	sessions  atomic.Int64  // all sessions, setting up included
	lastOwner atomic.Uint64 // numbers sessions within the epoch
	lastSeq   atomic.Uint64 // numbers accounting records
	// lastSerial numbers outgoing calls (Call Serial Number).
	lastSerial atomic.Uint32
	prefixes   prefixes

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	done sync.WaitGroup

	// marks says that each datagram has the mark of its SA.
	marks  bool
	saUses saUses
	// troubles are what LACs failed with before they had a tunnel.
	troubles ikeTroubles
	// handings are the addresses that are being handed over, by listener; nil mostly.
	handings atomic.Pointer[map[uint16]func([]dataplane.Datagram)]
	// running says that the shards have their goroutines, starting that Start is about to make them;
	// recovery is what it found.
	running  bool
	starting bool
	recovery Recovery

	// inline, where a test steps the shards itself, does what each does, at once.
	inline func(func(*shard))

	// adopted says that tunnels have come that may be another node's former.
	adopted atomic.Bool
}

// New makes a server. Nothing runs before Start.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, log: cfg.Logger, clock: cfg.Clock, profiles: newProfileSet(),
		listeners: cfg.Plane.Listeners(), started: cfg.Clock.Wall(), epoch: cfg.Journal.Epoch(),
		boot: bootOf(cfg.Clock),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	// Numbers of accounting records go on where no earlier life of the node can have been.
	s.lastSeq.Store(uint64(s.epoch) << 36)
	if err := s.loadObjects(); err != nil {
		return nil, err
	}
	for i := range cfg.Plane.Shards() {
		s.shards = append(s.shards, newShard(s, i))
	}
	if cfg.IPsec != nil {
		s.marks = cfg.IPsec.Marks()
		cfg.IPsec.Notify(saWatch{s})
		s.applyIPsec()
	}
	return s, nil
}

// Start goes on where an earlier life of the node has ended, then begins to
// serve. Packets that come before that wait in the plane's sockets. An error
// about the journal names the record and says what to do; nothing was changed then.
func (s *Server) Start() error {
	s.starting = true
	if !s.cfg.Elsewhere {
		if err := s.recoverJournal(); err != nil {
			return err
		}
	}
	ctx, stop := s.ctx, s.stop
	s.running = true
	for _, sh := range s.shards {
		s.done.Go(func() { sh.run(ctx) })
	}
	if err := s.cfg.Plane.Start(s); err != nil {
		stop()
		s.done.Wait()
		return fmt.Errorf("data plane: %w", err)
	}
	return nil
}

// Shutdown ends every tunnel with StopCCN and every session with its
// accounting Stop, and returns when that is journaled and the LACs have
// acknowledged, or at ctx's end. The caller then closes what it gave in
// Config; the plane has to stay open until Shutdown returns.
func (s *Server) Shutdown(ctx context.Context) {
	s.Drain(true)
	s.each(func(sh *shard) { sh.shutdown() })
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.busyShards() {
		select {
		case <-ctx.Done():
			s.Close()
			return
		case <-tick.C:
		}
	}
	s.Close()
}

// Suspend ends this process' part in tunnels and sessions and nothing else: they go on with
// the next Start on this journal, with all that was counted until now. The caller then
// closes what it gave in Config, and soon starts the next process.
func (s *Server) Suspend() {
	s.each(func(sh *shard) { sh.suspend() })
	s.Close()
}

// Close stops the shards without a word to anybody. Shutdown does it too.
func (s *Server) Close() {
	s.stop()
	s.done.Wait()
}

// busyShards says whether a session or an unacknowledged StopCCN is left.
func (s *Server) busyShards() bool {
	var left atomic.Int64
	s.each(func(sh *shard) {
		left.Add(int64(len(sh.sessions)))
		for _, t := range sh.tunnels {
			if t.t.Unacked() > 0 {
				left.Add(1)
			}
		}
	})
	return left.Load() > 0
}

// Datagrams implements dataplane.Handler: it gives each datagram to the
// shard that its ids name. Runs of one shard go over in one piece.
func (s *Server) Datagrams(shard int, list []dataplane.Datagram) {
	if h := s.handings.Load(); h != nil {
		list = divert(*h, list)
	}
	for from := 0; from < len(list); {
		owner := s.owner(list[from].B)
		to := from + 1
		for to < len(list) && s.owner(list[to].B) == owner {
			to++
		}
		s.shards[owner].inbox.putDatagrams(list[from:to])
		from = to
	}
}

// owner is the shard of a datagram: the tunnel's for control, the session's for data.
func (s *Server) owner(b []byte) int {
	if len(b) < 6 {
		return 0
	}
	at := 2 // the tunnel id's offset
	if b[0]&0x40 != 0 {
		at += 2 // behind a length
	}
	if b[0]&0x80 == 0 {
		at += 2 // data: the session id behind the tunnel id
	}
	if len(b) < at+2 {
		return 0
	}
	return dataplane.ShardOf(uint16(b[at])<<8|uint16(b[at+1]), len(s.shards))
}

// each runs f on every shard's goroutine and waits for all.
// Of a server that is not running, nothing is seen.
func (s *Server) each(f func(*shard)) {
	if s.inline != nil {
		s.inline(f)
		return
	}
	ran := make(chan struct{}, len(s.shards))
	for _, sh := range s.shards {
		sh.inbox.put(funcMessage(func(sh *shard) {
			f(sh)
			ran <- struct{}{}
		}))
	}
	for range s.shards {
		select {
		case <-ran:
		case <-s.ctx.Done():
			s.done.Wait() // f may run to its end on a shard that still stops
			return
		}
	}
}
