package lns

import (
	"errors"
	"net/netip"

	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// simPlane is a plane's twin without goroutines. It keeps to the contract of
// dataplane.Plane, and checks that the shards do.
type simPlane struct {
	w        *world
	l        *life
	handler  dataplane.Handler
	sessions map[dataplane.Key]*planeSession
}

type planeSession struct {
	dataplane.Session
	counters dataplane.Counters
}

func newSimPlane(w *world, l *life) *simPlane {
	return &simPlane{w: w, l: l, sessions: map[dataplane.Key]*planeSession{}}
}

// simListeners are the LNS's addresses.
var simListeners = []netip.AddrPort{lnsAddress, netip.MustParseAddrPort("192.0.2.2:1701")}

// Listeners implements dataplane.Plane, as do the other methods that it has.
func (p *simPlane) Listeners() []netip.AddrPort { return simListeners[:p.w.plan.listeners] }

// Shards is how many the plan asks for.
func (p *simPlane) Shards() int { return p.w.plan.shards }

// Start takes the server.
func (p *simPlane) Start(h dataplane.Handler) error {
	p.handler = h
	return nil
}

// Close does nothing.
func (p *simPlane) Close() error { return nil }

// SetMark does nothing: no LAC of a simulation uses IPsec.
func (p *simPlane) SetMark(uint32, bool) {}

// Stats are not kept.
func (p *simPlane) Stats() dataplane.Stats { return dataplane.Stats{} }

// Add makes sessions known.
func (p *simPlane) Add(list []dataplane.Session) error {
	p.l.effect()
	var bad error
	for _, s := range list {
		if !s.Peer.IsValid() || !s.Address.Is4() {
			bad = errors.New("simulated: not an address that the plane takes")
			continue
		}
		if old := p.sessions[s.Key]; old != nil {
			old.Session = s
		} else {
			p.sessions[s.Key] = &planeSession{Session: s, counters: s.Counted}
		}
	}
	return bad
}

// Remove forgets sessions.
func (p *simPlane) Remove(keys []dataplane.Key, out []dataplane.Counters) {
	p.Counters(keys, out)
	for _, k := range keys {
		delete(p.sessions, k)
	}
}

// Counters gives what has been counted.
func (p *simPlane) Counters(keys []dataplane.Key, out []dataplane.Counters) {
	for i, k := range keys {
		out[i] = dataplane.Counters{}
		if s := p.sessions[k]; s != nil {
			out[i] = s.counters
		}
	}
}

// Send lets datagrams go, one by one: lnsd may die between any two. What they say must be in
// the journal by then.
func (p *simPlane) Send(shard int, batch []dataplane.Datagram) {
	p.l.check.committed(p.l.srv.shards[shard])
	for _, d := range batch {
		p.l.effect()
		p.w.net.fromLNS(d)
	}
}

// inject takes a datagram from a LAC: packets of subscribers are counted, the rest is the shards'.
func (p *simPlane) inject(listener uint16, peer netip.AddrPort, b []byte) {
	if h, frame, err := l2tp.ParseHeader(b); err == nil && !h.Control {
		s := p.sessions[dataplane.Key{Listener: listener, Tunnel: h.TunnelID, Session: h.SessionID}]
		if s != nil && s.Peer == peer && s.forward(frame) {
			return
		}
	}
	p.handler.Datagrams(0, []dataplane.Datagram{{Listener: listener, Peer: peer, B: b}})
}

// forward counts a frame that has an IPv4 packet.
func (s *planeSession) forward(frame []byte) bool {
	f, err := ppp.ParseFrame(frame)
	if err != nil || f.Protocol != ppp.ProtocolIPv4 {
		return false
	}
	if len(f.Payload) < 20 || netip.AddrFrom4([4]byte(f.Payload[12:16])) != s.Address {
		s.counters.Spoofed++
		return true
	}
	s.counters.InPackets++
	s.counters.InOctets += uint64(len(f.Payload))
	return true
}

// download sends a subscriber a packet from the core, and says whether there is one with that address.
func (p *simPlane) download(to netip.Addr, n int) bool {
	for _, s := range p.sessions {
		if s.Address != to {
			continue
		}
		b := make([]byte, sequenceHeader, sequenceHeader+4+n)
		b = append(b, 0xff, 3, 0, 0x21)
		b = append(b, ipPacket(netip.MustParseAddr("203.0.113.5"), to, n)...)
		b = putDataHeader(b, s.PeerTunnel, s.PeerSession, s.Sequence)
		s.counters.OutPackets++
		s.counters.OutOctets += uint64(n)
		p.w.net.fromLNS(dataplane.Datagram{Listener: s.Listener, Peer: s.Peer, B: b})
		return true
	}
	return false
}
