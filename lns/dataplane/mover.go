package dataplane

// Mover is a Plane whose sessions may move to another node, or come from one, with packets on
// their way. The userspace plane is one. Its methods may be called from any goroutine.
type Mover interface {
	// Inject takes datagrams that have come to another node for one of this plane's listeners, as if
	// they had come to its socket. It keeps no reference to them, but may change them.
	Inject(batch []Datagram)
	// More adds to the counters of sessions what another node has counted of them; those
	// that are not known are left out.
	More([]Counted)
	// Counts gives f the counters of all sessions, while they go on counting.
	Counts(f func(Counted))
}

// Counted is what a session has counted.
type Counted struct {
	Key
	Counters
}

// Settler is a Plane that has, of an earlier process, the counters of sessions that it does not have yet: one with a Fence, whose sessions
// come when it is known whose they are. The userspace plane is one.
type Settler interface {
	// Settle forgets those counters. It is called before sessions come that have been elsewhere
	// since: what another node has counted and numbered goes before what was left here.
	Settle()
}

// Settle implements Settler.
func (p *userspace) Settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config.Counters.settle()
}

// Inject implements Mover. What comes for a listener whose time is not there is dropped and counted.
func (p *userspace) Inject(batch []Datagram) {
	p.injecting.Lock()
	defer p.injecting.Unlock()
	if p.fenced == nil {
		p.receiveBy(&p.injected, 0, batch)
		return
	}
	dropped := 0
	p.fenced.runs(batch, p.fenced.fence.now(), false, func(run []Datagram) { p.receiveBy(&p.injected, 0, run) }, &dropped)
}

// More implements Mover.
func (p *userspace) More(list []Counted) {
	for i := range list {
		if s := p.sessions.get(list[i].pack()); s != nil {
			s.count.add(&list[i].Counters)
		}
	}
}

// Counts implements Mover. A session that comes or goes meanwhile may be left out.
func (p *userspace) Counts(f func(Counted)) {
	slots := *p.sessions.slots.Load()
	for i := range slots {
		if s := slots[i].session.Load(); s != nil {
			f(Counted{Key: unpack(s.key), Counters: s.count.get()})
		}
	}
}

func unpack(key uint64) Key {
	return Key{Listener: uint16(key >> 32), Tunnel: uint16(key >> 16), Session: uint16(key)}
}

// add counts what has been counted elsewhere.
func (c *counts) add(v *Counters) {
	c.inOctets.Add(v.InOctets)
	c.inPackets.Add(v.InPackets)
	c.outOctets.Add(v.OutOctets)
	c.outPackets.Add(v.OutPackets)
	c.spoofed.Add(v.Spoofed)
}
