package dataplane

import "encoding/binary"

// Protocol numbers, and bits of the fragment field (RFC 791 section 3.1).
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17

	dontFragment  = 0x4000
	moreFragments = 0x2000
	offsetMask    = 0x1fff
)

// parseIPv4 checks the header of the packet at the start of b and returns the packet,
// cut to its total length, and its header's size; or false if it is none.
func parseIPv4(b []byte) (packet []byte, size int, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil, 0, false
	}
	size = int(b[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if size < 20 || total < size || total > len(b) {
		return nil, 0, false
	}
	if headerSum(b[:size]) != 0xffff {
		return nil, 0, false
	}
	return b[:total:total], size, true
}

func source(p []byte) uint32      { return binary.BigEndian.Uint32(p[12:]) }
func destination(p []byte) uint32 { return binary.BigEndian.Uint32(p[16:]) }

// fragmentBits returns flags and offset.
func fragmentBits(p []byte) uint16 { return binary.BigEndian.Uint16(p[6:]) }

// headerSum is the ones' complement sum of an IP header; 0xffff if its
// checksum is right.
func headerSum(h []byte) uint16 {
	if len(h) == 20 {
		s := uint64(binary.BigEndian.Uint32(h)) + uint64(binary.BigEndian.Uint32(h[4:])) +
			uint64(binary.BigEndian.Uint32(h[8:])) + uint64(binary.BigEndian.Uint32(h[12:])) +
			uint64(binary.BigEndian.Uint32(h[16:]))
		return fold(s)
	}
	return fold(sum(h, 0))
}

// sum adds the 16-bit words of b to s (RFC 1071), several at once; fold
// makes 16 bits of it. b is up to 64 KiB and s has room.
func sum(b []byte, s uint64) uint64 {
	for len(b) >= 32 {
		s += uint64(binary.BigEndian.Uint32(b)) + uint64(binary.BigEndian.Uint32(b[4:])) +
			uint64(binary.BigEndian.Uint32(b[8:])) + uint64(binary.BigEndian.Uint32(b[12:])) +
			uint64(binary.BigEndian.Uint32(b[16:])) + uint64(binary.BigEndian.Uint32(b[20:])) +
			uint64(binary.BigEndian.Uint32(b[24:])) + uint64(binary.BigEndian.Uint32(b[28:]))
		b = b[32:]
	}
	for len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}

// setHeaderChecksum computes the checksum of the header in p.
func setHeaderChecksum(p []byte, size int) {
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], ^fold(sum(p[:size], 0)))
}

// pseudoSum is the sum of the pseudo-header of a packet with n octets after
// its IP header (RFC 9293 section 3.1, RFC 768).
func pseudoSum(p []byte, protocol byte, n int) uint64 {
	return sum(p[12:20], uint64(protocol)+uint64(n))
}

// clampMSS lowers the Maximum Segment Size option of a TCP SYN to mss, and
// corrects the checksum. size is that of the IP header; anything but the start of a SYN is
// left alone, as is a SYN without the option.
func clampMSS(p []byte, size int, mss uint16) {
	if p[9] != protoTCP || fragmentBits(p)&offsetMask != 0 || len(p) < size+20 {
		return
	}
	tcp := p[size:]
	const syn = 0x02
	if tcp[13]&syn == 0 {
		return
	}
	end := int(tcp[12]>>4) * 4
	if end < 20 || end > len(tcp) {
		return
	}
	for i := 20; i < end; {
		switch tcp[i] {
		case 0: // end of options
			return
		case 1: // no operation
			i++
			continue
		}
		if i+2 > end || tcp[i+1] < 2 || i+int(tcp[i+1]) > end {
			return
		}
		if tcp[i] == 2 && tcp[i+1] == 4 {
			clampOption(tcp, i+2, mss)
			return
		}
		i += int(tcp[i+1])
	}
}

// clampOption lowers the word at offset i of the TCP header. At an odd offset the
// word lies across two of those that are summed, which the octets' swap makes up for.
func clampOption(tcp []byte, i int, mss uint16) {
	old := binary.BigEndian.Uint16(tcp[i:])
	if old <= mss {
		return
	}
	before, after := old, mss
	if i%2 == 1 {
		before, after = old<<8|old>>8, mss<<8|mss>>8
	}
	s := uint64(^binary.BigEndian.Uint16(tcp[16:])) + uint64(^before) + uint64(after)
	binary.BigEndian.PutUint16(tcp[16:], ^fold(s))
	binary.BigEndian.PutUint16(tcp[i:], mss)
}
