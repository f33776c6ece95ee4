package planetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// UDP4 makes an IPv4 packet with a UDP datagram, with checksums and without DF.
func UDP4(src, dst netip.AddrPort, payload []byte) []byte {
	t := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(t[4:], uint16(8+len(payload)))
	return packet(17, src, dst, append(t, payload...), 6)
}

// SYN4 makes an IPv4 packet with a TCP SYN whose options are these octets, a multiple of four.
func SYN4(src, dst netip.AddrPort, options []byte) []byte {
	t := make([]byte, 20, 20+len(options))
	t[12] = byte(5+len(options)/4) << 4
	t[13] = 0x02
	return packet(6, src, dst, append(t, options...), 16)
}

// Ping4 makes an ICMP echo request.
func Ping4(src, dst netip.Addr, id, seq uint16, payload []byte) []byte {
	t := make([]byte, 8, 8+len(payload))
	t[0] = 8
	binary.BigEndian.PutUint16(t[4:], id)
	binary.BigEndian.PutUint16(t[6:], seq)
	t = append(t, payload...)
	binary.BigEndian.PutUint16(t[2:], ^naiveSum(t))
	return header(1, src, dst, t)
}

// packet puts the ports and the checksum, at sumAt, into t, and a header before it.
func packet(protocol byte, src, dst netip.AddrPort, t []byte, sumAt int) []byte {
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	p := header(protocol, src.Addr(), dst.Addr(), t)
	binary.BigEndian.PutUint16(p[20+sumAt:], ^transportSum(p))
	return p
}

func header(protocol byte, src, dst netip.Addr, t []byte) []byte {
	p := make([]byte, 20, 20+len(t))
	p[0], p[8], p[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(p[2:], uint16(20+len(t)))
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(p[10:], ^naiveSum(p))
	return append(p, t...)
}

// SetDF sets Don't Fragment and corrects the header's checksum.
func SetDF(p []byte) []byte {
	p[6] |= 0x40
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], ^naiveSum(p[:20]))
	return p
}

// CheckHeader says what is wrong with the header of an IPv4 packet: its lengths, or its checksum.
func CheckHeader(p []byte) error {
	if len(p) < 20 || p[0]>>4 != 4 {
		return errors.New("not IPv4")
	}
	size := int(p[0]&0xf) * 4
	if n := int(binary.BigEndian.Uint16(p[2:])); n != len(p) || size > n {
		return fmt.Errorf("total length %d, header %d, but %d octets", n, size, len(p))
	}
	if naiveSum(p[:size]) != 0xffff {
		return errors.New("wrong checksum of the header")
	}
	return nil
}

// Check says what is wrong with an IPv4 packet: its header or, if it is no fragment, the
// checksum of its TCP, UDP or ICMP.
func Check(p []byte) error {
	if err := CheckHeader(p); err != nil {
		return err
	}
	size := int(p[0]&0xf) * 4
	if binary.BigEndian.Uint16(p[6:])&0x3fff != 0 {
		return nil
	}
	switch p[9] {
	case 1:
		if naiveSum(p[size:]) != 0xffff {
			return errors.New("wrong checksum of ICMP")
		}
	case 6, 17:
		if transportSum(p) != 0xffff {
			return fmt.Errorf("wrong checksum of protocol %d", p[9])
		}
	}
	return nil
}

// transportSum sums TCP or UDP with the pseudo-header.
func transportSum(p []byte) uint16 {
	t := p[int(p[0]&0xf)*4:]
	b := append([]byte{}, p[12:20]...)
	b = append(b, 0, p[9], byte(len(t)>>8), byte(len(t)))
	return naiveSum(append(b, t...))
}

// naiveSum is RFC 1071 word by word: slow, and meant to be unlike the plane's.
func naiveSum(b []byte) uint16 {
	var s uint32
	for i, c := range b {
		if i%2 == 0 {
			s += uint32(c) << 8
		} else {
			s += uint32(c)
		}
		if s > 0xffff {
			s -= 0xffff
		}
	}
	return uint16(s)
}
