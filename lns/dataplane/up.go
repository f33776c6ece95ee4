package dataplane

import "culvert/proto/l2tp"

// upstream is what one shard needs for datagrams from the LACs. It belongs to
// whoever the transport calls receive by, one at a time.
type upstream struct {
	packets []Packet
	rest    []Datagram
	spent   []*held // what waited, in buffers that are free when packets is written
	counts  tally
}

// receive forwards what may be forwarded of the batch, and hands over the rest.
func (p *userspace) receive(shard int, batch []Datagram) { p.receiveBy(p.up[shard], shard, batch) }

// receiveBy is receive with an upstream that is the caller's.
func (p *userspace) receiveBy(u *upstream, shard int, batch []Datagram) {
	u.packets, u.rest = u.packets[:0], u.rest[:0]
	u.counts.received = uint64(len(batch))
	for i := range batch {
		p.input(u, &batch[i])
	}
	// What goes up comes first: writing may overwrite what is before a packet.
	if len(u.rest) > 0 {
		p.handler.Datagrams(shard, u.rest)
	}
	p.write(shard, u)
	p.shards[shard].add(&u.counts)
}

// write gives the core what was sorted out for it.
func (p *userspace) write(shard int, u *upstream) {
	if len(u.packets) > 0 {
		n := p.core.Write(shard%p.core.Queues(), u.packets)
		u.counts.coreDropped += uint64(len(u.packets) - n)
	}
	if len(u.spent) > 0 {
		p.reorder.put(u.spent)
		clear(u.spent)
		u.spent = u.spent[:0]
	}
}

// input sorts one datagram.
func (p *userspace) input(u *upstream, d *Datagram) {
	h, payload, err := l2tp.ParseHeader(d.B)
	if err != nil {
		u.counts.malformed++
		u.rest = append(u.rest, *d)
		return
	}
	if h.Control {
		u.rest = append(u.rest, *d)
		return
	}
	s := p.sessions.get(Key{d.Listener, h.TunnelID, h.SessionID}.pack())
	if s == nil || !s.comesFrom(d) || !p.mayPass(d.Mark) {
		u.rest = append(u.rest, *d)
		return
	}
	if h.HasSequence {
		if q := s.sequence.Load(); q != nil {
			p.sequenced(u, s, q, d, &h, payload)
			return
		}
	}
	p.forward(u, s, d, &h, payload)
}

// forward takes a data message of s whose turn it is: its IP packet goes to the
// core, any other frame up.
func (p *userspace) forward(u *upstream, s *session, d *Datagram, h *l2tp.Header, payload []byte) {
	protocol, at, ok := pppProtocol(payload)
	if !ok {
		u.counts.malformed++
		return
	}
	if protocol != pppIPv4 {
		u.rest = append(u.rest, *d)
		return
	}
	packet, size, ok := parseIPv4(payload[at:])
	if !ok {
		u.counts.invalid++
		return
	}
	if !s.owns(source(packet)) {
		s.count.spoofed.Add(1)
		return
	}
	if mss := s.mss(); mss != 0 {
		clampMSS(packet, size, mss)
	}
	s.count.inPackets.Add(1)
	s.count.inOctets.Add(uint64(len(packet)))
	// The packet stays where it is in the datagram: what is before it is room.
	off := h.Size() + int(h.Offset) + at
	u.packets = append(u.packets, Packet{Buf: d.B[:off+len(packet)], Off: off})
}

// comesFrom says whether the datagram is from the session's LAC, through its SA if it has one.
func (s *session) comesFrom(d *Datagram) bool {
	from := s.peer.Load()
	return from.addr == d.Peer && from.mark == d.Mark
}
