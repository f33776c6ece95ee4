package planetest

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"culvert/lns/dataplane"
)

func testDown(s *suite) {
	v, w := s.session(1), s.session(2)
	w.Peer, w.PeerTunnel = s.LACs[1], 71
	s.add(v, w)
	want := dataplane.Counters{}
	for n := range 10 {
		p := UDP4(Host, port(v.Address, 4000), bytes.Repeat([]byte{byte(n)}, n*100))
		q := UDP4(Host, port(w.Address, 4000), []byte("q"))
		s.SendCore(p)
		if got := s.wantLAC(v, prefix(v)...); !bytes.Equal(got, aged(p, s.Hops)) {
			s.Errorf("packet % x, want % x", got, p)
		}
		s.SendCore(q)
		s.wantLAC(w, prefix(w)...)
		want.OutPackets++
		want.OutOctets += uint64(len(p))
	}
	s.SendCore(UDP4(Host, port(netip.MustParseAddr("100.64.99.99"), 1), nil))
	none(s, s.FromPlane, "datagram for nobody")
	s.eventually(v.Key, want)
	s.stats("20 sent and 1 for no session", func(v dataplane.Stats) bool { return v.Sent == 20 && v.NoSession >= 1 })
}

// testDownForms checks the headers that a session asks for.
func testDownForms(s *suite) {
	next := dataplane.NewSequence(dataplane.SequenceConfig{}, true)
	for i, c := range []struct {
		sequence, address, compress bool
		want                        []byte // of the first packet
	}{
		{false, false, false, []byte{0, 2, 0, 70, 3, 233, 0, 0x21}},
		{false, true, false, []byte{0, 2, 0, 70, 3, 233, 0xff, 3, 0, 0x21}},
		{false, false, true, []byte{0, 2, 0, 70, 3, 233, 0x21}},
		{false, true, true, []byte{0, 2, 0, 70, 3, 233, 0xff, 3, 0x21}},
		{true, true, false, []byte{8, 2, 0, 70, 3, 233, 0, 0, 0, 0, 0xff, 3, 0, 0x21}},
		{true, false, true, []byte{8, 2, 0, 70, 3, 233, 0, 1, 0, 0, 0x21}},
	} {
		v := s.session(1)
		v.SendAddress, v.CompressProtocol = c.address, c.compress
		if c.sequence {
			v.Sequence = next
		}
		s.add(v)
		s.SendCore(UDP4(Host, port(v.Address, 4000), []byte{byte(i)}))
		s.wantLAC(v, c.want...)
	}
}

// testLongest gives prefixes that lie in each other to several sessions.
func testLongest(s *suite) {
	routes := []string{"172.20.0.0/16", "172.20.0.0/17", "172.20.64.0/24", "172.20.64.128/25", "172.20.64.200/32"}
	for i, r := range routes {
		v := s.session(byte(i + 1))
		v.Routes = []netip.Prefix{netip.MustParsePrefix(r)}
		s.add(v)
	}
	check := func(to string, n byte) {
		s.Helper()
		s.SendCore(UDP4(Host, port(netip.MustParseAddr(to), 4000), nil))
		s.wantLAC(s.session(n), prefix(s.session(n))...)
	}
	check("172.20.200.1", 1)
	check("172.20.1.1", 2)
	check("172.20.64.1", 3)
	check("172.20.64.129", 4)
	check("172.20.64.200", 5)
	var out [1]dataplane.Counters
	for _, n := range []byte{4, 2, 5} {
		s.Plane.Remove([]dataplane.Key{s.session(n).Key}, out[:])
	}
	check("172.20.1.1", 1)
	check("172.20.64.200", 3)
	check("100.64.0.1", 1)
}

// testMSS sends SYNs both ways.
func testMSS(s *suite) {
	v := s.session(1)
	v.MSS = 1400
	s.add(v)
	for _, c := range []struct {
		name     string
		in, want []byte
	}{
		{"lowered", []byte{2, 4, 5, 180}, []byte{2, 4, 5, 120}},
		{"low already", []byte{2, 4, 5, 20}, []byte{2, 4, 5, 20}},
		{"after others", []byte{1, 1, 4, 2, 2, 4, 5, 180}, []byte{1, 1, 4, 2, 2, 4, 5, 120}},
		{"at an odd place", []byte{1, 2, 4, 5, 180, 1, 1, 0}, []byte{1, 2, 4, 5, 120, 1, 1, 0}},
		{"none", nil, nil},
		{"after the end", []byte{0, 0, 0, 0, 2, 4, 5, 180}, []byte{0, 0, 0, 0, 2, 4, 5, 180}},
		{"broken before it", []byte{3, 0, 0, 0, 2, 4, 5, 180}, []byte{3, 0, 0, 0, 2, 4, 5, 180}},
		{"cut off", []byte{1, 1, 2, 4}, []byte{1, 1, 2, 4}},
	} {
		s.SendLAC(0, data(v.Key, ip4, SYN4(port(v.Address, 4000), Host, c.in)))
		s.wantCore(SYN4(port(v.Address, 4000), Host, c.want))
		s.SendCore(SYN4(Host, port(v.Address, 4000), c.in))
		want := aged(SYN4(Host, port(v.Address, 4000), c.want), s.Hops)
		if got := s.wantLAC(v, prefix(v)...); !bytes.Equal(got, want) {
			s.Errorf("%s: % x, want % x", c.name, got, want)
		}
		if s.Failed() {
			s.Fatalf("option %q", c.name)
		}
	}
}

// testFragments sends a large packet to a subscriber of a small MTU.
func testFragments(s *suite) {
	v := s.session(1)
	v.MTU = 601
	s.add(v)
	p := UDP4(Host, port(v.Address, 4000), bytes.Repeat([]byte("0123456789"), 140))
	s.SendCore(p)
	var payload []byte
	want := dataplane.Counters{}
	for more := true; more; {
		f := s.wantLAC(v, prefix(v)...)
		bits := binary.BigEndian.Uint16(f[6:])
		more = bits&0x2000 != 0
		if at := int(bits&0x1fff) * 8; at != len(payload) || len(f) > 601 || more && len(f) != 596 {
			s.Fatalf("fragment of %d octets for place %d, want it for %d", len(f), at, len(payload))
		}
		payload = append(payload, f[20:]...)
		want.OutPackets++
		want.OutOctets += uint64(len(f))
	}
	if !bytes.Equal(payload, p[20:]) {
		s.Error("the fragments are not the packet")
	}
	s.eventually(v.Key, want)
}

// testTooBig sends a large packet that may not be fragmented.
func testTooBig(s *suite) {
	v := s.session(1)
	v.MTU = 601
	s.add(v)
	fits := SetDF(UDP4(Host, port(v.Address, 4000), make([]byte, 601-28)))
	s.SendCore(fits)
	s.wantLAC(v, prefix(v)...)
	p := SetDF(UDP4(Host, port(v.Address, 4000), make([]byte, 602-28)))
	s.SendCore(p)
	e := take(s, s.FromCore, "ICMP error at the core")
	if err := Check(e); err != nil {
		s.Error(err)
	}
	from, _ := netip.AddrFromSlice(e[12:16])
	to, _ := netip.AddrFromSlice(e[16:20])
	if from != s.Address || to != Host.Addr() || e[20] != 3 || e[21] != 4 || binary.BigEndian.Uint16(e[26:]) != 601 {
		s.Errorf("ICMP from %v to %v: % x", from, to, e[20:28])
	}
	if !bytes.Equal(e[28:], aged(p, s.Hops)[:len(e)-28]) {
		s.Error("the error does not quote the packet")
	}
	none(s, s.FromPlane, "datagram that is too big")
	s.stats("1 too big", func(v dataplane.Stats) bool { return v.TooBig == 1 })
}

// testReplace changes a session's address, peer and routes while it lives.
func testReplace(s *suite) {
	v := s.session(1)
	v.Routes = []netip.Prefix{netip.MustParsePrefix("172.20.1.0/24"), netip.MustParsePrefix("172.20.2.0/24")}
	s.add(v)
	s.SendCore(UDP4(Host, port(v.Address, 1), nil))
	s.wantLAC(v, prefix(v)...)
	w := v
	w.Peer, w.PeerTunnel, w.PeerSession = s.LACs[1], 71, 5
	w.Address = netip.MustParseAddr("100.64.3.3")
	w.Routes = slices.Clone(v.Routes[1:])
	s.add(w)
	for _, to := range []string{"100.64.0.1", "172.20.1.1"} {
		s.SendCore(UDP4(Host, port(netip.MustParseAddr(to), 1), nil))
	}
	none(s, s.FromPlane, "datagram to what the session has lost")
	for _, to := range []string{"100.64.3.3", "172.20.2.1"} {
		s.SendCore(UDP4(Host, port(netip.MustParseAddr(to), 1), nil))
		s.wantLAC(w, prefix(w)...)
	}
	p := UDP4(port(w.Address, 1), Host, nil)
	s.SendLAC(1, data(w.Key, ip4, p))
	s.wantCore(p)
	s.eventually(w.Key, dataplane.Counters{InOctets: 28, InPackets: 1, OutOctets: 84, OutPackets: 3})
}

func testRemove(s *suite) {
	v, heir := s.session(1), s.session(2)
	heir.Address = v.Address
	s.add(v)
	s.SendCore(UDP4(Host, port(v.Address, 1), nil))
	s.wantLAC(v, prefix(v)...)
	s.add(heir) // the address is its now
	out := []dataplane.Counters{{}, {InOctets: 1}}
	s.Plane.Remove([]dataplane.Key{v.Key, {Tunnel: 9, Session: 9}}, out)
	if out[0] != (dataplane.Counters{OutOctets: 28, OutPackets: 1}) || out[1] != (dataplane.Counters{}) {
		s.Errorf("final counters %+v", out)
	}
	s.SendCore(UDP4(Host, port(v.Address, 1), nil))
	s.wantLAC(heir, prefix(heir)...)
	s.SendLAC(0, data(v.Key, ip4, UDP4(port(v.Address, 1), Host, nil)))
	take(s, s.up, "datagram of a session that is gone")
	s.Plane.Remove([]dataplane.Key{heir.Key}, out)
	s.SendCore(UDP4(Host, port(v.Address, 1), nil))
	none(s, s.FromPlane, "datagram to a session that is gone")
	s.eventually(v.Key, dataplane.Counters{})
}

// testRefused adds what cannot be, between two that can.
func testRefused(s *suite) {
	for _, spoil := range []func(*dataplane.Session){
		func(v *dataplane.Session) { v.Listener = 999 },
		func(v *dataplane.Session) { v.Peer = netip.AddrPort{} },
		func(v *dataplane.Session) { v.Address = netip.Addr{} },
		func(v *dataplane.Session) { v.Address = netip.MustParseAddr("2001:db8::1") },
		func(v *dataplane.Session) { v.MTU = 67 },
		func(v *dataplane.Session) { v.Routes = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")} },
	} {
		bad := s.session(3)
		spoil(&bad)
		if err := s.Plane.Add([]dataplane.Session{s.session(1), bad, s.session(2)}); err == nil {
			s.Errorf("no error for %+v", bad)
		}
		for n := range byte(2) {
			s.SendCore(UDP4(Host, port(s.session(n+1).Address, 1), nil))
			s.wantLAC(s.session(n+1), prefix(s.session(n+1))...)
		}
	}
}

// testSend sends datagrams that the Handler's owner made.
func testSend(s *suite) {
	var batch []dataplane.Datagram
	for n := range byte(20) {
		b := bytes.Repeat([]byte{n + 1}, 12+int(n)/5)
		batch = append(batch, dataplane.Datagram{Peer: s.LACs[n%2], B: b})
	}
	s.Plane.Send(0, batch)
	var next [2]int
	for i := range next {
		next[i] = i
	}
	for range batch {
		got := take(s, s.FromPlane, "datagram")
		if n := next[got.LAC]; n >= len(batch) || !bytes.Equal(got.B, batch[n].B) {
			s.Fatalf("LAC %d got % x, out of order", got.LAC, got.B)
		}
		next[got.LAC] += 2
	}
	s.stats("20 sent", func(v dataplane.Stats) bool { return v.Sent == 20 && v.SendDropped == 0 })
}
