package lns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// simPlane is the plane of one life. What comes from LACs goes through the real plane, in memory;
// what goes to them is let go here, one by one, since lnsd may die between any two. It checks that the
// shards keep to the contract of dataplane.Plane.
type simPlane struct {
	w        *world
	l        *life
	real     *planetest.Plane
	sessions map[dataplane.Key]*planeSession
	// byAddress finds them by addresses and networks, as far as they have the latest.
	byAddress map[netip.Addr]*planeSession
	byNetwork map[netip.Prefix]*planeSession
	last      map[simPacketKey]uint32 // the number of a call's latest packet at the core
	wrong     *violation              // what the core has noticed, to be told when the plane is through
	ticking   bool
}

type planeSession struct {
	dataplane.Session
	out dataplane.Counters // of what has been sent to the subscriber
}

// simPacketKey is a call as its packets tell: a user, and which of its calls.
type simPacketKey struct{ user, call uint32 }

func newSimPlane(w *world, l *life) *simPlane {
	p := &simPlane{
		w: w, l: l, sessions: map[dataplane.Key]*planeSession{}, byAddress: map[netip.Addr]*planeSession{},
		byNetwork: map[netip.Prefix]*planeSession{}, last: map[simPacketKey]uint32{},
	}
	real, err := planetest.New(planetest.Config{
		Listen: p.Listeners(), Shards: p.Shards(), Address: localAddr, Now: w.time, OnCore: p.core,
	})
	if err != nil {
		w.fail("starts again", "%v", err)
	}
	p.real = real
	return p
}

// simListeners are the LNS's addresses.
var simListeners = []netip.AddrPort{lnsAddress, netip.MustParseAddrPort("192.0.2.2:1701"), netip.MustParseAddrPort("192.0.2.3:1701")}

// Listeners implements dataplane.Plane, as do the other methods that it has.
func (p *simPlane) Listeners() []netip.AddrPort { return simListeners[:p.w.plan.listeners] }

// Shards is how many the plan asks for.
func (p *simPlane) Shards() int { return p.w.plan.shards }

// Start takes the server.
func (p *simPlane) Start(h dataplane.Handler) error { return p.real.Start(h) }

// Close ends it with its life.
func (p *simPlane) Close() error { return p.real.Close() }

// SetMark does nothing: no LAC of a simulation uses IPsec.
func (p *simPlane) SetMark(uint32, bool) {}

// Stats are not kept.
func (p *simPlane) Stats() dataplane.Stats { return dataplane.Stats{} }

// Add makes sessions known.
func (p *simPlane) Add(list []dataplane.Session) error {
	p.l.effect()
	for _, s := range list {
		if !s.Peer.IsValid() || !s.Address.Is4() {
			continue // the plane says so
		}
		x := p.sessions[s.Key]
		if x == nil {
			x = &planeSession{out: dataplane.Counters{OutOctets: s.Counted.OutOctets, OutPackets: s.Counted.OutPackets}}
			p.sessions[s.Key] = x
		} else {
			p.unroute(x)
		}
		x.Session = s
		p.byAddress[s.Address] = x
		for _, n := range s.Routes {
			p.byNetwork[n] = x
		}
	}
	return p.real.Add(list)
}

// unroute takes away what leads to a session.
func (p *simPlane) unroute(x *planeSession) {
	if p.byAddress[x.Address] == x {
		delete(p.byAddress, x.Address)
	}
	for _, n := range x.Routes {
		if p.byNetwork[n] == x {
			delete(p.byNetwork, n)
		}
	}
}

// Remove forgets sessions.
func (p *simPlane) Remove(keys []dataplane.Key, out []dataplane.Counters) {
	p.real.Remove(keys, out)
	for i, k := range keys {
		if x := p.sessions[k]; x != nil {
			out[i].OutOctets, out[i].OutPackets = x.out.OutOctets, x.out.OutPackets
			p.unroute(x)
			delete(p.sessions, k)
		}
	}
}

// Counters gives what has been counted.
func (p *simPlane) Counters(keys []dataplane.Key, out []dataplane.Counters) {
	p.real.Counters(keys, out)
	for i, k := range keys {
		if x := p.sessions[k]; x != nil {
			out[i].OutOctets, out[i].OutPackets = x.out.OutOctets, x.out.OutPackets
		}
	}
}

// Send lets datagrams go, one by one: lnsd may die between any two. What they say must be in
// the journal by then.
func (p *simPlane) Send(shard int, batch []dataplane.Datagram) {
	if sh := p.l.srv.shards[shard]; p.w.plan.big {
		p.l.check.leaves(sh, batch)
	} else {
		p.l.check.committed(sh)
		p.l.check.looked = true
	}
	if p.w.cluster != nil {
		p.w.cluster.confirmed(p.l, p.l.srv.shards[shard])
		p.w.cluster.behindHeld(p.l.srv.shards[shard], batch)
	}
	for _, d := range batch {
		if p.passes(d.Listener) {
			p.l.effect()
			p.leaves(d)
		}
	}
}

// passes says whether the fence lets a listener's datagrams through, where there is one.
func (p *simPlane) passes(listener uint16) bool {
	return p.l.clusterLife == nil || p.l.open(listener)
}

// leaves takes what leaves the host.
func (p *simPlane) leaves(d dataplane.Datagram) {
	if p.w.cluster != nil && !p.w.cluster.answers(p.l, d.Listener) {
		return
	}
	p.w.net.fromLNS(d)
}

// inject takes a datagram from a LAC: packets of subscribers go to the core, the rest to the shards.
func (p *simPlane) inject(listener uint16, peer netip.AddrPort, b []byte) {
	if !p.passes(listener) {
		return
	}
	p.real.Inject(listener, peer, b)
	p.passed()
	if p.w.plan.profile.ReorderPackets > 0 {
		p.tick()
	}
}

// tick has the plane look after what waits for its turn, for as long as anything does.
func (p *simPlane) tick() {
	if p.ticking {
		return
	}
	p.ticking = true
	p.w.after(4*time.Millisecond, func() {
		p.ticking = false
		if p.w.life != p.l {
			return
		}
		if again := p.real.Tick(); again {
			p.tick()
		}
		p.passed()
	})
}

// passed tells what the core has noticed.
func (p *simPlane) passed() {
	if p.wrong != nil {
		panic(p.wrong)
	}
}

// core takes a packet that the plane forwards: where data messages have numbers, packets come in
// order and once. It is called from within the plane, which no panic may leave.
func (p *simPlane) core(packet []byte) {
	if len(packet) < 40 || p.w.net.corrupted || p.wrong != nil {
		return
	}
	user, call := binary.BigEndian.Uint32(packet[28:]), binary.BigEndian.Uint32(packet[32:])
	k, n := simPacketKey{user, call}, binary.BigEndian.Uint32(packet[36:])
	if x := p.byAddress[netip.AddrFrom4([4]byte(packet[12:16]))]; x == nil {
		p.wrong = &violation{"one session for an address", fmt.Sprintf("packet %d of user %d was forwarded, and no session has its address", n, user)}
	} else if last, ok := p.last[k]; ok && n <= last && x.Sequence != nil && p.w.plan.numbered() {
		p.wrong = &violation{"once and in order", fmt.Sprintf("packet %d of user %d came to the core after %d", n, user, last)}
	}
	p.last[k] = max(p.last[k], n)
}

// numbered says whether all data messages have numbers.
func (p *plan) numbered() bool { return p.sequencing || p.profile.Sequencing == SequencingAlways }

// download sends a subscriber a packet from the core, and says whether there is one with that address.
func (p *simPlane) download(to netip.Addr, n int) bool {
	x := p.byAddress[to]
	if x == nil {
		network, _ := to.Prefix(29)
		x = p.byNetwork[network]
	}
	if x == nil || !p.passes(x.Listener) {
		return false
	}
	b := make([]byte, sequenceHeader, sequenceHeader+4+n)
	b = append(b, 0xff, 3, 0, 0x21)
	b = append(b, ipPacket(simServer, to, n)...)
	b = putDataHeader(b, x.PeerTunnel, x.PeerSession, x.Sequence)
	x.out.OutPackets++
	x.out.OutOctets += uint64(n)
	p.leaves(dataplane.Datagram{Listener: x.Listener, Peer: x.Peer, B: b})
	return true
}
