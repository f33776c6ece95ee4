package lns

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"culvert/aaa"
	"culvert/aaa/ippool"
	"culvert/aaa/outbox"
	"culvert/lns/cluster"
	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// clusterLife is what a node's life has beside that of a node by itself.
type clusterLife struct {
	h        *simHost
	runner   *cluster.Runner
	fence    *dataplane.Fence
	writer   *sessiondb.Writer
	withheld *cluster.Withheld
	procs    []*proc
	runnerAt time.Duration
	writerAt time.Duration
	writing  bool
	// here are the addresses whose sessions are alive here, and since when; taking: that is just changing.
	here   map[netip.AddrPort]time.Duration
	taking bool
}

// start begins a life of a node.
func (c *simCluster) start(h *simHost) {
	w := c.w
	w.on(h, func() {
		c.lives++
		h.lives = c.lives
		l := &life{w: w, number: c.lives, outboxAt: never, clusterLife: &clusterLife{h: h, runnerAt: never, writerAt: never, here: map[netip.AddrPort]time.Duration{}}}
		h.life = l
		w.tell("%s starts, life %d", h.name, l.number)
		h.store.reopen()
		l.guard(l.bootNode)
	})
}

// bootNode is what cmd/lnsd does in a cluster.
func (l *life) bootNode() {
	w, p, h := l.w, l.w.plan, l.h
	must := func(err error) {
		if err != nil {
			l.cannotStart(err)
		}
	}
	now := func() time.Time { return time.Unix(0, int64(w.now)) }
	var err error
	l.fence = dataplane.NewFenceAt(p.listeners, func() time.Duration { return w.now + h.offset })
	draw := rand.New(rand.NewPCG(p.seed, uint64(l.number)<<8))
	opts := sessiondb.WriterOptions{Log: w.logger(), MaxPending: p.cluster.pending, Timeout: time.Hour, Now: now, Rand: draw.Int64N,
		Serves: func(a netip.AddrPort) bool { return l.runner != nil && l.serves(a) }}
	if p.cluster.confirm {
		opts.Interval = 3 * time.Millisecond
	}
	conn := simConn{h, w.cluster.db}
	l.writer = sessiondb.NewWriter(func(context.Context) (sessiondb.Store, error) { return conn, nil }, h.store, opts)
	l.pools, err = ippool.New(ippool.Config{Remember: p.cluster.remember, Pools: []ippool.Pool{{Name: "main", Ranges: []ippool.Range{nodePool(h.index, p.pool)}}}})
	must(err)
	l.withheld = cluster.NewWithheld(func() cluster.Pools { return l.pools }, now)
	l.plane = newSimPlane(w, l)
	l.outbox = outbox.NewManual(outbox.Config{
		Node: h.name, Concurrency: p.concurrency, MemoryRecords: p.memoryRecords, Now: now, Rand: draw.Int64N,
	}, teed{h.store, l.writer}, accountant{w.books, l})
	_, err = l.outbox.Load(background)
	must(err)
	cfg := Config{
		Node: h.name, Plane: l.plane, Authorizer: authorizer{w.radius, l}, Ledger: ledger{l}, Addresses: simAddresses{l}, Journal: h.store,
		LACs: []LACProfile{p.profile}, Clock: nodeClock{w, h}, Rand: rand.NewChaCha8(seedOf(p, l.number)),
		Subscriber:   SubscriberDefaults{LocalAddress: localAddr, Interim: time.Minute},
		MaxSettingUp: p.maxSettingUp, Logger: w.logger(), Sink: l.writer, Elsewhere: true, Fence: l.fence,
	}
	if p.cluster.confirm {
		cfg.Confirm, cfg.ConfirmWait = l.writer.Confirm, time.Second
	}
	l.srv, err = New(cfg)
	must(err)
	l.check.init(l)
	l.srv.inline, l.srv.running = l.inline, true
	l.events = l.srv.Watch(background)
	must(l.plane.Start(l.srv))
	for range l.srv.shards {
		l.steps, l.busy = append(l.steps, never), append(l.busy, 0)
	}
	h.config.Epoch = uint64(h.store.Epoch())
	rc := cluster.Config{
		Config: h.config, Listen: netip.MustParseAddrPort("192.0.2.100:9108"), Fence: l.fence, Addresses: nodeAddresses{w.cluster, h},
		Store: conn, Keeper: simKeeper{h.store}, Log: w.logger(),
		Host: simSessions{l, &cluster.Sessions{
			Server: nodeServer{l}, Writer: simWriter{l}, Journal: h.store, Withheld: l.withheld, Log: w.logger(),
			Open: func(context.Context) (cluster.Database, error) { return conn, nil },
		}},
	}
	l.runner, err = cluster.NewManual(rc, l.newManual(h))
	must(err)
	l.planRunner(w.now)
	l.planWriter(w.now)
	l.withheld.Asked()
	l.check.begun = true
	l.spawn(l.housekeeping)
	for _, sh := range l.srv.shards {
		l.after(sh)
	}
}

// nodePool is a range of addresses of a node's own.
func nodePool(node, n int) ippool.Range {
	first := netip.AddrFrom4([4]byte{100, 64, byte(11 + node), 0})
	return ippool.Range{First: first, Last: netip.AddrFrom4([4]byte{100, 64, byte(11 + node), byte(n - 1)})}
}

// teed is the journal with the database behind it, as in cmd/lnsd.
type teed struct {
	*simStore
	sink sessiondb.Sink
}

// Apply implements sessiondb.Store.
func (t teed) Apply(ctx context.Context, changes []sessiondb.Change) error {
	if err := t.simStore.Apply(ctx, changes); err != nil {
		return err
	}
	t.sink.Submit(changes)
	return nil
}

// open says whether the fence lets datagrams of a listener through.
func (l *life) open(listener uint16) bool {
	return l.fence.Until(int(listener)) > l.w.now+l.h.offset
}

// serves is what cmd/lnsd tells the write-behind.
func (l *life) serves(a netip.AddrPort) bool {
	i := slices.Index(l.srv.listeners, a)
	return i >= 0 && l.open(uint16(i))
}

// has says whether what is on an address is alive here.
func (l *life) has(a netip.AddrPort) bool {
	if l.clusterLife == nil {
		return true
	}
	_, here := l.here[a]
	return here
}

// wakeNode plans what is to be done on a node.
func (l *life) wakeNode() {
	l.wake()
	if l.writer == nil || l.writing {
		return
	}
	some, full := l.writer.Woken()
	switch {
	case full:
		l.planWriter(l.w.now)
	case some:
		l.writerAt = never
		l.planWriter(l.w.now + l.writer.Pause())
	}
}

func (l *life) planRunner(at time.Duration) {
	if at >= l.runnerAt {
		return
	}
	l.runnerAt = at
	l.w.at(at, func() {
		if l.w.life == l && l.runnerAt == at && l.runner != nil {
			l.runnerAt = never
			l.guard(func() { l.planRunner(l.w.now + max(l.runner.Step(), time.Millisecond)) })
		}
	})
}

func (l *life) planWriter(at time.Duration) {
	if at >= l.writerAt || l.writing {
		return
	}
	l.writerAt = at
	l.w.at(at, func() {
		if l.w.life != l || l.writerAt != at || l.writing {
			return
		}
		l.writerAt, l.writing = never, true
		l.spawn(func() {
			pause := l.writer.Step(background)
			l.writing = false
			l.planWriter(l.w.now + max(pause, time.Millisecond))
		})
	})
}

// housekeeping is what cmd/lnsd does every now and then.
func (l *life) housekeeping() {
	c := l.w.cluster
	conn := simConn{l.h, c.db}
	for {
		var elsewhere []netip.Addr
		if conn.transact(asksRows, "", func() error { elsewhere = c.db.elsewhere(l.h); return nil }) == nil {
			l.withheld.Set(elsewhere)
		}
		var list []sessiondb.Entry
		if conn.transact(asksRows, "", func() error { list = c.db.leftEntries(l.h); return nil }) == nil && len(list) > 0 && l.adoptEntries(list) {
			_ = conn.transact(asksRows, "", func() error { c.db.taken(list); return nil })
		}
		l.w.sleep(10 * time.Second)
	}
}

// adoptEntries is that of cmd/lnsd.
func (l *life) adoptEntries(list []sessiondb.Entry) bool {
	var changes []sessiondb.Change
	var usages []aaa.Usage
	for i := range list {
		u, err := aaa.ParseUsage(list[i].Payload)
		if err != nil {
			l.w.fail("journal takes it", "a record of another node: %v", err)
		}
		u.Seq = l.srv.NextSeq()
		payload, _ := aaa.AppendUsage(nil, &u)
		changes = append(changes, sessiondb.Change{Op: sessiondb.PutEntry, Entry: &sessiondb.Entry{
			Seq: u.Seq, Node: l.h.name, Session: list[i].Session, Payload: payload}})
		usages = append(usages, u)
	}
	if (teed{l.h.store, l.writer}).Apply(background, changes) != nil {
		return false
	}
	l.outbox.Submit(usages)
	return true
}

// nodeServer is the server as lns/cluster uses it.
type nodeServer struct{ l *life }

// Detach is that of cluster.Server, as are the others.
func (s nodeServer) Detach(local netip.AddrPort) ([]sessiondb.Change, error) {
	l := s.l
	delete(l.here, local)
	l.taking = true
	defer func() { l.taking = false }()
	return l.srv.Detach(local)
}

// ForgetKept: see Detach.
func (s nodeServer) ForgetKept(ctx context.Context, local netip.AddrPort) error {
	return s.l.srv.ForgetKept(ctx, local)
}

// RecoverKept: see Detach.
func (s nodeServer) RecoverKept(ctx context.Context, local netip.AddrPort) (cluster.Recovered, error) {
	return s.l.recover(func() (Recovery, error) { return s.l.srv.RecoverKept(ctx, local) })
}

// RecoverLast: see Detach.
func (s nodeServer) RecoverLast(ctx context.Context, last []sessiondb.Change) (cluster.Recovered, error) {
	return s.l.recover(func() (Recovery, error) { return s.l.srv.RecoverLast(ctx, last) })
}

// Adopt: see Detach.
func (s nodeServer) Adopt(ctx context.Context, local netip.AddrPort, tunnels iter.Seq2[sessiondb.Tunnel, error], sessions iter.Seq2[sessiondb.Session, error]) (cluster.Recovered, error) {
	// What the database gives is waited for before the shards are touched.
	ts, err := collect(tunnels)
	if err != nil {
		return cluster.Recovered{}, err
	}
	ss, err := collect(sessions)
	if err != nil {
		return cluster.Recovered{}, err
	}
	s.l.w.cluster.books.adopted(s.l.h, ss)
	return s.l.recover(func() (Recovery, error) {
		return s.l.srv.Recover(ctx, Recovered{Tunnels: given(ts), Sessions: given(ss), Adopt: true, Local: local})
	})
}

func collect[T any](seq iter.Seq2[T, error]) (list []T, err error) {
	for x, err := range seq {
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

func given[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// recover brings sessions to life; what is checked after each step is not true in between.
func (l *life) recover(f func() (Recovery, error)) (cluster.Recovered, error) {
	l.taking = true
	r, err := f()
	l.taking = false
	return cluster.Recovered(r), err
}

// simWriter is the write-behind as lns/cluster uses it.
type simWriter struct{ l *life }

// Flush waits as sessiondb.Writer.Flush does.
func (s simWriter) Flush(context.Context) error {
	w, done := s.l.w, false
	s.l.writer.Confirm(func() { done = true })
	w.poll(w.now+5*time.Second, func() bool { return done })
	if !done {
		return errors.New("simulated: the database is slow")
	}
	return nil
}

// Resync is that of sessiondb.Writer.
func (s simWriter) Resync() { s.l.writer.Resync() }

// simSessions is the host's part, with what the checks have to know of it.
type simSessions struct {
	l *life
	*cluster.Sessions
}

// Take is that of cluster.Host, as are the others.
func (s simSessions) Take(ctx context.Context, local netip.AddrPort, own bool) error {
	s.l.w.sleep(s.l.w.upTo(200 * time.Millisecond))
	err := s.Sessions.Take(ctx, local, own)
	s.came(local, err)
	return err
}

func (s simSessions) came(local netip.AddrPort, err error) {
	l := s.l
	l.w.tell("%s takes %v: %v", l.h.name, local, err)
	if err != nil {
		return
	}
	l.here[local] = l.w.now
	l.check.came(local)
	l.w.cluster.took(l, local)
	for _, sh := range l.srv.shards {
		l.after(sh)
	}
	l.wake()
	if f := l.w.cluster.came; f != nil {
		f(l)
	}
}

// Give: see Take.
func (s simSessions) Give(ctx context.Context, local netip.AddrPort) ([]sessiondb.Change, error) {
	s.l.w.tell("%s gives %v", s.l.h.name, local)
	return s.Sessions.Give(ctx, local)
}

// Restore: see Take.
func (s simSessions) Restore(ctx context.Context, local netip.AddrPort, last []sessiondb.Change) error {
	err := s.Sessions.Restore(ctx, local, last)
	s.came(local, err)
	return err
}

// Forget: see Take.
func (s simSessions) Forget(local netip.AddrPort) error {
	s.l.w.tell("%s forgets %v", s.l.h.name, local)
	return s.Sessions.Forget(local)
}
