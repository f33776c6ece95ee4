package planetest

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"culvert/lns/dataplane"
)

// Rig is a plane and what is around it, for Run.
type Rig struct {
	// Plane is not started yet. It has at least one listener, and Address as its own.
	Plane   dataplane.Plane
	Address netip.Addr
	// LACs are the addresses of two LACs.
	LACs [2]netip.AddrPort
	// SendLAC sends a datagram from a LAC to listener 0.
	SendLAC func(lac int, b []byte)
	// SendCore sends a packet towards the plane, whose destination is a subscriber's.
	SendCore func(packet []byte)
	// FromPlane gets a copy of each datagram that a LAC received from
	// listener 0, and FromCore of each packet that arrived at the core side from a subscriber. They
	// have room for 64.
	FromPlane chan Received
	FromCore  chan []byte
	// Hops is by how much the core side's way shortens the time to live.
	Hops byte
}

// Received is a datagram that a LAC got.
type Received struct {
	LAC int
	B   []byte
}

// Where the subscribers of the suite are, and a host beyond the core. A rig's core
// side routes Pool and Static to the plane, and Host away from it.
var (
	Pool   = netip.MustParsePrefix("100.64.0.0/16")
	Static = netip.MustParsePrefix("172.20.0.0/16")
	Host   = netip.MustParseAddrPort("203.0.113.9:5000")
)

// patience is how long the suite waits for what must come, and quiet for what must not.
const (
	patience = 5 * time.Second
	quiet    = 50 * time.Millisecond
)

// Run checks that the planes that setUp makes do what dataplane.Plane
// says. Each test has a plane of its own; setUp registers its end with t.Cleanup.
func Run(t *testing.T, setUp func(t *testing.T) *Rig) {
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"Up", testUp}, {"UpForms", testUpForms}, {"NotIP", testNotIP}, {"Spoofed", testSpoofed},
		{"Invalid", testInvalid}, {"Down", testDown}, {"DownForms", testDownForms}, {"Longest", testLongest},
		{"MSS", testMSS}, {"Fragments", testFragments}, {"TooBig", testTooBig},
		{"Replace", testReplace}, {"Remove", testRemove}, {"Refused", testRefused}, {"Send", testSend},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{T: t, Rig: setUp(t), up: make(chan dataplane.Datagram, 64)}
			if err := s.Plane.Start(s); err != nil {
				t.Fatal(err)
			}
			c.test(s)
		})
	}
}

// suite is one test's plane, and its Handler.
type suite struct {
	*testing.T
	*Rig
	up chan dataplane.Datagram

	mu   sync.Mutex
	busy map[int]bool
}

// Datagrams keeps copies, and checks that no shard calls twice at once.
func (s *suite) Datagrams(shard int, batch []dataplane.Datagram) {
	s.enter(shard, true)
	defer s.enter(shard, false)
	for _, d := range batch {
		d.B = bytes.Clone(d.B)
		s.up <- d
	}
}

func (s *suite) enter(shard int, in bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == nil {
		s.busy = make(map[int]bool)
	}
	if in && s.busy[shard] {
		s.Errorf("shard %d called twice at once", shard)
	}
	s.busy[shard] = in
}

// session is subscriber n: at 100.64.0.n, tunnel 7, session n.
func (s *suite) session(n byte) dataplane.Session {
	return dataplane.Session{
		Key:  dataplane.Key{Tunnel: 7, Session: uint16(n)},
		Peer: s.LACs[0], PeerTunnel: 70, PeerSession: 1000 + uint16(n),
		SendAddress: true, Address: netip.AddrFrom4([4]byte{100, 64, 0, n}), MTU: 1500,
	}
}

func (s *suite) add(list ...dataplane.Session) {
	s.Helper()
	if err := s.Plane.Add(list); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) counters(k dataplane.Key) dataplane.Counters {
	var out [1]dataplane.Counters
	s.Plane.Counters([]dataplane.Key{k}, out[:])
	return out[0]
}

// eventually waits until the session's counters are these.
func (s *suite) eventually(k dataplane.Key, want dataplane.Counters) {
	s.Helper()
	got := s.counters(k)
	for end := time.Now().Add(patience); got != want && time.Now().Before(end); got = s.counters(k) {
		time.Sleep(time.Millisecond)
	}
	if got != want {
		s.Errorf("counters of %v: %+v, want %+v", k, got, want)
	}
}

// stats waits until the plane's counters are as ok wants them, which what says.
func (s *suite) stats(what string, ok func(dataplane.Stats) bool) {
	s.Helper()
	got := s.Plane.Stats()
	for end := time.Now().Add(patience); !ok(got) && time.Now().Before(end); got = s.Plane.Stats() {
		time.Sleep(time.Millisecond)
	}
	if !ok(got) {
		s.Errorf("stats: %+v, want %s", got, what)
	}
}

// take returns the next of c.
func take[T any](s *suite, c chan T, what string) T {
	s.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		s.Fatalf("no %s within %v", what, patience)
		panic("unreachable")
	}
}

// none checks that nothing comes.
func none[T any](s *suite, c chan T, what string) {
	s.Helper()
	select {
	case v := <-c:
		s.Errorf("%s: %v", what, v)
	case <-time.After(quiet):
	}
}

// wantCore checks that the packet, and no other, arrives at the core.
func (s *suite) wantCore(want []byte) {
	s.Helper()
	got := take(s, s.FromCore, "packet at the core")
	if err := Check(got); err != nil {
		s.Errorf("at the core: %v", err)
	}
	if want = aged(want, s.Hops); !bytes.Equal(got, want) {
		s.Errorf("at the core:\n% x, want\n% x", got, want)
	}
}

// aged is the packet with its time to live shortened.
func aged(p []byte, hops byte) []byte {
	p = slices.Clone(p)
	p[8] -= hops
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], ^naiveSum(p[:int(p[0]&0xf)*4]))
	return p
}

// wantLAC takes a data message at a LAC, checks its header, and returns the packet.
func (s *suite) wantLAC(v dataplane.Session, prefix ...byte) []byte {
	s.Helper()
	got := take(s, s.FromPlane, "datagram at the LAC")
	if s.LACs[got.LAC] != v.Peer {
		s.Errorf("datagram at LAC %d, want %v", got.LAC, v.Peer)
	}
	if !bytes.HasPrefix(got.B, prefix) {
		s.Fatalf("datagram begins % x, want % x", got.B[:min(len(got.B), len(prefix))], prefix)
	}
	p := got.B[len(prefix):]
	if err := Check(p); err != nil {
		s.Errorf("to the subscriber: %v", err)
	}
	return p
}

// data is a data message to a key, in its plainest form, with the PPP frame.
func data(k dataplane.Key, frame ...[]byte) []byte {
	b := []byte{0, 2, byte(k.Tunnel >> 8), byte(k.Tunnel), byte(k.Session >> 8), byte(k.Session)}
	return append(b, slices.Concat(frame...)...)
}

// prefix is the header that the plane puts before packets to v in its plainest form.
func prefix(v dataplane.Session) []byte {
	return data(dataplane.Key{Tunnel: v.PeerTunnel, Session: v.PeerSession}, ip4)
}

// ip4 begins a PPP frame with an IPv4 packet.
var ip4 = []byte{0xff, 0x03, 0x00, 0x21}

func port(a netip.Addr, p uint16) netip.AddrPort { return netip.AddrPortFrom(a, p) }
