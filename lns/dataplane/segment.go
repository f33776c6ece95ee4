package dataplane

import "encoding/binary"

// TCP flags that belong to the last segment, and to the first (RFC 3168 section 6.1.2).
const (
	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpCWR = 0x80
)

// segment sends the packets that a super-packet stands for. size is that of its IP header.
func (d *downstream) segment(s *session, pk *Packet, packet []byte, size int) {
	headers := transportEnd(packet, size, pk.Kind)
	step := int(pk.SegmentSize)
	if headers == 0 || step == 0 || len(packet) == headers {
		d.counts.noSession++
		return
	}
	// The kernel segments to the device's MTU; this subscriber's may be smaller.
	mtu := int(uint16(s.ids.Load() >> 16))
	if mtu != 0 && headers+step > mtu && len(packet) > mtu {
		if fragmentBits(packet)&dontFragment != 0 {
			d.tooBig(s, packet, size, mtu)
			return
		}
		if pk.Kind == OffloadTCP4 && mtu > headers {
			step = mtu - headers
		}
	}
	payload := packet[headers:]
	for at := 0; at < len(payload); at += step {
		n := min(step, len(payload)-at)
		off := d.room(&d.segments, headers+n)
		p := d.segments.buf[off : off+headers+n]
		copy(p, packet[:headers])
		copy(p[headers:], payload[at:at+n])
		finishSegment(p, size, pk.Kind, at, step, at+n == len(payload))
		d.emit(s, d.segments.buf[:off+len(p)], off, p, size)
	}
}

// transportEnd is the size of all headers, or 0 if they do not fit the kind.
func transportEnd(p []byte, size int, kind OffloadKind) int {
	switch {
	case fragmentBits(p)&(moreFragments|offsetMask) != 0:
		return 0
	case kind == OffloadTCP4 && p[9] == protoTCP && len(p) >= size+20:
		if n := size + int(p[size+12]>>4)*4; n >= size+20 && n <= len(p) {
			return n
		}
	case kind == OffloadUDP && p[9] == protoUDP && len(p) >= size+8:
		return size + 8
	}
	return 0
}

// finishSegment makes the copied headers right for the segment whose payload begins at at.
func finishSegment(p []byte, size int, kind OffloadKind, at, step int, last bool) {
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	id := binary.BigEndian.Uint16(p[4:]) + uint16(at/step)
	binary.BigEndian.PutUint16(p[4:], id)
	setHeaderChecksum(p, size)
	t := p[size:]
	sumAt := 6
	if kind == OffloadTCP4 {
		sumAt = 16
		binary.BigEndian.PutUint32(t[4:], binary.BigEndian.Uint32(t[4:])+uint32(at))
		if !last {
			t[13] &^= tcpFIN | tcpPSH
		}
		if at > 0 {
			t[13] &^= tcpCWR
		}
	} else {
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	}
	t[sumAt], t[sumAt+1] = 0, 0
	c := ^fold(sum(t, pseudoSum(p, p[9], len(t))))
	if c == 0 && kind == OffloadUDP {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(t[sumAt:], c)
}
