package dataplane_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// FuzzInput gives anything to the path from the LACs: what reaches the core is
// whole, and the subscriber's own.
func FuzzInput(f *testing.F) {
	own := netip.MustParseAddrPort("100.64.0.1:5")
	for _, p := range [][]byte{
		planetest.UDP4(own, planetest.Host, []byte("hello")),
		planetest.UDP4(planetest.Host, own, nil),
		planetest.SYN4(own, planetest.Host, []byte{1, 2, 4, 5, 180, 1, 1, 0}),
		planetest.SYN4(own, planetest.Host, []byte{2, 4, 5, 180, 0, 0, 0, 0}),
		planetest.Ping4(own.Addr(), planetest.Host.Addr(), 1, 1, []byte("x")),
	} {
		for _, head := range [][]byte{
			{0, 2, 0, 1, 0, 1, 0x21},
			{0, 2, 0, 1, 0, 1, 0xff, 3, 0, 0x21},
			{8, 2, 0, 1, 0, 1, 0, 9, 0, 0, 0xff, 3, 0x21},
			{0x4b, 2, 0, byte(17 + len(p)), 0, 1, 0, 1, 0, 1, 0, 2, 0, 0, 0, 0x21},
		} {
			f.Add(append(head, p...))
		}
	}
	f.Add([]byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 2, 0, 1, 0, 1, 0xff, 3, 0xc0, 0x21, 1, 1, 0, 4})
	p, s, v := bare(f, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		s.written = nil
		before := counters(p, v.Key)
		dataplane.Receive(p, 0, []dataplane.Datagram{{Peer: lacPeer, B: bytes.Clone(b)}})
		got := counters(p, v.Key)
		if uint64(len(s.written)) != got.InPackets-before.InPackets {
			t.Fatalf("%d packets at the core, %d counted", len(s.written), got.InPackets-before.InPackets)
		}
		for _, q := range s.written {
			if planetest.CheckHeader(q) != nil || [4]byte(q[12:]) != v.Address.As4() {
				t.Fatalf("at the core: % x", q)
			}
		}
	})
}

// FuzzOutput gives anything to the path from the core: what reaches the
// subscriber is whole, his, and no longer than his MTU.
func FuzzOutput(f *testing.F) {
	to := netip.MustParseAddrPort("100.64.0.1:5")
	f.Add(planetest.UDP4(planetest.Host, to, make([]byte, 200)), uint8(0), uint16(0), uint16(0), uint16(0), false)
	f.Add(planetest.SetDF(planetest.UDP4(planetest.Host, to, make([]byte, 200))), uint8(0), uint16(0), uint16(0), uint16(0), false)
	f.Add(planetest.UDP4(planetest.Host, to, make([]byte, 200)), uint8(5), uint16(60), uint16(0), uint16(0), false)
	f.Add(planetest.UDP4(planetest.Host, to, make([]byte, 20)), uint8(0), uint16(0), uint16(20), uint16(6), true)
	f.Add(planetest.SYN4(planetest.Host, to, []byte{2, 4, 5, 180}), uint8(0), uint16(0), uint16(20), uint16(16), true)
	f.Add(superTCP(to, 120), uint8(1), uint16(50), uint16(20), uint16(16), true)
	f.Add(superTCP(to, 60), uint8(1), uint16(1), uint16(0), uint16(0), false)
	const mtu = 100
	p, s, v := bare(f, func(v *dataplane.Session) { v.MTU = mtu })
	f.Fuzz(func(t *testing.T, b []byte, kind uint8, size, start, offset uint16, partial bool) {
		if len(b) > dataplane.MaxPacket {
			return
		}
		s.sent, s.written = nil, nil
		o := dataplane.Offload{
			Kind: dataplane.OffloadKind(kind), SegmentSize: size,
			NeedsChecksum: partial, ChecksumStart: start, ChecksumOffset: offset,
		}
		before := counters(p, v.Key)
		dataplane.Forward(p, 0, []dataplane.Packet{room(b, o)})
		got := counters(p, v.Key)
		octets := uint64(0)
		for _, d := range s.sent {
			q := d.B[8:]
			octets += uint64(len(q))
			to := binary.BigEndian.Uint32(q[16:]) == binary.BigEndian.Uint32(v.Address.AsSlice())
			if len(q) > mtu || d.Peer != v.Peer || len(q) < 20 || !to && !partial {
				t.Fatalf("sent to %v: % x", d.Peer, q)
			}
		}
		if n := uint64(len(s.sent)); got.OutPackets-before.OutPackets != n || got.OutOctets-before.OutOctets != octets {
			t.Fatalf("%d packets and %d octets sent, counters went from %+v to %+v", n, octets, before, got)
		}
		for _, q := range s.written {
			if err := planetest.Check(q); err != nil {
				t.Fatalf("ICMP error % x: %v", q, err)
			}
		}
	})
}
