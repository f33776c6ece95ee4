package storetest

import (
	"math"
	"net/netip"
	"testing"

	"culvert/sessiondb"
)

func testTunnels(t *testing.T, s sessiondb.Store) {
	equal := (*sessiondb.Tunnel).Equal
	bare := sessiondb.Tunnel{Key: sessiondb.TunnelKey{Local: netip.MustParseAddrPort("192.0.2.1:1701"), ID: 9}, Node: Node}
	six := TunnelOf(3)
	six.Key.Local = netip.MustParseAddrPort("[2001:db8::1]:1701")
	six.Peer = netip.MustParseAddrPort("[2001:db8::ffff]:65535")
	six.PeerID, six.PeerWindow, six.Ns, six.Nr = math.MaxUint16, math.MaxUint16, math.MaxUint16, math.MaxUint16
	low := TunnelOf(60000)
	low.Key.Local = netip.MustParseAddrPort("9.0.0.1:1701")
	port := TunnelOf(1)
	port.Key.Local = netip.MustParseAddrPort("192.0.2.1:1702")
	one, two := TunnelOf(1), TunnelOf(2)
	apply(t, s, putTunnel(two), putTunnel(six), putTunnel(port), putTunnel(bare), putTunnel(low), putTunnel(one))
	expect(t, "tunnel", s.Tunnels(t.Context()), []sessiondb.Tunnel{low, one, two, bare, port, six}, equal)

	two.Ns, two.Nr = 77, 78
	apply(t, s, putTunnel(two), dropTunnel(one.Key), dropTunnel(six.Key), dropTunnel(TunnelOf(1234).Key))
	expect(t, "tunnel", s.Tunnels(t.Context()), []sessiondb.Tunnel{low, two, bare, port}, equal)
}

func testSessions(t *testing.T, s sessiondb.Store) {
	equal := (*sessiondb.Session).Equal
	bare := sessiondb.Session{Key: SessionOf(5).Key, Node: Node}
	bare2 := sessiondb.Session{Key: SessionOf(6).Key, Node: Node}
	full := SessionOf(7)
	full.Routes = append(full.Routes, netip.MustParsePrefix("2001:db8::/48"), netip.MustParsePrefix("198.51.100.7/32"))
	full.LAC = netip.MustParseAddrPort("[2001:db8::1]:1")
	full.CallSerial, full.PeerID = math.MaxUint32, math.MaxUint16
	full.InOctets, full.OutPackets = math.MaxInt64, math.MaxInt64
	odd := SessionOf(8)
	odd.User = "DOMAIN\\x41\\user\x00\xff\xfe'\"{},\u00e9\n"
	odd.CallingStation, odd.CalledStation, odd.Profile = "\x00", "\\", "\\x5c\\\\x5c"
	one, two, far := SessionOf(1), SessionOf(2), SessionOf(2001)
	apply(t, s, putSession(far), putSession(odd), putSession(full), putSession(bare2), putSession(bare), putSession(two), putSession(one))
	expect(t, "session", s.Sessions(t.Context()), []sessiondb.Session{one, two, bare, bare2, full, odd, far}, equal)

	two.InOctets++
	two.Routes, two.Address = nil, netip.Addr{}
	apply(t, s, putSession(two), dropSession(one.Key, origin), dropSession(SessionOf(999).Key, origin))
	noEnd := dropSession(far.Key, origin)
	noEnd.End = nil
	apply(t, s, noEnd)
	expect(t, "session", s.Sessions(t.Context()), []sessiondb.Session{two, bare, bare2, full, odd}, equal)
}

func testCalls(t *testing.T, s sessiondb.Store) {
	one, two, far := CallOf(1), CallOf(2), CallOf(2001)
	bare := sessiondb.Call{Key: CallOf(3).Key}
	apply(t, s, putCall(far), putCall(two), putCall(one), putCall(bare))
	j, ok := s.(sessiondb.Journal)
	if !ok {
		expect(t, "session", s.Sessions(t.Context()), nil, (*sessiondb.Session).Equal)
		return // a store for others than the node itself
	}
	equal := func(a, b *sessiondb.Call) bool { return *a == *b }
	expect(t, "call", j.Calls(t.Context()), []sessiondb.Call{one, two, bare, far}, equal)
	two.PeerID = math.MaxUint16
	apply(t, s, putCall(two), dropCall(one.Key), dropCall(CallOf(999).Key))
	expect(t, "call", j.Calls(t.Context()), []sessiondb.Call{two, bare, far}, equal)
}

func testEntries(t *testing.T, s sessiondb.Store) {
	equal := (*sessiondb.Entry).Equal
	one, two, ten := EntryOf(1), EntryOf(2), EntryOf(10)
	last := sessiondb.Entry{Seq: math.MaxInt64, Node: Node}
	binary := EntryOf(300)
	binary.Payload = []byte{0, 0xff, '\\'}
	apply(t, s, putEntry(last), putEntry(ten), putEntry(binary), putEntry(two), putEntry(one))
	expect(t, "entry", s.Entries(t.Context()), []sessiondb.Entry{one, two, ten, binary, last}, equal)

	two.Payload = []byte("other")
	apply(t, s, putEntry(two), dropEntry(1), dropEntry(math.MaxInt64), dropEntry(4711))
	expect(t, "entry", s.Entries(t.Context()), []sessiondb.Entry{two, ten, binary}, equal)
}

func testObjects(t *testing.T, s sessiondb.Store) {
	equal := (*sessiondb.Object).Equal
	object := func(kind, name, payload string) sessiondb.Object {
		return *putObject(kind, name, payload).Object
	}
	apply(t, s, putObject("pool", "b", "4"), putObject("lac", "Z", "2"), putObject("lac", "a-b", ""),
		putObject("lac", "a", "1"), putObject("lacs", "a", "3"), putObject("lac", "\u00e9", "5"))
	lacs := []sessiondb.Object{object("lac", "Z", "2"), object("lac", "a", "1"), object("lac", "a-b", ""), object("lac", "\u00e9", "5")}
	expect(t, "object", s.Objects(t.Context(), "lac"), lacs, equal)
	all := append(lacs, object("lacs", "a", "3"), object("pool", "b", "4"))
	expect(t, "object", s.Objects(t.Context(), ""), all, equal)
	expect(t, "object", s.Objects(t.Context(), "la"), nil, equal)

	apply(t, s, putObject("lac", "Z", "changed"), dropObject("lac", "a"), dropObject("lac", "none"))
	expect(t, "object", s.Objects(t.Context(), "lac"),
		[]sessiondb.Object{object("lac", "Z", "changed"), lacs[2], lacs[3]}, equal)
}
