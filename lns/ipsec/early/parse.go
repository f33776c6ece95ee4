package early

import (
	"encoding/binary"
	"net/netip"
)

// The numbers of headers.
const (
	protoUDP = 17
	protoESP = 50
	// portNAT is where ESP in UDP comes in (RFC 3948).
	portNAT = 4500

	header4, header6 = 20, 40
	headerUDP        = 8
	headerESP        = 8 // SPI and sequence number (RFC 4303 section 2)
)

// spi names an inbound SA: ours is the address.
type spi struct {
	to netip.Addr
	n  uint32
}

// parse finds the SPI that an IP packet of ESP is for, bare or in UDP, and cuts off what a link has put behind
// the packet. Fragments, and IPv6 with extension headers, are left to the kernel.
func parse(b []byte) (id spi, packet []byte, ok bool) {
	if len(b) == 0 {
		return spi{}, nil, false
	}
	var proto byte
	var at int
	switch b[0] >> 4 {
	case 4:
		id.to, packet, proto, at = parse4(b)
	case 6:
		id.to, packet, proto, at = parse6(b)
	}
	if packet == nil {
		return spi{}, nil, false
	}
	if proto == protoUDP {
		if len(packet) < at+headerUDP || binary.BigEndian.Uint16(packet[at+2:]) != portNAT {
			return spi{}, nil, false
		}
		at += headerUDP
	} else if proto != protoESP {
		return spi{}, nil, false
	}
	if len(packet) < at+headerESP {
		return spi{}, nil, false
	}
	if id.n = binary.BigEndian.Uint32(packet[at:]); id.n == 0 {
		return spi{}, nil, false // IKE on the same port
	}
	return id, packet, true
}

// parse4 reads the IPv4 header; a nil packet where there is none.
func parse4(b []byte) (to netip.Addr, packet []byte, proto byte, at int) {
	if len(b) < header4 {
		return to, nil, 0, 0
	}
	at = int(b[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	const fragment = 0x3fff // More Fragments, and the offset
	if at < header4 || total < at || len(b) < total || binary.BigEndian.Uint16(b[6:])&fragment != 0 {
		return to, nil, 0, 0
	}
	return netip.AddrFrom4([4]byte(b[16:20])), b[:total], b[9], at
}

// parse6 reads the IPv6 header; a nil packet where there is none.
func parse6(b []byte) (to netip.Addr, packet []byte, proto byte, at int) {
	if len(b) < header6 {
		return to, nil, 0, 0
	}
	total := header6 + int(binary.BigEndian.Uint16(b[4:]))
	if len(b) < total {
		return to, nil, 0, 0
	}
	return netip.AddrFrom16([16]byte(b[24:40])), b[:total], b[6], header6
}
