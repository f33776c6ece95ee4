package dataplane

import (
	"encoding/binary"
	"time"
)

const (
	// readBatch is how many packets are read from the core at once, and
	// readBuffer the octets they share.
	readBatch  = 128
	readBuffer = 4 * (MaxPacket + Headroom)
	// sendBatch is how many datagrams are gathered at most before they are sent.
	sendBatch = 256
)

// downstream is what one queue of the core needs for packets to subscribers. It
// belongs to the goroutine that runs run.
type downstream struct {
	plane *userspace
	queue int
	shard int

	buf   []byte
	batch []Packet
	out   []Datagram
	// segments and fragments are made here, and stay until the next flush. They are apart
	// because a segment may have to be fragmented.
	segments, fragments arena
	counts              tally
	icmp                limiter
	icmpBuf             []byte
	icmpPacket          [1]Packet
	identification      uint16 // of packets that are fragmented though they may not be
}

func newDownstream(p *userspace, queue int) *downstream {
	return &downstream{
		plane: p, queue: queue, shard: queue % p.config.Shards,
		buf: make([]byte, readBuffer), batch: make([]Packet, readBatch), out: make([]Datagram, 0, sendBatch),
		segments: arena{buf: make([]byte, readBuffer)}, fragments: arena{buf: make([]byte, readBuffer)},
		icmpBuf: make([]byte, Headroom+icmpMax),
	}
}

// run forwards until the core is closed.
func (d *downstream) run() {
	for {
		n, err := d.plane.core.Read(d.queue, d.buf, d.batch)
		if err != nil {
			if !isDone(d.plane.done) {
				d.plane.config.Log.Error("cannot read packets from the core any more", "queue", d.queue, "err", err)
			}
			return
		}
		d.forward(d.batch[:n])
	}
}

// forward sends a batch of packets to their subscribers.
func (d *downstream) forward(batch []Packet) {
	for i := range batch {
		d.output(&batch[i])
	}
	d.flush()
	d.plane.shards[d.shard].add(&d.counts)
}

// flush sends what has been gathered.
func (d *downstream) flush() {
	if len(d.out) > 0 {
		n, withheld := d.plane.transmit(d.shard, d.out)
		d.counts.sent += uint64(n)
		d.counts.withheld += uint64(withheld)
		d.counts.sendDropped += uint64(len(d.out) - n - withheld)
	}
	d.out = d.out[:0]
	d.segments.used, d.fragments.used = 0, 0
}

// output finds the subscriber of one packet or super-packet.
func (d *downstream) output(pk *Packet) {
	packet, size, ok := parseIPv4(pk.Buf[pk.Off:])
	if !ok {
		d.counts.noSession++
		return
	}
	s := d.plane.routes.find(destination(packet))
	if s == nil {
		d.counts.noSession++
		return
	}
	if pk.Kind != OffloadNone {
		d.segment(s, pk, packet, size)
		return
	}
	if pk.NeedsChecksum && !completeChecksum(packet, &pk.Offload) {
		d.counts.noSession++
		return
	}
	d.emit(s, pk.Buf, pk.Off, packet, size)
}

// emit sends one packet, which is buf[off:], in as many fragments as it takes.
func (d *downstream) emit(s *session, buf []byte, off int, packet []byte, size int) {
	ids := s.ids.Load()
	if mss := uint16(ids); mss != 0 {
		clampMSS(packet, size, mss)
	}
	if mtu := int(uint16(ids >> 16)); mtu != 0 && len(packet) > mtu {
		d.tooBig(s, packet, size, mtu)
		return
	}
	d.send(s, buf, off, len(packet))
}

// send puts the headers before the n octets at buf[off:] and gathers the datagram.
func (d *downstream) send(s *session, buf []byte, off, n int) {
	s.count.outPackets.Add(1)
	s.count.outOctets.Add(uint64(n))
	at := s.putHeader(buf, off)
	to := s.peer.Load()
	d.out = append(d.out, Datagram{
		Listener: uint16(s.key >> 32), Mark: to.mark, Peer: to.addr, B: buf[at : off+n : off+n],
	})
	if len(d.out) == cap(d.out) {
		d.flush()
	}
}

// tooBig fragments the packet if that is allowed, and else answers its sender.
func (d *downstream) tooBig(s *session, packet []byte, size, mtu int) {
	if fragmentBits(packet)&dontFragment == 0 || s.host.Load()&flagIgnoreDF != 0 {
		d.fragment(s, packet, size, mtu)
		return
	}
	d.counts.tooBig++
	if !d.plane.config.Address.IsValid() || !mayAnswer(packet, size) || !d.icmp.allow(time.Now()) {
		return
	}
	n := fragmentationNeeded(d.icmpBuf[Headroom:], packet, addr4(d.plane.config.Address), mtu)
	d.icmpPacket[0] = Packet{Buf: d.icmpBuf[:Headroom+n], Off: Headroom}
	d.plane.core.Write(d.queue, d.icmpPacket[:])
}

// arena hands out pieces of one buffer.
type arena struct {
	buf  []byte
	used int
}

// take returns where n octets are free after Headroom, or false if they are not.
func (a *arena) take(n int) (off int, ok bool) {
	off = a.used + Headroom
	if off+n > len(a.buf) {
		return 0, false
	}
	a.used = off + n
	return off, true
}

// room takes n octets from the arena, after a flush if need be. n is at most MaxPacket.
func (d *downstream) room(a *arena, n int) int {
	off, ok := a.take(n)
	if !ok {
		d.flush()
		off, _ = a.take(n)
	}
	return off
}

// completeChecksum makes a partial checksum whole; false if it lies outside the packet.
func completeChecksum(p []byte, o *Offload) bool {
	start, at := int(o.ChecksumStart), int(o.ChecksumStart)+int(o.ChecksumOffset)
	if start > len(p) || at+2 > len(p) || at < start {
		return false
	}
	c := ^fold(sum(p[start:], 0))
	if c == 0 && o.ChecksumOffset == 6 { // UDP: 0 would mean none
		c = 0xffff
	}
	binary.BigEndian.PutUint16(p[at:], c)
	return true
}

// limiter lets through bursts of 100 and then 1,000 a second (RFC 1812 section
// 4.3.2.8 wants errors limited).
type limiter struct {
	tokens float64
	last   time.Time
}

func (l *limiter) allow(now time.Time) bool {
	const rate, burst = 1000, 100
	l.tokens = min(burst, l.tokens+now.Sub(l.last).Seconds()*rate)
	l.last = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}
