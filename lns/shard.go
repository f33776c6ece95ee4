package lns

import (
	"context"
	"log/slog"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/lns/link"
	"culvert/proto/l2tp"
	"culvert/sessiondb"
)

// shard owns tunnels and sessions. Everything below but inbox is touched
// only by the goroutine that runs step; nothing is locked. step takes a batch
// and the time and does no I/O before flush, so a test can run a shard in
// virtual time.
type shard struct {
	idx   int
	srv   *Server
	inbox *inbox
	log   *slog.Logger

	now      time.Duration
	tunnels  map[tunnelID]*tunnel
	sessions map[dataplane.Key]*session
	wheel    wheel
	sas      saTunnels
	stats    shardStats
	// established counts sessions that are up.
	established int
	// complaints keep the log from being flooded.
	complaints [dropReasons]complaint
	accept     *acceptor // on shard 0 only
	closing    bool      // the server is shutting down: nothing new is begun
	traces     traces

	// The effects of the step in hand, which flush carries out in this order.
	changes []sessiondb.Change
	usages  []aaa.Usage
	adds    []dataplane.Session
	cross   [][]message // by shard
	asks    []ask
	out     []dataplane.Datagram
	events  []Event
	// touched are tunnels whose sequence numbers may have moved.
	touched []*tunnel

	// unkept are changes that the journal has refused. They are older than
	// changes, and tried again at retryAt.
	unkept  []sessiondb.Change
	retryAt time.Duration

	held holding
	// strays counts data messages for no session until strayAt; see stray.go.
	strays  int
	strayAt time.Duration
	// shut says which listeners must not be served in this step; nil outside of a cluster.
	shut []bool

	// Messages to this same shard, delivered before the step ends.
	local []message

	tfx     l2tp.Effects
	lfx     *link.Effects
	callFx  l2tp.CallEffects
	scratch l2tp.Message
	spare   batch
}

// tunnelID names a tunnel on this node.
type tunnelID struct{ listener, id uint16 }

// ask is a request for AAA that waits for the step's commit.
type ask struct {
	req  aaa.Request
	done func(*aaa.Grant, error)
}

func newShard(srv *Server, idx int) *shard {
	sh := &shard{
		idx: idx, srv: srv, inbox: newInbox(), log: srv.log,
		tunnels:  make(map[tunnelID]*tunnel),
		sessions: make(map[dataplane.Key]*session),
		cross:    make([][]message, srv.cfg.Plane.Shards()),
		lfx:      link.NewEffects(sequenceHeader),
		traces:   newTraces(srv.cfg.Trace, srv.cfg.Plane.Shards()),
	}
	sh.wheel.init(srv.clock.Mono())
	if srv.cfg.Fence != nil {
		sh.shut = make([]bool, len(srv.listeners))
	}
	if idx == 0 {
		sh.accept = newAcceptor(len(srv.listeners), srv.epoch)
	}
	return sh
}

// run is the shard's goroutine: it steps whenever there is work or a tick's
// time has passed while timers are armed.
func (sh *shard) run(ctx context.Context) {
	tick := time.NewTimer(wheelTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sh.inbox.wake:
		case <-tick.C:
		}
		sh.stats.dropped[dropInboxFull] += sh.inbox.take(&sh.spare)
		sh.step(sh.srv.clock.Mono(), &sh.spare)
		tick.Reset(wheelTick)
	}
}

// step does all the work of one batch and of the timers due by now.
func (sh *shard) step(now time.Duration, b *batch) {
	sh.now = now
	sh.lookAtFence()
	for i := range b.grams {
		g := &b.grams[i]
		if sh.isShut(g.listener) {
			sh.stats.drop(dropFenced)
			continue
		}
		sh.datagram(g.listener, g.peer, b.arena[g.from:g.to:g.to])
	}
	for _, m := range b.msgs {
		m.deliver(sh)
	}
	sh.wheel.run(now, sh)
	sh.settle()
	sh.releaseLate()
	sh.flush()
}

// lookAtFence notes which listeners may be served.
func (sh *shard) lookAtFence() {
	if sh.shut != nil {
		sh.srv.cfg.Fence.Closed(sh.shut)
	}
}

// isShut says whether nothing may be done with what is on a listener.
func (sh *shard) isShut(listener uint16) bool { return sh.shut != nil && sh.shut[listener] }

// shutRetry is when a timer that was due on a shut listener is looked at again.
const shutRetry = 250 * time.Millisecond

// settle delivers what the shard has sent to itself until nothing is left.
func (sh *shard) settle() {
	for i := 0; i < len(sh.local); i++ {
		sh.local[i].deliver(sh)
	}
	clear(sh.local)
	sh.local = sh.local[:0]
}

// send puts a message to a shard, maybe this one, in order.
func (sh *shard) send(to int, m message) {
	if to == sh.idx {
		sh.local = append(sh.local, m)
		return
	}
	sh.cross[to] = append(sh.cross[to], m)
}

// flush is the output commit: what the step changed is journaled before
// anybody outside can see an effect of it.
func (sh *shard) flush() {
	sh.keepTunnels()
	sh.commit()
	sh.askConfirm()
	if len(sh.adds) > 0 {
		if err := sh.srv.cfg.Plane.Add(sh.adds); err != nil {
			sh.log.Error("the data plane refused sessions; their packets are not forwarded", "err", err, "sessions", len(sh.adds))
			sh.stats.planeErrors++
		}
		clear(sh.adds)
		sh.adds = sh.adds[:0]
	}
	for to, list := range sh.cross {
		if len(list) > 0 {
			sh.srv.shards[to].inbox.put(list...)
			clear(list)
			sh.cross[to] = list[:0]
		}
	}
	for i := range sh.asks {
		sh.srv.cfg.Authorizer.Authorize(sh.asks[i].req, sh.asks[i].done)
	}
	clear(sh.asks)
	sh.asks = sh.asks[:0]
	if len(sh.out) > 0 {
		sh.srv.cfg.Plane.Send(sh.idx, sh.out)
		clear(sh.out)
		sh.out = sh.out[:0]
	}
	sh.tfx.Reset()
	sh.lfx.Reset()
	if len(sh.events) > 0 {
		sh.srv.hub.publish(sh.events)
		clear(sh.events)
		sh.events = sh.events[:0]
	}
}

// emit queues datagrams for the peer of a tunnel.
func (sh *shard) emit(f *tunnelFacts, packets [][]byte) {
	to := f.peer.Load()
	for _, p := range packets {
		sh.sendOut(dataplane.Key{Listener: f.listener, Tunnel: f.id}, dataplane.Datagram{Listener: f.listener, Mark: to.mark, Peer: to.AddrPort, B: p})
	}
}
