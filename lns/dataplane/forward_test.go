package dataplane_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// sink is both sides of a plane, for tests that call its paths themselves.
type sink struct {
	sent    []dataplane.Datagram
	written [][]byte
	keep    bool
	closed  chan struct{}
	once    sync.Once
}

func (s *sink) Listeners() []netip.AddrPort {
	return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}
}
func (s *sink) Start(func(int, []dataplane.Datagram)) error { return nil }
func (s *sink) Overrun() uint64                             { return 0 }
func (s *sink) Queues() int                                 { return 1 }
func (s *sink) Route(_, _ []netip.Prefix) error             { return nil }

func (s *sink) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// Quiet implements dataplane.Quieter, for both ends.
func (s *sink) Quiet() { s.once.Do(func() { close(s.closed) }) }

func (s *sink) Read(int, []byte, []dataplane.Packet) (int, error) {
	<-s.closed
	return 0, net.ErrClosed
}

func (s *sink) Send(_ int, batch []dataplane.Datagram) int {
	for _, d := range batch {
		if s.keep {
			d.B = bytes.Clone(d.B)
			s.sent = append(s.sent, d)
		}
	}
	return len(batch)
}

func (s *sink) Write(_ int, batch []dataplane.Packet) int {
	for _, p := range batch {
		if s.keep {
			s.written = append(s.written, bytes.Clone(p.Buf[p.Off:]))
		}
	}
	return len(batch)
}

var lacPeer = netip.MustParseAddrPort("198.51.100.1:1701")

// bare is a plane over a sink, with subscriber 100.64.0.1.
func bare(t testing.TB, change func(*dataplane.Session)) (dataplane.Plane, *sink, dataplane.Session) {
	t.Helper()
	s := &sink{keep: true, closed: make(chan struct{})}
	p, err := dataplane.New(dataplane.Config{Shards: 1, Transport: s, Core: s, Address: ownAddress})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(nobody{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	v := dataplane.Session{
		Key: dataplane.Key{Tunnel: 1, Session: 1}, Peer: lacPeer, PeerTunnel: 2, PeerSession: 3,
		Address: netip.MustParseAddr("100.64.0.1"), MTU: 1500, MSS: 1400,
	}
	if change != nil {
		change(&v)
	}
	if err := p.Add([]dataplane.Session{v}); err != nil {
		t.Fatal(err)
	}
	return p, s, v
}

// room is a packet with headroom, as the core hands it over.
func room(p []byte, o dataplane.Offload) dataplane.Packet {
	return dataplane.Packet{
		Buf: append(make([]byte, dataplane.Headroom), p...), Off: dataplane.Headroom, Offload: o,
	}
}

// packets are the IP packets in what was sent, each checked.
func (s *sink) packets(t *testing.T) (list [][]byte) {
	t.Helper()
	for _, d := range s.sent {
		p := d.B[8:]
		if err := planetest.Check(p); err != nil {
			t.Errorf("sent % x: %v", p[:40], err)
		}
		list = append(list, p)
	}
	return list
}

func TestNoAllocations(t *testing.T) {
	p, s, v := bare(t, func(v *dataplane.Session) {
		v.Sequence = dataplane.NewSequence(dataplane.SequenceConfig{}, true)
		v.Routes = []netip.Prefix{netip.MustParsePrefix("172.20.0.0/24")}
	})
	s.keep = false
	up := planetest.SYN4(netip.AddrPortFrom(netip.MustParseAddr("172.20.0.9"), 1), planetest.Host, []byte{2, 4, 5, 180})
	var datagrams []dataplane.Datagram
	for _, frame := range [][]byte{append([]byte{0x21}, up...), {0xc0, 0x21}} {
		b := append([]byte{0, 2, 0, 1, 0, 1}, frame...)
		datagrams = append(datagrams, dataplane.Datagram{Peer: lacPeer, B: b})
	}
	if n := testing.AllocsPerRun(1000, func() { dataplane.Receive(p, 0, datagrams) }); n != 0 {
		t.Errorf("%v allocations for a batch from a LAC", n)
	}
	to := netip.AddrPortFrom(v.Address, 1)
	down := []dataplane.Packet{
		room(planetest.UDP4(planetest.Host, to, make([]byte, 36)), dataplane.Offload{}),
		room(planetest.UDP4(planetest.Host, to, make([]byte, 3000)), dataplane.Offload{}),
		room(planetest.SetDF(planetest.UDP4(planetest.Host, to, make([]byte, 3000))), dataplane.Offload{}),
		room(superTCP(to, 20000), dataplane.Offload{Kind: dataplane.OffloadTCP4, SegmentSize: 1300}),
	}
	if n := testing.AllocsPerRun(1000, func() { dataplane.Forward(p, 0, down) }); n != 0 {
		t.Errorf("%v allocations for a batch from the core", n)
	}
	if c := counters(p, v.Key); c.InPackets != 1001 || c.OutPackets != 1001*(1+3+16) {
		t.Errorf("the batches were not forwarded: %+v", c)
	}
}

func counters(p dataplane.Plane, k dataplane.Key) dataplane.Counters {
	var out [1]dataplane.Counters
	p.Counters([]dataplane.Key{k}, out[:])
	return out[0]
}

// superTCP is a TCP super-packet with n octets of payload, with every flag that
// not all segments keep.
func superTCP(to netip.AddrPort, n int) []byte {
	payload := make([]byte, n)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	p := planetest.SYN4(planetest.Host, to, []byte{1, 1, 1, 0})
	p[20+13] = 0x80 | 0x10 | 0x08 | 0x01 // CWR, ACK, PSH, FIN
	p = append(p, payload...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint32(p[24:], 0xfffffff0) // wraps
	return planetest.SetDF(p)
}

// TestFragmentsAgain fragments what is a fragment itself and has options, of which only
// some go into every fragment (RFC 791 section 3.1).
func TestFragmentsAgain(t *testing.T) {
	p, s, v := bare(t, func(v *dataplane.Session) { v.MTU = 128 })
	q := planetest.UDP4(planetest.Host, netip.AddrPortFrom(v.Address, 80), make([]byte, 292))
	// Record route (not copied), and stream identifier (copied).
	options := []byte{7, 3, 4, 0x88, 4, 0, 9, 0}
	q = slices.Concat(q[:20], options, q[20:])
	q[0] = 0x47
	binary.BigEndian.PutUint16(q[2:], uint16(len(q)))
	binary.BigEndian.PutUint16(q[6:], 0x2000|50)
	binary.BigEndian.PutUint16(q[10:], 0)
	binary.BigEndian.PutUint16(q[10:], ^fold(q[:28]))
	dataplane.Forward(p, 0, []dataplane.Packet{room(q, dataplane.Offload{})})
	list := s.packets(t)
	at := 50
	for i, f := range list {
		bits := binary.BigEndian.Uint16(f[6:])
		if int(bits&0x1fff) != at || bits&0x2000 == 0 {
			t.Errorf("fragment %d: %#x, want offset %d and more", i, bits, at)
		}
		at += (len(f) - 28) / 8
		want := options
		if i > 0 {
			want = []byte{1, 1, 1, 0x88, 4, 0, 9, 0}
		}
		if !bytes.Equal(f[20:28], want) {
			t.Errorf("fragment %d: options % x, want % x", i, f[20:28], want)
		}
	}
	if len(list) != 4 {
		t.Errorf("%d fragments, want 4", len(list))
	}
}

func fold(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return uint16(s>>16 + s&0xffff)
}

// TestNoAnswer checks about which too big packets no ICMP error is sent.
func TestNoAnswer(t *testing.T) {
	p, s, v := bare(t, func(v *dataplane.Session) { v.MTU = 576 })
	big := func(change func(p []byte)) {
		q := planetest.Ping4(planetest.Host.Addr(), v.Address, 1, 1, make([]byte, 1000))
		change(q)
		q[10], q[11] = 0, 0
		dataplane.Forward(p, 0, []dataplane.Packet{room(planetest.SetDF(q), dataplane.Offload{})})
	}
	for name, change := range map[string]func([]byte){
		"ICMP error":     func(p []byte) { p[20] = 3 },
		"ICMP redirect":  func(p []byte) { p[20] = 5 },
		"later fragment": func(p []byte) { p[7] = 1 },
		"from multicast": func(p []byte) { p[12] = 224 },
		"from broadcast": func(p []byte) { copy(p[12:], []byte{255, 255, 255, 255}) },
		"from nobody":    func(p []byte) { copy(p[12:], []byte{0, 0, 0, 0}) },
		"from loopback":  func(p []byte) { p[12] = 127 },
	} {
		big(change)
		if len(s.written) != 0 {
			t.Errorf("%s: answered % x", name, s.written[0])
		}
		s.written = nil
	}
	for range 1000 {
		big(func([]byte) {})
	}
	if n := len(s.written); n < 50 || n > 500 {
		t.Errorf("%d answers to a burst of 1000, want about 100", n)
	}
	if got := p.Stats().TooBig; got != 1007 {
		t.Errorf("%d too big, want 1007", got)
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]dataplane.Config{
		"no listener": {}, "unspecified": {Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:1701")}},
		"twice":   {Listen: []netip.AddrPort{lacPeer, lacPeer}},
		"shards":  {Listen: []netip.AddrPort{lacPeer}, Shards: 257},
		"address": {Listen: []netip.AddrPort{lacPeer}, Address: netip.IPv6Loopback()},
		"MTU":     {Listen: []netip.AddrPort{lacPeer}, MTU: 67},
		"device":  {Listen: []netip.AddrPort{lacPeer}, Device: "sixteen-octets-x"},
		"route":   {Listen: []netip.AddrPort{lacPeer}, Routes: []netip.Prefix{{}}},
	} {
		if _, err := dataplane.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	p, _, _ := bare(t, nil)
	if p.Start(nobody{}) == nil {
		t.Error("started twice")
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
}

// TestPeers has sessions of two LACs come, move and go: nothing is kept of a LAC without sessions.
func TestPeers(t *testing.T) {
	p, _, v := bare(t, nil)
	w := v
	w.Session, w.Address = 2, netip.MustParseAddr("100.64.0.2")
	moved := w
	moved.Peer = netip.MustParseAddrPort("198.51.100.2:1701")
	for _, step := range []struct {
		add  dataplane.Session
		want int
	}{{w, 1}, {moved, 2}, {moved, 2}, {w, 1}, {v, 1}, {moved, 2}} {
		if err := p.Add([]dataplane.Session{step.add}); err != nil {
			t.Fatal(err)
		}
		if got := dataplane.Peers(p); got != step.want {
			t.Errorf("%d peers after adding %v at %v, want %d", got, step.add.Key, step.add.Peer, step.want)
		}
	}
	p.Remove([]dataplane.Key{v.Key, w.Key}, make([]dataplane.Counters, 2))
	if got := dataplane.Peers(p); got != 0 {
		t.Errorf("%d peers of no session", got)
	}
}
