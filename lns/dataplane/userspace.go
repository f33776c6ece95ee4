package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// userspace is the Plane that forwards in this process, between a Transport
// and a Core.
type userspace struct {
	// Set by New and Start, then constant.
	config    Config
	transport Transport
	fenced    *fenced // nil without a fence
	core      Core
	handler   Handler
	sessions  *table
	routes    *routeTable
	router    *router
	done      chan struct{}
	marks     *markSet // nil without Config.Marks

	// Each belongs to one reader; see upstream and downstream.
	up   []*upstream
	down []*downstream
	// What waits for what is missing before it; overdue and due belong to who calls Tick.
	reorder reorder
	overdue upstream
	due     []*session
	// injected belongs to who has injecting.
	injecting sync.Mutex
	injected  upstream

	// Atomic.
	shards []shardStats

	readers sync.WaitGroup

	// mu guards what writes to sessions and routes, and:
	mu      sync.Mutex
	peers   map[peerKey]*peer
	started bool
	closed  bool
}

// New makes a plane. Without Transport and Core it opens UDP sockets and a TUN
// device, which takes CAP_NET_ADMIN: the error then wraps ErrPermission.
func New(c Config) (Plane, error) {
	c.inherited = newInheritance(c.Inherited)
	defer c.inherited.drop("")
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	p := &userspace{
		config: c, transport: c.Transport, core: c.Core,
		sessions: newTable(), routes: newRouteTable(), done: make(chan struct{}),
		shards: make([]shardStats, c.Shards), peers: make(map[peerKey]*peer),
		reorder: newReorder(c.Now),
	}
	if c.Marks {
		p.marks = new(markSet)
	}
	if p.transport == nil {
		t, err := newUDP(c)
		if err != nil {
			return nil, err
		}
		p.transport = t
	}
	if c.Fence != nil {
		p.fenced = &fenced{Transport: p.transport, fence: c.Fence}
		p.transport = p.fenced
	}
	if p.core == nil {
		d, err := newTUN(c)
		if err != nil {
			p.transport.Close()
			return nil, err
		}
		p.core = d
	}
	p.router = newRouter(p.core, c.Routes, c.Log)
	for range c.Shards {
		p.up = append(p.up, new(upstream))
	}
	for i := range p.core.Queues() {
		p.down = append(p.down, newDownstream(p, i))
	}
	return p, nil
}

func (p *userspace) Listeners() []netip.AddrPort { return p.transport.Listeners() }
func (p *userspace) Shards() int                 { return p.config.Shards }

func (p *userspace) Start(h Handler) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started || p.closed {
		return errors.New("dataplane: started twice, or after Close")
	}
	p.started = true
	p.handler = h
	if p.fenced == nil {
		p.config.Counters.settle()
	}
	if err := p.transport.Start(p.receive); err != nil {
		return err
	}
	for _, d := range p.down {
		p.readers.Go(func() {
			if t, ok := p.core.(*tunDevice); ok && t.held && p.fenced != nil {
				p.fenced.opens(p.done)
			}
			d.run()
		})
	}
	p.readers.Go(func() { p.router.run(p.done) })
	if p.config.Now == nil {
		p.readers.Go(p.runReorder)
	}
	return nil
}

func (p *userspace) Add(list []Session) error {
	var errs []error
	p.mu.Lock()
	for i := range list {
		if err := p.check(&list[i]); err != nil {
			errs = append(errs, err)
			continue
		}
		p.add(&list[i])
	}
	p.mu.Unlock()
	p.router.wake()
	return errors.Join(errs...)
}

// check says why the plane cannot forward for v.
func (p *userspace) check(v *Session) error {
	reason := ""
	switch {
	case int(v.Listener) >= len(p.transport.Listeners()):
		reason = "no such listener"
	case !v.Peer.IsValid():
		reason = "no peer"
	case v.Mark != 0 && p.marks == nil:
		reason = fmt.Sprintf("mark %d, but marks are not in use", v.Mark)
	case !v.Address.Is4():
		reason = fmt.Sprintf("address %v is not IPv4", v.Address)
	case v.MTU != 0 && v.MTU < 68:
		reason = fmt.Sprintf("MTU %d is less than 68", v.MTU)
	}
	if v.Sequence != nil {
		if err := v.Sequence.config.Validate(); err != nil {
			reason = err.Error()
		}
	}
	for _, r := range v.Routes {
		if !r.IsValid() || !r.Addr().Is4() {
			reason = fmt.Sprintf("route %v is not an IPv4 prefix", r)
		}
	}
	if reason == "" {
		return nil
	}
	return fmt.Errorf("dataplane: session %d in tunnel %d of listener %d: %s", v.Key.Session, v.Tunnel, v.Listener, reason)
}

// add makes one session known. Under mu.
func (p *userspace) add(v *Session) {
	key := v.Key.pack()
	s := p.sessions.get(key)
	var room [2]prefixRoom
	var before []netip.Prefix
	var oldPeer *peer
	if s != nil {
		before, oldPeer = s.prefixes(&room[0]), s.peer.Load()
	} else {
		s = &session{key: key}
		s.count = p.counted(v)
	}
	p.follow(s, v.Sequence)
	s.set(v, p.takePeer(peerKey{v.Peer, v.Mark}))
	p.dropPeer(oldPeer)
	p.route(s, before, s.prefixes(&room[1]))
	if oldPeer == nil {
		p.sessions.put(s)
	}
}

// counted is where a session that is new to the plane counts. Under mu.
func (p *userspace) counted(v *Session) *counts {
	c, found := p.config.Counters.take(v.ID, &v.Counted)
	if v.Sequence != nil {
		v.Sequence.bind(c, found)
	}
	return c
}

// uncount takes the counters of a session that goes. Under mu.
func (p *userspace) uncount(s *session) Counters {
	if q := s.sequence.Load(); q != nil {
		q.unbind()
	}
	v := s.count.get()
	p.config.Counters.give(s.count)
	return v
}

// route gives s the prefixes after in place of those before. Where nothing changes no
// packet on its way finds the prefixes gone for a moment. Under mu.
func (p *userspace) route(s *session, before, after []netip.Prefix) {
	same := slices.Equal(before, after)
	for _, r := range before {
		if !same {
			p.routes.remove(r, s)
			p.router.remove(r)
		}
	}
	for _, r := range after {
		p.routes.put(r, s)
		if !same {
			p.router.add(r)
		}
	}
}

func (p *userspace) Remove(keys []Key, out []Counters) {
	var room prefixRoom
	p.mu.Lock()
	for i, k := range keys {
		out[i] = Counters{}
		s := p.sessions.remove(k.pack())
		if s == nil {
			continue
		}
		for _, r := range s.prefixes(&room) {
			p.routes.remove(r, s)
			p.router.remove(r)
		}
		p.dropPeer(s.peer.Load())
		p.follow(s, nil)
		out[i] = p.uncount(s)
	}
	p.mu.Unlock()
	p.router.wake()
}

// takePeer and dropPeer keep one peer for all its sessions. Under mu.
func (p *userspace) takePeer(k peerKey) *peer {
	r := p.peers[k]
	if r == nil {
		r = &peer{peerKey: k}
		p.peers[k] = r
	}
	r.refs++
	return r
}

func (p *userspace) dropPeer(r *peer) {
	if r == nil {
		return
	}
	if r.refs--; r.refs == 0 {
		delete(p.peers, r.peerKey)
	}
}

func (p *userspace) Counters(keys []Key, out []Counters) {
	for i, k := range keys {
		out[i] = Counters{}
		if s := p.sessions.get(k.pack()); s != nil {
			out[i] = s.count.get()
		}
	}
}

func (p *userspace) Send(shard int, batch []Datagram) {
	n, withheld := p.transmit(shard, batch)
	p.shards[shard].sent.Add(uint64(n))
	p.shards[shard].withheld.Add(uint64(withheld))
	p.shards[shard].sendDropped.Add(uint64(len(batch) - n - withheld))
}

func (p *userspace) Stats() Stats {
	sum := Stats{Overrun: p.transport.Overrun()}
	for i := range p.shards {
		p.shards[i].addTo(&sum)
	}
	if p.fenced != nil {
		sum.Fenced = p.fenced.dropped.Load()
	}
	return sum
}

// Quieter is a Transport or Core that can stop to read before it is closed, so that a process that makes room for the next one
// loses nothing. A Transport's Quiet returns when receive is called no more; after a Core's each Read gives an error, as after
// Close, but for what would be lost with the process. Both can be written to as before.
type Quieter interface{ Quiet() }

func (p *userspace) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	close(p.done)
	// What has been read is still forwarded, both ways; what has not waits in the kernel for the next process.
	if q, ok := p.transport.(Quieter); ok {
		q.Quiet()
	}
	if q, ok := p.core.(Quieter); ok {
		q.Quiet()
		p.readers.Wait()
		p.tick(forever) // what waits for what is missing before it
	}
	err := errors.Join(p.core.Close(), p.transport.Close())
	p.readers.Wait()
	return err
}
