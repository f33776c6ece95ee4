package planetest

import (
	"bytes"
	"net/netip"
	"slices"

	"culvert/lns/dataplane"
)

func testUp(s *suite) {
	v := s.session(1)
	s.add(v)
	want := dataplane.Counters{}
	for n := range 10 {
		p := UDP4(port(v.Address, 4000), Host, bytes.Repeat([]byte{byte(n)}, n*100))
		s.SendLAC(0, data(v.Key, ip4, p))
		s.wantCore(p)
		want.InPackets++
		want.InOctets += uint64(len(p))
	}
	s.eventually(v.Key, want)
	s.stats("10 received", func(v dataplane.Stats) bool { return v.Received == 10 })
}

// testUpForms sends one packet in every form of the headers (RFC 2661 section
// 3.1, RFC 1661 sections 6.5 and 6.6).
func testUpForms(s *suite) {
	v := s.session(1)
	s.add(v)
	p := UDP4(port(v.Address, 4000), Host, []byte("every form"))
	ids := []byte{0, 7, 0, 1}
	for _, c := range []struct {
		name       string
		head, tail []byte
	}{
		{"sequence", []byte{8, 2, 0, 7, 0, 1, 0, 9, 0, 0, 0xff, 3, 0, 0x21}, nil},
		{"offset", []byte{2, 2, 0, 7, 0, 1, 0, 3, 9, 9, 9, 0xff, 3, 0, 0x21}, nil},
		{"priority", []byte{1, 2, 0, 7, 0, 1, 0xff, 3, 0, 0x21}, nil},
		{"ACFC", append([]byte{0, 2}, append(ids, 0, 0x21)...), nil},
		{"PFC", append([]byte{0, 2}, append(ids, 0xff, 3, 0x21)...), nil},
		{"ACFC and PFC", append([]byte{0, 2}, append(ids, 0x21)...), nil},
		{"padding after the packet", append([]byte{0, 2}, append(ids, 0x21)...), []byte{1, 2, 3}},
		{"length, and padding after it", []byte{0x40, 2, 0, byte(9 + len(p)), 0, 7, 0, 1, 0x21}, []byte{1, 2, 3}},
		{"all", []byte{0x4b, 2, 0, byte(19 + len(p)), 0, 7, 0, 1, 0, 1, 0, 2, 0, 1, 0, 0xff, 3, 0, 0x21}, nil},
	} {
		before := s.counters(v.Key)
		s.SendLAC(0, slices.Concat(c.head, p, c.tail))
		s.wantCore(p)
		before.InPackets++
		before.InOctets += uint64(len(p))
		s.eventually(v.Key, before)
		if s.Failed() {
			s.Fatalf("in the form %q", c.name)
		}
	}
}

// testNotIP checks what goes to the Handler.
func testNotIP(s *suite) {
	v := s.session(1)
	s.add(v)
	p := UDP4(port(v.Address, 4000), Host, []byte("x"))
	for _, c := range []struct {
		name string
		lac  int
		b    []byte
	}{
		{"control", 0, []byte{0xc8, 2, 0, 12, 0, 7, 0, 1, 0, 0, 0, 0}},
		{"LCP", 0, data(v.Key, []byte{0xff, 3, 0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0})},
		{"IPv6", 0, data(v.Key, []byte{0x57, 0x60})},
		{"unknown session", 0, data(dataplane.Key{Tunnel: 7, Session: 2}, ip4, p)},
		{"unknown tunnel", 0, data(dataplane.Key{Tunnel: 8, Session: 1}, ip4, p)},
		{"another LAC's", 1, data(v.Key, ip4, p)},
	} {
		s.SendLAC(c.lac, c.b)
		got := take(s, s.up, c.name+" at the handler")
		if got.Listener != 0 || got.Peer != s.LACs[c.lac] || !bytes.Equal(got.B, c.b) {
			s.Errorf("%s: handler got %+v", c.name, got)
		}
	}
	none(s, s.FromCore, "packet at the core")
	s.eventually(v.Key, dataplane.Counters{})
}

func testSpoofed(s *suite) {
	v := s.session(1)
	v.Routes = []netip.Prefix{netip.MustParsePrefix("172.20.1.0/29"), netip.MustParsePrefix("172.20.2.16/28")}
	s.add(v, s.session(2))
	want := dataplane.Counters{}
	for _, c := range []struct {
		from  string
		taken bool
	}{
		{"100.64.0.1", true}, {"100.64.0.2", false}, {"8.8.8.8", false}, {"0.0.0.0", false},
		{"172.20.1.0", true}, {"172.20.1.7", true}, {"172.20.1.8", false}, {"172.20.0.255", false},
		{"172.20.2.16", true}, {"172.20.2.31", true}, {"172.20.2.32", false}, {"172.20.2.15", false},
	} {
		p := UDP4(port(netip.MustParseAddr(c.from), 4000), Host, []byte("spoof"))
		s.SendLAC(0, data(v.Key, ip4, p))
		if c.taken {
			s.wantCore(p)
			want.InPackets++
			want.InOctets += uint64(len(p))
		} else {
			want.Spoofed++
		}
	}
	none(s, s.FromCore, "spoofed packet at the core")
	s.eventually(v.Key, want)
	s.eventually(s.session(2).Key, dataplane.Counters{})
}

// testInvalid sends what must vanish, counted, and hurt nobody.
func testInvalid(s *suite) {
	v := s.session(1)
	s.add(v)
	p := UDP4(port(v.Address, 4000), Host, []byte("fine"))
	broken := func(at int, with byte) []byte {
		b := bytes.Clone(p)
		b[at] = with
		return data(v.Key, ip4, b)
	}
	malformed := [][]byte{
		{0}, {0xc8, 2}, {0, 2, 0, 7, 0}, {0, 3, 0, 7, 0, 1, 0, 0}, {0x80, 2, 0, 7, 0, 1},
		{0x40, 2, 0, 99, 0, 7, 0, 1, 0x21}, {2, 2, 0, 7, 0, 1, 0, 9}, data(v.Key), data(v.Key, []byte{0xff, 3}),
	}
	invalid := [][]byte{
		data(v.Key, ip4), data(v.Key, ip4, p[:19]), data(v.Key, ip4, p[:len(p)-1]),
		broken(0, 0x65), broken(0, 0x44), broken(0, 0x4f), broken(3, 19), broken(8, 1), broken(10, 0),
	}
	for _, b := range append(malformed, invalid...) {
		s.SendLAC(0, b)
	}
	s.SendLAC(0, data(v.Key, ip4, p))
	s.wantCore(p)
	none(s, s.FromCore, "invalid packet at the core")
	// Seven have no L2TP header that is right: the handler hears of them, to tell an operator.
	for range 7 {
		<-s.up
	}
	none(s, s.up, "malformed packet at the handler")
	s.stats("9 malformed and 9 invalid", func(v dataplane.Stats) bool {
		return v.Malformed == uint64(len(malformed)) && v.Invalid == uint64(len(invalid))
	})
}
