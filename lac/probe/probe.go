// Package probe makes the IPv4 packets that a simulated subscriber sends
// through its session, and checks what comes back: whole, unchanged, on the
// right session, once. ICMP echo is answered by any host, UDP by an echo
// service (RFC 862) or by another subscriber's session.
package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Kind is the protocol of a probe: its IP protocol number.
type Kind uint8

// The kinds of probes.
const (
	Ping Kind = 1
	UDP  Kind = 17
)

const (
	ipHeader = 20
	l4Header = 8
	// stamp is magic, run, from, to, sequence (four octets each), time sent (eight).
	stamp = 28
	magic = 0x43565054 // "CVPT"
	// MinSize and MaxSize bound a probe's size in octets, IP header included.
	MinSize = ipHeader + l4Header + stamp
	MaxSize = 1500
)

// Spec is what all probes of a run have in common.
type Spec struct {
	Kind Kind
	// Size is the length of the IP packet in octets, MinSize to MaxSize.
	Size int
	// Run tells the probes of one run from those of another.
	Run uint32
	// Port is the UDP port probes are sent to, and LocalPort the one they are sent from.
	Port, LocalPort uint16
}

// Stamp is what a probe says of itself. From is the session that sent it and
// To the one that must receive it: the same for an echo. Sent is the sender's
// time.
type Stamp struct {
	From, To, Sequence uint32
	Sent               time.Duration
}

// Append appends the probe st from address src to dst.
func (s *Spec) Append(b []byte, src, dst netip.Addr, st Stamp) []byte {
	start := len(b)
	var zero [ipHeader + l4Header]byte
	b = append(b, zero[:]...)
	b = binary.BigEndian.AppendUint32(b, magic)
	b = binary.BigEndian.AppendUint32(b, s.Run)
	b = binary.BigEndian.AppendUint32(b, st.From)
	b = binary.BigEndian.AppendUint32(b, st.To)
	b = binary.BigEndian.AppendUint32(b, st.Sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(st.Sent))
	for i := len(b) - start; i < s.Size; i++ {
		b = append(b, byte(i))
	}
	s.fillHeaders(b[start:], src, dst, st)
	return b
}

func (s *Spec) fillHeaders(p []byte, src, dst netip.Addr, st Stamp) {
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[4:], uint16(st.Sequence))
	p[8], p[9] = 64, byte(s.Kind)
	from, to := src.As4(), dst.As4()
	copy(p[12:], from[:])
	copy(p[16:], to[:])
	binary.BigEndian.PutUint16(p[10:], checksum(p[:ipHeader], 0))
	l4 := p[ipHeader:]
	if s.Kind == Ping {
		l4[0] = 8
		binary.BigEndian.PutUint16(l4[4:], uint16(st.From))
		binary.BigEndian.PutUint16(l4[6:], uint16(st.Sequence))
		binary.BigEndian.PutUint16(l4[2:], checksum(l4, 0))
		return
	}
	binary.BigEndian.PutUint16(l4, s.LocalPort)
	binary.BigEndian.PutUint16(l4[2:], s.Port)
	binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	sum := checksum(l4, pseudo(p))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(l4[6:], sum)
}

// ErrNotProbe says that a packet is no probe of this run: somebody else's
// traffic.
var ErrNotProbe = errors.New("not a probe of this run")

// Parse reads a probe that came in on the session whose address is local. It
// is ErrNotProbe for other traffic; any other error means that a probe came back changed.
func (s *Spec) Parse(p []byte, local netip.Addr) (Stamp, error) {
	if len(p) < MinSize || p[0] != 0x45 || p[9] != byte(s.Kind) {
		return Stamp{}, ErrNotProbe
	}
	total := int(binary.BigEndian.Uint16(p[2:]))
	if total < MinSize || total > len(p) {
		return Stamp{}, ErrNotProbe
	}
	p = p[:total]
	body := p[ipHeader+l4Header:]
	if binary.BigEndian.Uint32(body) != magic || binary.BigEndian.Uint32(body[4:]) != s.Run {
		return Stamp{}, ErrNotProbe
	}
	if err := s.check(p, local); err != nil {
		return Stamp{}, err
	}
	return Stamp{
		From: binary.BigEndian.Uint32(body[8:]), To: binary.BigEndian.Uint32(body[12:]),
		Sequence: binary.BigEndian.Uint32(body[16:]), Sent: time.Duration(binary.BigEndian.Uint64(body[20:])),
	}, nil
}

func (s *Spec) check(p []byte, local netip.Addr) error {
	if len(p) != s.Size {
		return fmt.Errorf("probe of %d octets came back with %d", s.Size, len(p))
	}
	if checksum(p[:ipHeader], 0) != 0 {
		return errors.New("probe came back with a wrong IP header checksum")
	}
	if to := netip.AddrFrom4([4]byte(p[16:20])); to != local {
		return fmt.Errorf("probe for %v came to %v", to, local)
	}
	l4 := p[ipHeader:]
	if s.Kind == Ping {
		if l4[0] != 0 {
			return ErrNotProbe // somebody's echo request
		}
		if checksum(l4, 0) != 0 {
			return errors.New("probe came back with a wrong ICMP checksum")
		}
		return nil
	}
	if l4[6]|l4[7] != 0 && checksum(l4, pseudo(p)) != 0 {
		return errors.New("probe came back with a wrong UDP checksum")
	}
	return nil
}

// pseudo is the sum over the pseudo-header of an IPv4 packet.
func pseudo(p []byte) uint32 {
	sum := uint32(p[9]) + uint32(len(p)-ipHeader)
	for i := 12; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	return sum
}

// checksum is the Internet checksum (RFC 1071) of b, begun with sum.
func checksum(b []byte, sum uint32) uint16 {
	wide := uint64(sum)
	for ; len(b) >= 4; b = b[4:] {
		wide += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		wide += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		wide += uint64(b[0]) << 8
	}
	for wide > 0xffff {
		wide = wide>>16 + wide&0xffff
	}
	return ^uint16(wide)
}

// Reflect turns a probe into what the far end answers, in place: an echo
// reply, or the UDP packet sent back. It reports whether p is one to answer.
func Reflect(p []byte) bool {
	if len(p) < ipHeader+l4Header || p[0] != 0x45 {
		return false
	}
	total := int(binary.BigEndian.Uint16(p[2:]))
	if total < ipHeader+l4Header || total > len(p) {
		return false
	}
	l4 := p[ipHeader:total]
	switch {
	case Kind(p[9]) == Ping && l4[0] == 8:
		l4[0], l4[2], l4[3] = 0, 0, 0
		binary.BigEndian.PutUint16(l4[2:], checksum(l4, 0))
	case Kind(p[9]) == UDP:
		l4[0], l4[1], l4[2], l4[3] = l4[2], l4[3], l4[0], l4[1]
	default:
		return false
	}
	for i := 12; i < 16; i++ {
		p[i], p[i+4] = p[i+4], p[i]
	}
	return true
}
