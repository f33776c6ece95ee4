package planetest

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"culvert/lns/dataplane"
)

type handler func(shard int, batch []dataplane.Datagram)

func (h handler) Datagrams(shard int, batch []dataplane.Datagram) { h(shard, batch) }

// TestReentry injects from within the callbacks: it is delivered, in order, and
// nothing waits for itself.
func TestReentry(t *testing.T) {
	var p *Plane
	var got []byte
	peer := netip.MustParseAddrPort("198.51.100.1:1701")
	control := func(n byte) []byte { return []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, n, 0, 0} }
	p, err := New(Config{Shards: 2, OnSend: func(d dataplane.Datagram) {
		if n := d.B[9]; n < 5 {
			p.Inject(0, peer, control(n+1))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Inject(0, peer, control(0)) {
		t.Error("taken before Start")
	}
	err = p.Start(handler(func(shard int, batch []dataplane.Datagram) {
		for _, d := range batch {
			if shard != 1 {
				t.Errorf("tunnel 1 at shard %d", shard)
			}
			got = append(got, d.B[9])
			p.Send(shard, []dataplane.Datagram{{Peer: d.Peer, B: d.B}})
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	p.Inject(0, peer, control(0))
	if string(got) != "\x00\x01\x02\x03\x04\x05" {
		t.Errorf("delivered %v", got)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if p.Inject(0, peer, control(0)) {
		t.Error("taken after Close")
	}
}

func TestMemory(t *testing.T) {
	Run(t, func(t *testing.T) *Rig {
		r := &Rig{
			Address:   netip.MustParseAddr("100.127.0.1"),
			LACs:      [2]netip.AddrPort{netip.MustParseAddrPort("198.51.100.1:1701"), netip.MustParseAddrPort("[2001:db8::1]:4711")},
			FromPlane: make(chan Received, 64), FromCore: make(chan []byte, 64),
		}
		p, err := New(Config{
			Shards: 3, Address: r.Address,
			OnSend: func(d dataplane.Datagram) {
				r.FromPlane <- Received{slices.Index(r.LACs[:], d.Peer), bytes.Clone(d.B)}
			},
			OnCore: func(b []byte) { r.FromCore <- bytes.Clone(b) },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		r.Plane = p
		r.SendLAC = func(lac int, b []byte) { p.Inject(0, r.LACs[lac], b) }
		r.SendCore = p.InjectCore
		return r
	})
}

// TestEchoQuiet: what hosts were asked they answer, also to a process that is about to end.
func TestEchoQuiet(t *testing.T) {
	e := NewEcho(1)
	ping := dataplane.Packet{Buf: UDP4(netip.MustParseAddrPort("100.64.0.1:4000"), Host, []byte("asked"))}
	e.Write(0, []dataplane.Packet{ping, ping, ping})
	e.Quiet()
	batch := make([]dataplane.Packet, 2)
	for _, want := range []int{2, 1} {
		if n, err := e.Read(0, make([]byte, 1<<20), batch); n != want || err != nil {
			t.Errorf("%d answers, %v, want %d", n, err, want)
		}
	}
	if n, err := e.Read(0, make([]byte, 1<<20), batch); err == nil {
		t.Errorf("%d answers after the last", n)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
