package dataplane

import (
	"net/netip"
	"os"
	"testing"
	"time"
)

// loop is a Transport that gives back what is sent.
type loop struct {
	Transport
	receive func(int, []Datagram)
	sent    []uint16
}

func (l *loop) Start(receive func(int, []Datagram)) error { l.receive = receive; return nil }

func (l *loop) Send(_ int, batch []Datagram) int {
	for _, d := range batch {
		l.sent = append(l.sent, d.Listener)
	}
	return len(batch)
}

// TestFence lets pass what is in time, both ways, and counts the rest.
func TestFence(t *testing.T) {
	now := time.Hour
	f := NewFence(3)
	f.now = func() time.Duration { return now }
	inner := &loop{}
	tr := &fenced{Transport: inner, fence: f}
	var received []uint16
	if err := tr.Start(func(_ int, batch []Datagram) {
		for _, d := range batch {
			received = append(received, d.Listener)
		}
	}); err != nil {
		t.Fatal(err)
	}
	batch := []Datagram{{Listener: 0}, {Listener: 1}, {Listener: 1}, {Listener: 2}, {Listener: 0}, {Listener: 9}}
	f.Set(0, now+time.Second)
	f.Set(1, now)
	f.Set(2, Unfenced)
	if n := tr.Send(0, batch); n != len(batch) || len(inner.sent) != 3 {
		t.Errorf("%d taken, %v sent", n, inner.sent)
	}
	inner.receive(0, batch)
	if len(received) != 3 || tr.dropped.Load() != 6 {
		t.Errorf("%v received, %d dropped", received, tr.dropped.Load())
	}
	now += time.Second
	inner.sent, received = nil, nil
	tr.Send(0, batch)
	inner.receive(0, batch)
	if len(inner.sent) != 1 || len(received) != 1 {
		t.Errorf("after the time is up: %v sent, %v received", inner.sent, received)
	}
	if allocs := testing.AllocsPerRun(100, func() { inner.sent = inner.sent[:0]; tr.Send(0, batch) }); allocs != 0 {
		t.Errorf("%v allocations for a batch", allocs)
	}
}

// TestFenceDivert gives what is late to who takes it, and only of that listener.
func TestFenceDivert(t *testing.T) {
	f := NewFence(2)
	f.now = func() time.Duration { return time.Hour }
	inner := &loop{}
	tr := &fenced{Transport: inner, fence: f}
	received := 0
	if err := tr.Start(func(_ int, batch []Datagram) { received += len(batch) }); err != nil {
		t.Fatal(err)
	}
	var late [2]int // came, was to leave
	f.Divert(0, func(out bool, batch []Datagram) {
		if out {
			late[1] += len(batch)
		} else {
			late[0] += len(batch)
		}
	})
	batch := []Datagram{{Listener: 0}, {Listener: 0}, {Listener: 1}, {Listener: 7}}
	inner.receive(0, batch)
	if n := tr.Send(0, batch[:3]); n != 3 || late != [2]int{2, 2} || tr.dropped.Load() != 3 || received != 0 {
		t.Errorf("%d taken, late %v, %d dropped, %d received", n, late, tr.dropped.Load(), received)
	}
	f.Set(0, Unfenced)
	inner.receive(0, batch)
	f.Divert(0, nil)
	f.Set(0, 0)
	inner.receive(0, batch[:2])
	if late != [2]int{2, 2} || received != 2 || tr.dropped.Load() != 7 {
		t.Errorf("late %v, %d received, %d dropped", late, received, tr.dropped.Load())
	}
}

// TestFenceFreeBind listens on an address that this host does not have.
func TestFenceFreeBind(t *testing.T) {
	for _, text := range []string{"192.0.2.77:1701", "[2001:db8::77]:1701"} {
		c := Config{Listen: []netip.AddrPort{netip.MustParseAddrPort(text)}, Shards: 2, Fence: NewFence(1), Core: nil}.withDefaults()
		u, err := newUDP(c)
		if err != nil {
			t.Errorf("with a fence: %v", err)
			continue
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
		c.Fence = nil
		if _, err := newUDP(c); err == nil {
			t.Error("without a fence, an address that nobody has is taken")
		}
	}
	if (Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1")}, Fence: NewFence(2)}).Validate() == nil {
		t.Error("a fence of another size is taken")
	}
}

func BenchmarkFence(b *testing.B) {
	f := NewFence(1)
	f.Set(0, Unfenced)
	tr := &fenced{Transport: &discard{}, fence: f}
	batch := make([]Datagram, 64)
	for b.Loop() {
		tr.Send(0, batch)
	}
}

type discard struct{ Transport }

func (*discard) Send(_ int, batch []Datagram) int { return len(batch) }

// TestMover injects what has come to another node, and adds what that one has counted.
func TestMover(t *testing.T) {
	f := NewFence(1)
	f.now = func() time.Duration { return time.Hour }
	f.Set(0, Unfenced)
	got := 0
	inner := &loop{}
	p, err := New(Config{Transport: &listening{inner}, Core: nowhere{}, Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}, Fence: f, Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Start(handlerFunc(func(_ int, batch []Datagram) { got += len(batch) })); err != nil {
		t.Fatal(err)
	}
	peer := netip.MustParseAddrPort("192.0.2.9:1701")
	k := Key{Tunnel: 1, Session: 2}
	if err := p.Add([]Session{{Key: k, Peer: peer, Address: netip.MustParseAddr("100.64.0.1"), Counted: Counters{InOctets: 1}}}); err != nil {
		t.Fatal(err)
	}
	m := p.(Mover)
	control := []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}
	ip := append([]byte{0, 2, 0, 1, 0, 2, 0, 0x21}, make([]byte, 20)...)
	ip[8], ip[11] = 0x45, 20                           // version and header, total length
	copy(ip[8+10:], []byte{0x56, 0xaa, 100, 64, 0, 1}) // checksum, source
	m.Inject([]Datagram{{Peer: peer, B: control}, {Peer: peer, B: ip}})
	m.More([]Counted{{k, Counters{InOctets: 10, OutPackets: 3, Spoofed: 1}}, {Key{Tunnel: 9}, Counters{InOctets: 7}}})
	var list []Counted
	m.Counts(func(c Counted) { list = append(list, c) })
	want := Counted{k, Counters{InOctets: 31, InPackets: 1, OutPackets: 3, Spoofed: 1}}
	if got != 1 || len(list) != 1 || list[0] != want {
		t.Errorf("%d handed up; %+v, want %+v", got, list, want)
	}
	f.Set(0, 0)
	m.Inject([]Datagram{{Peer: peer, B: control}})
	if got != 1 || p.Stats().Fenced != 1 {
		t.Errorf("what is injected passes a closed fence: %d, %+v", got, p.Stats())
	}
}

type listening struct{ *loop }

func (*listening) Listeners() []netip.AddrPort {
	return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}
}
func (*listening) Overrun() uint64 { return 0 }
func (*listening) Close() error    { return nil }

// nowhere is a Core that takes everything.
type nowhere struct{}

func (nowhere) Queues() int                             { return 1 }
func (nowhere) Read(int, []byte, []Packet) (int, error) { return 0, os.ErrClosed }
func (nowhere) Write(_ int, batch []Packet) int         { return len(batch) }
func (nowhere) Route(_, _ []netip.Prefix) error         { return nil }
func (nowhere) Close() error                            { return nil }

type handlerFunc func(int, []Datagram)

func (f handlerFunc) Datagrams(shard int, batch []Datagram) { f(shard, batch) }
