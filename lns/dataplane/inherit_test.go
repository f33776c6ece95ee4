package dataplane_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/lns/dataplane"
)

// keeper is who keeps a plane's files while there is no process.
func keeper(t *testing.T, p dataplane.Plane) (kept []dataplane.File) {
	t.Helper()
	err := p.(interface {
		Files(func(dataplane.File) error) error
	}).Files(func(f dataplane.File) error {
		fd, err := unix.Dup(f.FD)
		kept = append(kept, dataplane.File{Name: f.Name, FD: fd})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// TestSocketsOutliveThePlane sends to an address while no plane reads it: nothing is refused, and
// the next plane has it all, each datagram on its shard.
func TestSocketsOutliveThePlane(t *testing.T) {
	const shards = 4
	c := dataplane.Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")}, Shards: shards,
	}
	first := listening(t, make(arrivals, 1024), c)
	c.Listen = first.Listeners()
	kept := keeper(t, first)
	if len(kept) != 2*shards {
		t.Fatalf("%d files are kept, want %d: %v", len(kept), 2*shards, kept)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, a := range c.Listen {
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(a))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for id := range byte(20) {
			if _, err := conn.Write([]byte{0xc8, 2, 0, 12, 1, id, 0, 0, 0, 0, 0, 0}); err != nil {
				t.Fatalf("datagram %d was refused: %v", id, err)
			}
		}
	}
	c.Inherited = kept
	in := make(arrivals, 1024)
	listening(t, in, c)
	for range 40 {
		if a := in.next(t); a.shard != (256+int(a.B[5]))%shards {
			t.Errorf("the datagram for tunnel %d came to shard %d", 256+int(a.B[5]), a.shard)
		}
	}
}

// TestFilesThatDoNotFit opens everything anew, and keeps nothing of what it was given.
func TestFilesThatDoNotFit(t *testing.T) {
	c := dataplane.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Shards: 2}
	first := listening(t, make(arrivals, 16), c)
	c.Listen = first.Listeners()
	kept := keeper(t, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	pipe := make([]int, 2)
	if err := unix.Pipe(pipe); err != nil {
		t.Fatal(err)
	}
	c.Shards = 3
	c.Inherited = append(kept, dataplane.File{Name: "connection", FD: pipe[0]}, dataplane.File{Name: kept[0].Name, FD: pipe[1]})
	second := listening(t, make(arrivals, 16), c)
	if n := len(keeper(t, second)); n != 3 {
		t.Errorf("%d files, want 3", n)
	}
	if _, err := unix.Write(pipe[1], nil); err == nil {
		t.Error("what was not used is still open")
	}
	// An address that is not what the name says is refused.
	other, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	bad := c
	bad.Shards, bad.Core = 1, silentCore{}
	bad.Inherited = []dataplane.File{{Name: "udp-7f000001-1701-0-of-1", FD: other}}
	bad.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1701")}
	if _, err := dataplane.New(bad); err == nil {
		t.Error("a socket of another address was taken")
	}
}

// silentCore is a core that is never read.
type silentCore struct{ dataplane.Core }

func (silentCore) Queues() int  { return 1 }
func (silentCore) Close() error { return nil }

// TestTheDeviceOutlivesThePlane sends packets both ways while no plane runs.
func TestTheDeviceOutlivesThePlane(t *testing.T) {
	namespace(t)
	lac, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer lac.Close()
	c := dataplane.Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1701")}, Shards: 2, Device: "cul0", Address: ownAddress,
		Routes: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16")},
	}
	s := dataplane.Session{
		Key: dataplane.Key{Tunnel: 1, Session: 1}, Peer: addrPort(lac), PeerTunnel: 7, PeerSession: 9,
		Address: netip.MustParseAddr("100.64.0.9"), SendAddress: true, Counted: dataplane.Counters{OutPackets: 41},
	}
	life := func() dataplane.Plane {
		p, err := dataplane.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		if err := p.Add([]dataplane.Session{s}); err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := life()
	c.Inherited = keeper(t, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	down, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(100, 64, 0, 9), Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	defer down.Close()
	for range 5 {
		if _, err := down.Write([]byte("hello")); err != nil {
			t.Fatalf("a packet for the subscriber was refused: %v", err)
		}
	}
	second := life()
	if err := second.Start(nobody{}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	for i := range 5 {
		lac.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := lac.Read(b); err != nil || n < 30 || string(b[n-5:n]) != "hello" {
			t.Fatalf("packet %d: %q, %v", i, b[:n], err)
		}
	}
	if got := counters(second, s.Key); got.OutPackets != 46 {
		t.Errorf("%d packets were counted, want 41 and 5", got.OutPackets)
	}
}
