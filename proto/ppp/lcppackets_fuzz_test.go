package ppp

import (
	"bytes"
	"testing"
)

// FuzzLCPPackets reads whatever LCP's other packets may hold, and makes a Code- and a
// Protocol-Reject of it: what is read comes back, and no Reject is longer than the peer's MRU.
func FuzzLCPPackets(f *testing.F) {
	f.Add(uint8(9), uint8(1), []byte("\x01\x02\x03\x04echo"), uint16(1492))
	f.Add(uint8(8), uint8(2), []byte("\x80\x57\x01\x01\x00\x04"), uint16(64))
	f.Add(uint8(13), uint8(3), []byte("\x01\x02\x03\x04\xff\xff\xff\xffbye"), uint16(0))
	f.Add(uint8(99), uint8(4), []byte{1}, uint16(5))
	f.Fuzz(func(t *testing.T, code, id uint8, data []byte, mru uint16) {
		if len(data) > 1<<15 {
			return
		}
		whole := func(b []byte) Packet {
			p, err := ParsePacket(b)
			if err != nil || p.ID != id {
				t.Fatalf("made % x: %v", b, err)
			}
			return p
		}
		if magic, rest, err := ParseMagic(data); err == nil {
			if p := whole(AppendMagic(nil, Code(code), id, magic, rest)); !bytes.Equal(p.Data, data) {
				t.Fatalf("% x came back as % x", data, p.Data)
			}
		}
		if magic, seconds, message, err := ParseTimeRemaining(data); err == nil {
			if m, rest, _ := ParseMagic(data); m != magic || len(rest) != 4+len(message) {
				t.Fatalf("% x is magic %x, %d seconds and %q", data, magic, seconds, message)
			}
		}
		limit := max(int(mru), 6) // code, identifier, length, and the protocol
		if proto, info, err := ParseProtocolReject(data); err == nil {
			b := AppendProtocolReject(nil, id, proto, info, int(mru))
			if p := whole(b); len(b) > limit || !bytes.HasPrefix(data, p.Data) {
				t.Fatalf("% x became % x", data, b)
			}
		}
		b := AppendCodeReject(nil, id, Packet{Code: Code(code), ID: id, Data: data}, int(mru))
		p := whole(b)
		if limit = max(int(mru), 8); len(b) > limit || p.Code != CodeReject || !bytes.HasPrefix(data, p.Data[4:]) || p.Data[0] != code {
			t.Fatalf("a packet with % x became % x", data, b)
		}
	})
}
