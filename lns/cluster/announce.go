package cluster

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// announce tells the neighbours on a link that an address is at this host's
// hardware address now: a gratuitous ARP request and reply (RFC 5227 section
// 2.3, RFC 826), or an unsolicited Neighbor Advertisement (RFC 4861 section 7.2.6).
func announce(link *net.Interface, a netip.Addr) error {
	if len(link.HardwareAddr) != 6 {
		return nil // a link without neighbours, such as loopback
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("announcing %v on %s: %w", a, link.Name, err)
	}
	defer unix.Close(fd)
	for _, frame := range announcements([6]byte(link.HardwareAddr), a) {
		to := &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}
		copy(to.Addr[:], frame[:6])
		if err := unix.Sendto(fd, frame, 0, to); err != nil {
			return fmt.Errorf("announcing %v on %s: %w", a, link.Name, err)
		}
	}
	return nil
}

// announcements are the Ethernet frames that announce an address.
func announcements(mac [6]byte, a netip.Addr) [][]byte {
	if a.Is4() {
		return [][]byte{arp(mac, a, 1), arp(mac, a, 2)}
	}
	return [][]byte{advertisement(mac, a)}
}

// arp is a gratuitous ARP: op 1 is a request, 2 a reply. Some hosts heed
// only the one, some only the other.
func arp(mac [6]byte, a netip.Addr, op uint16) []byte {
	ip := a.As4()
	b := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	b = append(b, mac[:]...)
	b = append(b, 0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, byte(op)) // ARP, Ethernet, IPv4
	b = append(append(b, mac[:]...), ip[:]...)
	b = append(append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ip[:]...)
	return b
}

// advertisement is an unsolicited Neighbor Advertisement to all nodes.
func advertisement(mac [6]byte, a netip.Addr) []byte {
	const length = 24 + 8
	src := a.As16()
	dst := [16]byte{0xff, 0x02, 15: 1}
	b := append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac[:]...)
	b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, 0, length, 58, 255)
	b = append(append(b, src[:]...), dst[:]...)
	icmp := len(b)
	b = append(b, 136, 0, 0, 0, 0x20, 0, 0, 0) // Override
	b = append(b, src[:]...)
	b = append(append(b, 2, 1), mac[:]...) // Target Link-layer Address
	binary.BigEndian.PutUint16(b[icmp+2:], checksum(src, dst, b[icmp:]))
	return b
}

// checksum is that of ICMPv6 (RFC 4443 section 2.3).
func checksum(src, dst [16]byte, icmp []byte) uint16 {
	sum := uint32(len(icmp)) + 58
	for _, part := range [][]byte{src[:], dst[:], icmp} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
