package dataplane_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// numbers is a plane with one session that minds numbers, in virtual time. What is
// sent carries its number as its payload.
type numbers struct {
	t     testing.TB
	plane dataplane.Plane
	sink  *sink
	q     *dataplane.Sequence
	key   dataplane.Key
	src   netip.AddrPort
	now   time.Duration
	up    upHandler
}

type upHandler struct{ frames [][]byte }

func (u *upHandler) Datagrams(_ int, list []dataplane.Datagram) {
	for _, d := range list {
		u.frames = append(u.frames, slices.Clone(d.B))
	}
}

func newNumbers(t testing.TB, c dataplane.SequenceConfig) *numbers {
	t.Helper()
	n := &numbers{t: t, sink: &sink{keep: true, closed: make(chan struct{})}, q: dataplane.NewSequence(c, true)}
	p, err := dataplane.New(dataplane.Config{
		Shards: 1, Transport: n.sink, Core: n.sink, Address: ownAddress, Now: func() time.Duration { return n.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(&n.up); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	n.plane, n.key = p, dataplane.Key{Tunnel: 1, Session: 1}
	n.src = netip.MustParseAddrPort("100.64.0.1:4000")
	if err := p.Add([]dataplane.Session{{Key: n.key, Peer: lacPeer, PeerTunnel: 2, PeerSession: 3, Address: n.src.Addr(), Sequence: n.q}}); err != nil {
		t.Fatal(err)
	}
	return n
}

// datagram is a data message with an IP packet in it; ns below 0 has no number, and
// those from 1<<20 on are LCP.
func (n *numbers) datagram(ns int) dataplane.Datagram {
	b := []byte{0, 2, 0, 1, 0, 1}
	if ns >= 0 {
		b = binary.BigEndian.AppendUint16([]byte{8, 2, 0, 1, 0, 1}, uint16(ns))
		b = append(b, 0, 0)
	}
	if ns >= lcp {
		b = append(b, 0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0)
	} else {
		b = append(b, 0x21)
		b = append(b, planetest.UDP4(n.src, planetest.Host, binary.BigEndian.AppendUint32(nil, uint32(ns)))...)
	}
	return dataplane.Datagram{Peer: lacPeer, B: b}
}

const lcp = 1 << 20

func (n *numbers) send(list ...int) {
	var batch []dataplane.Datagram
	for _, ns := range list {
		batch = append(batch, n.datagram(ns))
	}
	dataplane.Receive(n.plane, 0, batch)
}

// passed are the numbers that came out at the core since the last call.
func (n *numbers) passed() (list []int) {
	for _, p := range n.sink.written {
		list = append(list, int(int32(binary.BigEndian.Uint32(p[28:]))))
	}
	n.sink.written = nil
	return list
}

func (n *numbers) tick(d time.Duration) bool {
	n.now += d
	return n.plane.(interface{ Tick() bool }).Tick()
}

func (n *numbers) want(what string, list ...int) {
	n.t.Helper()
	if got := n.passed(); !slices.Equal(got, list) {
		n.t.Errorf("%s: %v came out, want %v", what, got, list)
	}
}

func (n *numbers) wantStats(want dataplane.SequenceStats) {
	n.t.Helper()
	if got := n.q.Stats(); got != want {
		n.t.Errorf("counted %+v, want %+v", got, want)
	}
}

// TestCloseForwardsWhatWaits: a process that makes room for the next one takes nothing with it.
func TestCloseForwardsWhatWaits(t *testing.T) {
	n := newNumbers(t, dataplane.SequenceConfig{Packets: 8, Time: time.Second})
	n.send(0, 2, 3, 5)
	n.want("what is early waits", 0)
	if err := n.plane.Close(); err != nil {
		t.Error(err)
	}
	n.want("at the end it goes on", 2, 3, 5)
}

func TestSequenceWithoutReorder(t *testing.T) {
	n := newNumbers(t, dataplane.SequenceConfig{})
	n.send(0, 1, 1, 3, 2, -1, 4)
	n.want("duplicates and late ones are dropped, what has no number is not", 0, 1, 3, -1, 4)
	n.send(5|lcp, 5|lcp, 4|lcp, 6)
	n.want("frames for others count too", 6)
	if len(n.up.frames) != 1 {
		t.Errorf("%d LCP frames came through, want 1", len(n.up.frames))
	}
	n.wantStats(dataplane.SequenceStats{Late: 4, Lost: 1})
	if c := counters(n.plane, n.key); c.InPackets != 6 {
		t.Errorf("%d packets are counted, want 6", c.InPackets)
	}
}

func TestReorder(t *testing.T) {
	const wait = 20 * time.Millisecond
	for _, c := range []struct {
		name  string
		run   func(*numbers)
		stats dataplane.SequenceStats
	}{
		{"overtaken", func(n *numbers) {
			n.send(0, 2, 3)
			n.want("before the missing one", 0)
			n.send(1, 4)
			n.want("after it", 1, 2, 3, 4)
		}, dataplane.SequenceStats{Reordered: 1}},
		{"a batch turned round", func(n *numbers) {
			n.send(10, 14, 13, 12, 11)
			n.want("all", 10, 11, 12, 13, 14)
		}, dataplane.SequenceStats{Reordered: 1}},
		{"duplicates of what waits", func(n *numbers) {
			n.send(0, 2, 2, 2)
			n.send(1, 1, 2)
			n.want("once each", 0, 1, 2)
		}, dataplane.SequenceStats{Late: 4, Reordered: 1}},
		{"lost: time runs out", func(n *numbers) {
			n.send(0, 2, 3)
			if !n.tick(wait - time.Millisecond) {
				n.t.Error("nothing is said to wait")
			}
			n.want("before its time", 0)
			if n.tick(time.Millisecond) {
				n.t.Error("something is said to wait")
			}
			n.want("after it", 2, 3)
			n.send(1, 4)
			n.want("late", 4)
		}, dataplane.SequenceStats{Lost: 1, Late: 1}},
		{"two gaps, each in its time", func(n *numbers) {
			n.send(0, 2)
			n.tick(wait / 2)
			n.send(4)
			n.tick(wait / 2)
			n.want("the first", 0, 2)
			n.send(3)
			n.want("the second", 3, 4)
		}, dataplane.SequenceStats{Lost: 1, Reordered: 1}},
		{"lost: the queue is full", func(n *numbers) {
			n.send(0, 2, 3, 4, 5)
			n.want("four wait", 0)
			n.send(6)
			n.want("no fifth", 2, 3, 4, 5, 6)
		}, dataplane.SequenceStats{Lost: 1}},
		{"a leap", func(n *numbers) {
			n.send(0, 2, 1000)
			n.want("what waited", 0, 2)
			n.send(996, 997, 998, 999)
			n.want("just before the leap", 996, 997, 998, 999, 1000)
		}, dataplane.SequenceStats{Lost: 994, Reordered: 4}},
		{"wraps", func(n *numbers) {
			n.send(65533, 65535, 1, 0)
			n.send(65534)
			n.want("across 0", 65533, 65534, 65535, 0, 1)
		}, dataplane.SequenceStats{Reordered: 1}},
		{"other frames do not wait", func(n *numbers) {
			n.send(0, 2|lcp, 3)
			if len(n.up.frames) != 1 {
				n.t.Errorf("%d LCP frames came through, want 1", len(n.up.frames))
			}
			n.send(2|lcp, 1)
			n.want("the gap at 2 is none", 0, 1, 3)
			if len(n.up.frames) != 1 {
				n.t.Error("the LCP frame came through twice")
			}
		}, dataplane.SequenceStats{Late: 1, Reordered: 1}},
		{"without a number in between", func(n *numbers) {
			n.send(0, 2, -1, 1)
			n.want("at once", 0, -1, 1, 2)
		}, dataplane.SequenceStats{Reordered: 1}},
		{"the LAC counts anew", func(n *numbers) {
			n.send(9000, 9002)
			for i := range 16 {
				n.send(i)
			}
			n.want("what waited, then the new ones", 9000, 9002, 15)
			n.send(17, 16)
			n.want("goes on", 16, 17)
		}, dataplane.SequenceStats{Late: 15, Reordered: 1}},
		{"ended", func(n *numbers) {
			n.send(0, 2)
			n.plane.Remove([]dataplane.Key{n.key}, make([]dataplane.Counters, 1))
			if n.tick(wait) {
				n.t.Error("something is said to wait")
			}
			n.want("only what had its turn", 0)
		}, dataplane.SequenceStats{}},
		{"replaced", func(n *numbers) {
			n.send(0, 2)
			v := dataplane.Session{Key: n.key, Peer: lacPeer, PeerTunnel: 2, PeerSession: 3, Address: n.src.Addr(), Sequence: n.q}
			if err := n.plane.Add([]dataplane.Session{v}); err != nil {
				n.t.Fatal(err)
			}
			n.send(1)
			n.want("with the same numbering it goes on", 0, 1, 2)
			n.send(4)
			v.Sequence = nil
			if err := n.plane.Add([]dataplane.Session{v}); err != nil {
				n.t.Fatal(err)
			}
			n.send(4, 3)
			n.tick(wait)
			n.want("without numbering all pass", 4, 3)
		}, dataplane.SequenceStats{Reordered: 1}},
		{"too large to wait", func(n *numbers) {
			n.send(0)
			d := n.datagram(2)
			big := planetest.UDP4(n.src, planetest.Host, make([]byte, 4000))
			d.B = append(d.B[:11], big...)
			dataplane.Receive(n.plane, 0, []dataplane.Datagram{d})
			if len(n.sink.written) != 2 || len(n.sink.written[1]) != len(big) {
				n.t.Errorf("%d packets came out, want 2", len(n.sink.written))
			}
		}, dataplane.SequenceStats{Lost: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNumbers(t, dataplane.SequenceConfig{Packets: 4, Time: wait})
			c.run(n)
			n.wantStats(c.stats)
			if made, free := dataplane.Held(n.plane); made != free {
				if n.tick(time.Second); true {
					made, free = dataplane.Held(n.plane)
				}
				if made != free {
					t.Errorf("of %d buffers %d came back", made, free)
				}
			}
		})
	}
}

// Whatever order numbers come in, each comes out at most once, never behind a later
// one, and within its time.
func TestReorderAtRandom(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		packets := 1 + r.IntN(dataplane.MaxReorderPackets)
		n := newNumbers(t, dataplane.SequenceConfig{Packets: packets, Time: 10 * time.Millisecond})
		var last, sent, out int
		last = -1
		check := func() {
			for _, ns := range n.passed() {
				if ns <= last {
					t.Fatalf("seed %d: %d came out after %d", seed, ns, last)
				}
				last = ns
				out++
			}
		}
		for base := 0; base < 2000; base += 20 {
			for _, i := range r.Perm(20) {
				if r.IntN(20) == 0 {
					continue
				}
				n.send(base + i)
				sent++
				if r.IntN(10) == 0 {
					n.send(base + i)
				}
				check()
			}
			if r.IntN(4) == 0 {
				n.tick(time.Duration(r.IntN(12)) * time.Millisecond)
				check()
			}
		}
		n.tick(time.Second)
		check()
		if packets > 25 && out < sent*9/10 {
			t.Errorf("seed %d, a queue of %d: of %d only %d came out", seed, packets, sent, out)
		}
		if made, free := dataplane.Held(n.plane); made != free || made > packets+1 {
			t.Errorf("seed %d, a queue of %d: of %d buffers %d came back", seed, packets, made, free)
		}
	}
}

// The plane's own timer gives on what has waited, in real time.
func TestReorderTimer(t *testing.T) {
	out := make(chan []byte, 8)
	core := planetest.NewCore(func(p []byte) { out <- slices.Clone(p) })
	s := &sink{closed: make(chan struct{})}
	p, err := dataplane.New(dataplane.Config{Shards: 1, Transport: s, Core: core, Address: ownAddress})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(nobody{}); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	n := &numbers{src: netip.MustParseAddrPort("100.64.0.1:4000")}
	q := dataplane.NewSequence(dataplane.SequenceConfig{Packets: 8, Time: 5 * time.Millisecond}, true)
	v := dataplane.Session{Key: dataplane.Key{Tunnel: 1, Session: 1}, Peer: lacPeer, Address: n.src.Addr(), Sequence: q}
	if err := p.Add([]dataplane.Session{v}); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		base := 10 * round
		dataplane.Receive(p, 0, []dataplane.Datagram{n.datagram(base), n.datagram(base + 2)})
		for _, want := range []int{base, base + 2} {
			select {
			case b := <-out:
				if got := int(binary.BigEndian.Uint32(b[28:])); got != want {
					t.Errorf("%d came out, want %d", got, want)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%d did not come out", want)
			}
		}
	}
}

func TestReorderAllocatesNothing(t *testing.T) {
	n := newNumbers(t, dataplane.SequenceConfig{Packets: 32, Time: time.Second})
	n.sink.keep = false
	batch := make([]dataplane.Datagram, 8)
	ns := 0
	turn := func() {
		for i := range batch {
			if batch[i].B == nil {
				batch[i] = n.datagram(0)
			}
			binary.BigEndian.PutUint16(batch[i].B[6:], uint16(ns+i^7)) // backwards
		}
		ns += 8
		dataplane.Receive(n.plane, 0, batch)
	}
	turn()
	turn()
	if a := testing.AllocsPerRun(1000, turn); a != 0 {
		t.Errorf("%v allocations for a batch that had to be turned round", a)
	}
	if s := n.q.Stats(); s.Lost > 7 || s.Late > 7 || s.Reordered < 1000 {
		t.Errorf("it was not turned round: %+v", s)
	}
}

func TestSequenceIsChecked(t *testing.T) {
	p, _, v := bare(t, nil)
	for _, c := range []dataplane.SequenceConfig{
		{Packets: -1}, {Packets: dataplane.MaxReorderPackets + 1, Time: time.Second}, {Packets: 1}, {Packets: 1, Time: time.Minute},
	} {
		v.Sequence = dataplane.NewSequence(c, true)
		if p.Add([]dataplane.Session{v}) == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

func BenchmarkReceiveUnsequenced(b *testing.B) { benchmarkReceive(b, -1) }
func BenchmarkReceiveSequenced(b *testing.B)   { benchmarkReceive(b, 0) }

// benchmarkReceive measures a batch of 64 packets from one subscriber.
func benchmarkReceive(b *testing.B, first int) {
	n := newNumbers(b, dataplane.SequenceConfig{Packets: 32, Time: time.Second})
	n.sink.keep = false
	batch := make([]dataplane.Datagram, 64)
	for i := range batch {
		batch[i] = n.datagram(first)
	}
	ns := uint16(0)
	for b.Loop() {
		for i := range batch {
			if first >= 0 {
				binary.BigEndian.PutUint16(batch[i].B[6:], ns)
				ns++
			}
		}
		dataplane.Receive(n.plane, 0, batch)
	}
}
