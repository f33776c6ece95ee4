// Package planetest has data planes that need no rights and no network: the
// userspace plane of package dataplane with one or both of its sides in memory.
//
//   - New has both sides in memory, and is synchronous: what Inject and
//     InjectCore cause has happened when they return. It suits tests, also those in
//     virtual time.
//   - NewCore has only the core side in memory, for real sockets and a test's packets.
//   - NewEcho is a Core that answers, for a plane whose other side are real UDP
//     sockets: dataplane.New(dataplane.Config{Listen: ..., Core: planetest.NewEcho(n)}).
//
// Run is the conformance suite of every plane.
package planetest

import (
	"bytes"
	"net/netip"
	"time"

	"culvert/lns/dataplane"
)

// Config says what New makes.
type Config struct {
	// Listen are the listeners' addresses; nothing is opened. None is 192.0.2.1:1701.
	Listen []netip.AddrPort
	// Shards is the plane's number of shards; 0 is 1.
	Shards int
	// Address is the plane's own, the source of ICMP errors.
	Address netip.Addr
	// Marks is dataplane.Config.Marks.
	Marks bool
	// OnSend is called with what the plane sends to LACs, and OnCore with
	// the IP packets it gives to the core; both are lent. They may call any
	// method of the plane; what they inject is delivered after they return.
	OnSend func(dataplane.Datagram)
	OnCore func(packet []byte)
	// Now, where set, is the time for what waits to be reordered, which then waits until
	// the test calls Tick.
	Now func() time.Duration
}

// Plane is a dataplane.Plane between two sides in memory.
type Plane struct {
	dataplane.Plane
	net  *network
	core *Core
}

// New makes a plane in memory.
func New(c Config) (*Plane, error) {
	if len(c.Listen) == 0 {
		c.Listen = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}
	}
	c.Shards = max(c.Shards, 1)
	p := &Plane{
		net:  newNetwork(c.Listen, c.Shards, c.OnSend),
		core: NewCore(c.OnCore),
	}
	plane, err := dataplane.New(dataplane.Config{
		Shards: c.Shards, Address: c.Address, Transport: p.net, Core: p.core, Marks: c.Marks, Now: c.Now,
	})
	if err != nil {
		return nil, err
	}
	p.Plane = plane
	return p, nil
}

// Inject gives a datagram to the plane as if it had come from peer to the
// listener, and reports whether it was taken: false before Start and after Close. It is
// copied. The kernel's steering is imitated: it goes to the shard that its ids name.
// When Inject is called while another goroutine's is being delivered, or from a
// callback, it only queues, and that delivery goes on with it.
func (p *Plane) Inject(listener uint16, peer netip.AddrPort, b []byte) bool {
	return p.InjectMarked(listener, peer, 0, b)
}

// InjectMarked is Inject through the IPsec SA of a mark.
func (p *Plane) InjectMarked(listener uint16, peer netip.AddrPort, mark uint32, b []byte) bool {
	return p.net.inject(dataplane.Datagram{Listener: listener, Peer: peer, Mark: mark, B: bytes.Clone(b)})
}

// InjectCore gives an IP packet to the plane as if it had come from the core.
// It returns when the packet has been forwarded or dropped.
func (p *Plane) InjectCore(packet []byte) { p.core.Inject(packet) }

// Tick gives on what has waited for its turn long enough, by Config.Now. It returns when that
// is done, and says whether anything waits still.
func (p *Plane) Tick() bool { return p.Plane.(interface{ Tick() bool }).Tick() }

// Routes are the prefixes that the plane has asked the core for.
func (p *Plane) Routes() []netip.Prefix { return p.core.Routes() }
