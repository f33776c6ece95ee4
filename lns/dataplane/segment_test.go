package dataplane_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// TestSegments cuts super-packets apart and puts them together again.
func TestSegments(t *testing.T) {
	for _, c := range []struct {
		name      string
		payload   int
		size, mtu uint16
		packets   int
	}{
		{"several", 20000, 1400, 1500, 15},
		{"exactly", 2800, 1400, 1500, 2},
		{"one", 1000, 1400, 1500, 1},
		{"many small ones", 60000, 100, 1500, 600},
		{"the largest", 65400, 1456, 1500, 45},
	} {
		t.Run("TCP "+c.name, func(t *testing.T) {
			p, s, v := bare(t, func(v *dataplane.Session) { v.MTU = c.mtu })
			super := superTCP(netip.AddrPortFrom(v.Address, 80), c.payload)
			dataplane.Forward(p, 0, []dataplane.Packet{room(super, dataplane.Offload{Kind: dataplane.OffloadTCP4, SegmentSize: c.size, NeedsChecksum: true, ChecksumStart: 20, ChecksumOffset: 16})})
			list := s.packets(t)
			if len(list) != c.packets {
				t.Fatalf("%d packets, want %d", len(list), c.packets)
			}
			checkTCP(t, list, super)
		})
		t.Run("UDP "+c.name, func(t *testing.T) {
			p, s, v := bare(t, func(v *dataplane.Session) { v.MTU = c.mtu })
			super := planetest.UDP4(planetest.Host, netip.AddrPortFrom(v.Address, 80), bytes.Repeat([]byte{7}, c.payload))
			dataplane.Forward(p, 0, []dataplane.Packet{room(super, dataplane.Offload{Kind: dataplane.OffloadUDP, SegmentSize: c.size})})
			list := s.packets(t)
			n := 0
			for _, q := range list {
				n += len(q) - 28
			}
			if len(list) != c.packets || n != c.payload {
				t.Errorf("%d packets with %d octets, want %d with %d", len(list), n, c.packets, c.payload)
			}
		})
	}
}

// checkTCP checks sequence numbers, identifications, flags and payload.
func checkTCP(t *testing.T, list [][]byte, super []byte) {
	t.Helper()
	seq, id := binary.BigEndian.Uint32(super[24:]), binary.BigEndian.Uint16(super[4:])
	var payload []byte
	for i, q := range list {
		if got := binary.BigEndian.Uint32(q[24:]); got != seq+uint32(len(payload)) {
			t.Errorf("packet %d: sequence number %d, want %d", i, got, seq+uint32(len(payload)))
		}
		if got := binary.BigEndian.Uint16(q[4:]); got != id+uint16(i) {
			t.Errorf("packet %d: identification %d, want %d", i, got, id+uint16(i))
		}
		want := byte(0x10)
		if i == 0 {
			want |= 0x80
		}
		if i == len(list)-1 {
			want |= 0x09
		}
		if got := q[33] &^ 0x02; got != want {
			t.Errorf("packet %d: flags %#x, want %#x", i, got, want)
		}
		payload = append(payload, q[44:]...)
	}
	if !bytes.Equal(payload, super[44:]) {
		t.Error("the payload is not what it was")
	}
}

// TestSuperTooBig sends super-packets whose segments exceed the subscriber's MTU.
func TestSuperTooBig(t *testing.T) {
	offload := dataplane.Offload{Kind: dataplane.OffloadTCP4, SegmentSize: 1400}
	p, s, v := bare(t, func(v *dataplane.Session) { v.MTU = 1000 })
	super := superTCP(netip.AddrPortFrom(v.Address, 80), 5000)
	dataplane.Forward(p, 0, []dataplane.Packet{room(super, offload)})
	if len(s.sent) != 0 || len(s.written) != 1 || planetest.Check(s.written[0]) != nil || binary.BigEndian.Uint16(s.written[0][26:]) != 1000 {
		t.Errorf("with DF: %d sent, ICMP % x", len(s.sent), s.written)
	}
	super[6] = 0 // no DF
	planetest.SetDF(super)
	super[6] = 0
	binary.BigEndian.PutUint16(super[10:], binary.BigEndian.Uint16(super[10:])+0x4000)
	dataplane.Forward(p, 0, []dataplane.Packet{room(super, offload)})
	list := s.packets(t)
	if len(list) != 6 {
		t.Errorf("without DF: %d packets, want 6", len(list))
	}
	checkTCP(t, list, super)
	datagrams := planetest.UDP4(planetest.Host, netip.AddrPortFrom(v.Address, 80), make([]byte, 2800))
	s.sent = nil
	dataplane.Forward(p, 0, []dataplane.Packet{room(datagrams, dataplane.Offload{Kind: dataplane.OffloadUDP, SegmentSize: 1400})})
	if len(s.packets(t)) != 4 {
		t.Errorf("UDP without DF: %d packets, want 2 fragments of 2 datagrams each", len(s.sent))
	}
}

// TestPartialChecksum completes the checksum that the kernel left to the device.
func TestPartialChecksum(t *testing.T) {
	p, s, v := bare(t, nil)
	to := netip.AddrPortFrom(v.Address, 80)
	whole := planetest.UDP4(planetest.Host, to, []byte("payload"))
	partial := slices.Clone(whole)
	// The sum of the pseudo-header alone: from the whole by taking out the rest.
	binary.BigEndian.PutUint16(partial[26:], pseudo(whole))
	o := dataplane.Offload{NeedsChecksum: true, ChecksumStart: 20, ChecksumOffset: 6}
	dataplane.Forward(p, 0, []dataplane.Packet{room(partial, o)})
	if list := s.packets(t); len(list) != 1 || !bytes.Equal(list[0], whole) {
		t.Errorf("sent % x, want % x", list, whole)
	}
	for _, o := range []dataplane.Offload{
		{NeedsChecksum: true, ChecksumStart: 999, ChecksumOffset: 6},
		{NeedsChecksum: true, ChecksumStart: 20, ChecksumOffset: 14},
		{NeedsChecksum: true, ChecksumStart: 0xffff, ChecksumOffset: 0xffff},
		{Kind: 99, SegmentSize: 1}, {Kind: dataplane.OffloadTCP4, SegmentSize: 5}, {Kind: dataplane.OffloadUDP},
	} {
		dataplane.Forward(p, 0, []dataplane.Packet{room(whole, o)})
	}
	if len(s.sent) != 1 {
		t.Errorf("impossible offloads were sent: %d datagrams", len(s.sent)-1)
	}
}

// TestZeroChecksum computes UDP checksums that come out as 0, which would mean that there is none.
func TestZeroChecksum(t *testing.T) {
	p, s, v := bare(t, nil)
	to := netip.AddrPortFrom(v.Address, 80)
	q := planetest.UDP4(planetest.Host, to, []byte{0, 0})
	q = planetest.UDP4(planetest.Host, to, q[26:28])
	if q[26] != 0 || q[27] != 0 {
		t.Fatalf("the checksum is % x", q[26:28])
	}
	partial := slices.Clone(q)
	binary.BigEndian.PutUint16(partial[26:], pseudo(q))
	dataplane.Forward(p, 0, []dataplane.Packet{
		room(partial, dataplane.Offload{NeedsChecksum: true, ChecksumStart: 20, ChecksumOffset: 6}),
		room(q, dataplane.Offload{Kind: dataplane.OffloadUDP, SegmentSize: 100}),
	})
	for _, got := range s.packets(t) {
		if !bytes.Equal(got[26:28], []byte{0xff, 0xff}) {
			t.Errorf("checksum % x, want ff ff", got[26:28])
		}
	}
}

func pseudo(p []byte) uint16 {
	s := uint32(17) + uint32(len(p)-20)
	for i := 12; i < 20; i += 2 {
		s += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	return uint16(s>>16 + s&0xffff)
}
