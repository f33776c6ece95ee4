package dataplane_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// L2TP takes 40 octets of the path's MTU, and some LACs cannot fragment: TCP is made to
// fit, large packets are fragmented or their senders told, and where a profile says so they
// are fragmented whatever their senders say. See lns/QUIRKS.md.
func TestQuirk27MTU(t *testing.T) {
	small := func(ignore bool) func(*dataplane.Session) {
		return func(v *dataplane.Session) { v.MTU, v.MSS, v.IgnoreDF = 1452, 1412, ignore }
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("100.64.0.1"), 4000)
	t.Run("MSS both ways", func(t *testing.T) {
		p, s, v := bare(t, small(false))
		offer := []byte{2, 4, 1460 >> 8, 1460 & 0xff}
		dataplane.Forward(p, 0, []dataplane.Packet{room(planetest.SYN4(planetest.Host, to, offer), dataplane.Offload{})})
		up := planetest.SYN4(netip.AddrPortFrom(v.Address, 4000), planetest.Host, offer)
		dataplane.Receive(p, 0, []dataplane.Datagram{{Peer: lacPeer, B: append([]byte{0, 2, 0, 1, 0, 1, 0, 0x21}, up...)}})
		down := s.packets(t)
		if len(down) != 1 || len(s.written) != 1 {
			t.Fatalf("%d packets went down, %d up", len(down), len(s.written))
		}
		for way, q := range map[string][]byte{"down": down[0], "up": s.written[0]} {
			if mss := binary.BigEndian.Uint16(q[42:]); mss != 1412 {
				t.Errorf("%s: MSS %d, want 1412", way, mss)
			}
			if err := planetest.Check(q); err != nil {
				t.Errorf("%s: %v", way, err)
			}
		}
	})
	data := bytes.Repeat([]byte("0123456789"), 147)
	large := planetest.UDP4(planetest.Host, to, data)
	for _, c := range []struct {
		name          string
		df, ignore    bool
		fragments     int
		icmp, ownName bool
	}{
		{"may be fragmented", false, false, 2, false, false},
		{"may not", true, false, 0, true, false},
		{"may not, and the LAC's profile does not mind", true, true, 2, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s, _ := bare(t, small(c.ignore))
			for range 2 { // two packets that share an identification
				q := bytes.Clone(large)
				if c.df {
					q = planetest.SetDF(q)
				}
				dataplane.Forward(p, 0, []dataplane.Packet{room(q, dataplane.Offload{})})
			}
			got := s.packets(t)
			if len(got) != 2*c.fragments {
				t.Fatalf("%d packets went down, want %d", len(got), 2*c.fragments)
			}
			if icmp := len(s.written) > 0; icmp != c.icmp {
				t.Errorf("the sender was told: %v, want %v", icmp, c.icmp)
			}
			if c.icmp {
				if e := s.written[0]; e[20] != 3 || e[21] != 4 || binary.BigEndian.Uint16(e[26:]) != 1452 {
					t.Errorf("the sender was told % x", e[20:28])
				}
			}
			if c.fragments == 0 {
				return
			}
			var payload []byte
			for i, f := range got[:2] {
				bits := binary.BigEndian.Uint16(f[6:])
				if len(f) > 1452 || bits&0x4000 != 0 || (bits&0x2000 != 0) != (i == 0) || int(bits&0x1fff)*8 != len(payload) {
					t.Errorf("fragment %d has %d octets and bits %04x", i, len(f), bits)
				}
				payload = append(payload, f[20:]...)
			}
			if !bytes.Equal(payload[8:], data) {
				t.Error("the fragments are not the packet")
			}
			if first, second := got[0][4:6], got[2][4:6]; c.ownName && bytes.Equal(first, second) {
				t.Errorf("two packets were fragmented with one identification, %x", first)
			}
			if !bytes.Equal(got[0][4:6], got[1][4:6]) {
				t.Error("the fragments of one packet have two identifications")
			}
		})
	}
}
