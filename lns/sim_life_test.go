package lns

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"culvert/aaa"
	"culvert/aaa/ippool"
	"culvert/aaa/outbox"
	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// life is one life of lnsd. When it dies, its memory is gone; the journal is not.
type life struct {
	w      *world
	number int
	srv    *Server
	plane  *simPlane
	pools  *ippool.Pools
	outbox *outbox.Outbox
	events <-chan Event
	// steps are when each shard is to be stepped, never where it is not;
	// busy until when it cannot be, because its journal stalls.
	steps, busy []time.Duration
	outboxAt    time.Duration
	// dieIn is after how many more effects the process dies; 0 is not.
	dieIn   int
	stopped bool // by SIGTERM
	check   checker
	*clusterLife
}

// killed is what a process dies of.
type killed struct{}

// start begins a life on what the journal holds.
func (w *world) start() {
	w.lives++
	l := &life{w: w, number: w.lives, outboxAt: never}
	w.life = l
	w.tell("lnsd starts for the %d. time", l.number)
	before := w.store.reopen()
	l.guard(func() {
		l.boot()
		l.recovered(before)
	})
}

// cannotStart is how a process ends that says why it does not start; what
// runs it starts it again.
func (l *life) cannotStart(err error) {
	if !l.w.store.failing {
		l.w.fail("starts again", "%v", err)
	}
	panic(killed{})
}

// boot is what cmd/lnsd does.
func (l *life) boot() {
	w, p := l.w, l.w.plan
	must := func(err error) {
		if err != nil {
			l.cannotStart(err)
		}
	}
	var err error
	l.pools, err = ippool.New(ippool.Config{Pools: []ippool.Pool{{Name: "main", Ranges: []ippool.Range{simPool(p.pool)}}}})
	must(err)
	l.plane = newSimPlane(w, l)
	l.outbox = outbox.NewManual(outbox.Config{
		Node: simNode, Concurrency: p.concurrency, MemoryRecords: p.memoryRecords,
		Now:  func() time.Time { return time.Unix(0, int64(w.now)) },
		Rand: func(n int64) int64 { return w.rnd.Int64N(n) },
	}, w.store, accountant{w.books, l})
	_, err = l.outbox.Load(context.Background())
	must(err)
	var seed [32]byte
	seed[0], seed[1] = byte(p.seed), byte(l.number)
	l.srv, err = New(Config{
		Node: simNode, Plane: l.plane, Authorizer: authorizer{w.radius, l}, Ledger: ledger{l}, Addresses: simAddresses{l}, Journal: w.store,
		LACs: []LACProfile{p.profile}, Clock: w, Rand: rand.NewChaCha8(seed),
		Subscriber:   SubscriberDefaults{LocalAddress: localAddr, Interim: time.Minute},
		MaxSettingUp: p.maxSettingUp, MaxSessions: p.maxSessions, Logger: w.logger(),
	})
	must(err)
	l.check.init(l)
	l.srv.inline = l.inline
	l.events = l.srv.Watch(context.Background())
	must(l.srv.recoverJournal())
	must(l.plane.Start(l.srv))
	for range l.srv.shards {
		l.steps, l.busy = append(l.steps, never), append(l.busy, 0)
	}
}

// logger puts what lnsd logs into the history.
func (w *world) logger() *slog.Logger {
	if !w.plan.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(logLines{w}, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

type logLines struct{ w *world }

// Write implements io.Writer.
func (l logLines) Write(b []byte) (int, error) {
	l.w.tell("  log: %s", bytes.TrimSpace(b))
	return len(b), nil
}

const simNode = "sim1"

// simPool is a pool of n addresses.
func simPool(n int) ippool.Range {
	first := netip.AddrFrom4([4]byte{100, 64, 1, 0})
	return ippool.Range{First: first, Last: address4(first, n-1)}
}

// guard runs a part of the process, which may die in it.
func (l *life) guard(f func()) {
	if l.w.life != l {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			l.die(l.w.plan.downTime)
		}
	}()
	f()
}

// effect is called wherever the process touches the world outside: there it may die.
func (l *life) effect() {
	if l.dieIn > 0 {
		if l.dieIn--; l.dieIn == 0 {
			panic(killed{})
		}
	}
}

// die ends the life; the next one begins after a while.
func (l *life) die(down time.Duration) {
	w := l.w
	w.tell("lnsd is dead")
	w.life = nil
	l.abandon()
	w.store.stall, w.store.dead = 0, true
	if w.cluster != nil {
		w.cluster.died(l, down)
		return
	}
	w.after(down, w.start)
}

// wake plans steps of the shards that have something in their inbox.
func (l *life) wake() {
	for i, sh := range l.srv.shards {
		if len(sh.inbox.in.grams)+len(sh.inbox.in.msgs) > 0 {
			delay := time.Duration(0)
			if l.w.plan.lazy && l.steps[i] > l.w.now {
				delay = l.w.upTo(5 * time.Millisecond)
			}
			l.plan(i, max(l.w.now+delay, l.busy[i]))
		}
	}
	if l.outbox.Woken() {
		l.planOutbox(l.w.now)
	}
}

// plan has a shard stepped at a time, if that is before it would be anyway.
func (l *life) plan(i int, at time.Duration) {
	if at >= l.steps[i] {
		return
	}
	l.steps[i] = at
	l.w.at(at, func() {
		if l.w.life == l && l.steps[i] == at {
			l.steps[i] = never
			l.step(i)
		}
	})
}

// step lets a shard do what it has to.
func (l *life) step(i int) {
	sh := l.srv.shards[i]
	l.guard(func() {
		sh.inbox.take(&sh.spare)
		sh.step(l.w.now, &sh.spare)
		l.after(sh)
	})
}

// inline does what an operator wants on every shard, as each does.
func (l *life) inline(f func(*shard)) {
	for _, sh := range l.srv.shards {
		sh.now = l.w.now
		sh.lookAtFence()
		f(sh)
		sh.settle()
		sh.flush()
		l.after(sh)
	}
}

// after checks what a step has done, and plans the next one for the shard's timers.
func (l *life) after(sh *shard) {
	if l.w.store.stall > 0 {
		l.busy[sh.idx] = l.w.now + l.w.upTo(l.w.store.stall)
	}
	if l.clusterLife == nil {
		l.check.step(sh)
	} else if !l.taking {
		l.check.step(sh)
		l.w.cluster.step(l, sh)
	}
	if len(sh.unkept) > 0 {
		l.plan(sh.idx, max(sh.retryAt, l.busy[sh.idx]))
	}
	for tick := sh.wheel.tick + 1; tick <= sh.wheel.tick+wheelSlots; tick++ {
		if h := &sh.wheel.slots[tick%wheelSlots]; h.next != h {
			l.plan(sh.idx, max(time.Duration(tick)*wheelTick, l.busy[sh.idx]))
			return
		}
	}
}

func (l *life) planOutbox(at time.Duration) {
	if at >= l.outboxAt {
		return
	}
	l.outboxAt = at
	l.w.at(at, func() {
		if l.w.life == l && l.outboxAt == at {
			l.outboxAt = never
			l.guard(func() {
				if wait := l.outbox.Step(); wait < time.Hour {
					l.planOutbox(l.w.now + max(wait, time.Millisecond))
				}
			})
		}
	})
}

// ledger is the outbox as the shards see it.
type ledger struct{ l *life }

func (g ledger) Submit(list []aaa.Usage) {
	g.l.effect()
	for i := range list {
		if !g.l.w.store.entries[list[i].Seq] && !g.l.unkept(list[i].Seq) {
			g.l.w.fail("journal first", "record %d was submitted before it was journaled", list[i].Seq)
		}
	}
	g.l.outbox.Submit(list)
}

// unkept says whether a record is one that a shard still has because the journal has refused it.
func (l *life) unkept(seq uint64) bool {
	for _, sh := range l.srv.shards {
		if slices.ContainsFunc(sh.unkept, func(c sessiondb.Change) bool { return c.Op == sessiondb.PutEntry && c.Entry.Seq == seq }) {
			return true
		}
	}
	return false
}

// recovered checks a life that has begun on what an earlier one left: each session that was in the
// journal lives on, or has its Stop there because its LAC had cleared it.
func (l *life) recovered(before leftovers) {
	w, alive := l.w, map[string]bool{}
	for _, sh := range l.srv.shards {
		for _, s := range sh.sessions {
			alive[s.who.AcctSessionID] = true
		}
	}
	for id := range before.sessions {
		if _, stopped := w.store.stops[id]; alive[id] == stopped {
			w.fail("nothing is forgotten", "session %s was up when lnsd died; it lives %v and has a Stop %v", id, alive[id], stopped)
		}
		delete(w.seen, id) // it is another object now
	}
	if len(w.store.sessions) != len(alive) {
		w.fail("nothing is forgotten", "%d sessions live on, %d are in the journal", len(alive), len(w.store.sessions))
	}
	w.net.goOn()
	for _, lac := range w.lacs {
		for _, t := range lac.tunnels {
			if t.rigLAC == nil {
				continue
			}
			id := tunnelID{t.listener, t.rigLAC.t.PeerID()}
			if x := l.srv.shards[dataplane.ShardOf(id.id, len(l.srv.shards))].tunnels[id]; x != nil && x.facts.peerID == t.rigLAC.t.LocalID() {
				t.life = l.number
			}
		}
	}
	for _, sh := range l.srv.shards {
		l.after(sh)
	}
	l.check.begun = true
	l.wake()
}

// abandon ends what runs for a life, if there is one: the readers of its plane.
func (l *life) abandon() {
	if l != nil && l.plane != nil {
		_ = l.plane.Close()
	}
}
