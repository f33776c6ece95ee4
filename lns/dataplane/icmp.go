package dataplane

import "encoding/binary"

// icmpMax is the largest ICMP error, in octets (RFC 1812 section 4.3.2.3).
const icmpMax = 576

// mayAnswer says whether an ICMP error may be sent about the packet: not about
// errors, later fragments, and what does not come from a single host (RFC 1122
// section 3.2.2).
func mayAnswer(p []byte, size int) bool {
	src := source(p)
	if src == 0 || src>>28 >= 0xe || src>>24 == 127 || fragmentBits(p)&offsetMask != 0 {
		return false
	}
	if p[9] != protoICMP {
		return true
	}
	if len(p) <= size {
		return false
	}
	switch p[size] {
	case 0, 8, 13, 14, 15, 16, 17, 18: // queries and their replies
		return true
	}
	return false
}

// fragmentationNeeded puts an ICMP error into buf, of at least icmpMax octets,
// and returns its size: the packet is too big for a next hop of that MTU (RFC 1191
// section 4).
func fragmentationNeeded(buf, packet []byte, from uint32, mtu int) int {
	const ip, icmp = 20, 8
	quote := packet[:min(len(packet), icmpMax-ip-icmp)]
	n := ip + icmp + len(quote)
	b := buf[:n]
	clear(b[:ip+icmp])
	b[0], b[1] = 0x45, 0xc0 // precedence of internetwork control
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	b[8], b[9] = 64, protoICMP
	binary.BigEndian.PutUint32(b[12:], from)
	copy(b[16:20], packet[12:16])
	setHeaderChecksum(b, ip)
	b[ip], b[ip+1] = 3, 4
	binary.BigEndian.PutUint16(b[ip+6:], uint16(mtu))
	copy(b[ip+icmp:], quote)
	binary.BigEndian.PutUint16(b[ip+2:], ^fold(sum(b[ip:], 0)))
	return n
}
