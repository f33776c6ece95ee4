package dataplane_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// arrival is a datagram at a Handler, and where.
type arrival struct {
	shard int
	dataplane.Datagram
}

type arrivals chan arrival

func (a arrivals) Datagrams(shard int, batch []dataplane.Datagram) {
	for _, d := range batch {
		d.B = bytes.Clone(d.B)
		a <- arrival{shard, d}
	}
}

func (a arrivals) next(t *testing.T) arrival {
	t.Helper()
	select {
	case got := <-a:
		return got
	case <-time.After(5 * time.Second):
		t.Fatal("no datagram within 5 s")
		panic("unreachable")
	}
}

// listening is a started plane with UDP sockets.
func listening(t testing.TB, h dataplane.Handler, c dataplane.Config) dataplane.Plane {
	t.Helper()
	c.Core = planetest.NewCore(nil)
	p, err := dataplane.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.Start(h); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSteering sends ids in every form of the header, and looks which shard gets them.
func TestSteering(t *testing.T) {
	const shards = 5
	got := make(arrivals, 64)
	p := listening(t, got, dataplane.Config{Listen: loopback("127.0.0.1"), Shards: shards})
	c := lac(t, netip.MustParseAddr("127.0.0.1"))
	for id := range uint16(23) {
		hi, lo := byte(id*2749>>8), byte(id*2749&0xff)
		want := dataplane.ShardOf(uint16(hi)<<8|uint16(lo), shards)
		for name, b := range map[string][]byte{
			"control":              {0xc8, 2, 0, 12, hi, lo, 0, 1, 0, 0, 0, 0},
			"data":                 {0, 2, 0, 1, hi, lo, 0xc0, 0x21},
			"data with length":     {0x40, 2, 0, 10, 0, 1, hi, lo, 0xc0, 0x21},
			"data with everything": {0x4b, 2, 0, 16, 0, 1, hi, lo, 0, 0, 0, 0, 0, 0, 0xc0, 0x21},
		} {
			if _, err := c.WriteToUDPAddrPort(b, p.Listeners()[0]); err != nil {
				t.Fatal(err)
			}
			if a := got.next(t); a.shard != want || !bytes.Equal(a.B, b) {
				t.Errorf("%s of id %d at shard %d, want %d", name, id*2749, a.shard, want)
			}
		}
	}
	// What is too short for its ids goes to shard 0, and must not stop it.
	for _, b := range [][]byte{{}, {0xc8}, {0xc8, 2}, {0xc8, 2, 0, 12, 0}, {0, 2, 0, 1, 9}, {0x40, 2, 0, 9, 0, 1, 0}} {
		c.WriteToUDPAddrPort(b, p.Listeners()[0])
	}
	c.WriteToUDPAddrPort([]byte{0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0}, p.Listeners()[0])
	if a := got.next(t); a.shard != 0 {
		t.Errorf("tunnel 0 at shard %d", a.shard)
	}
	// Their readers may be others than that one's.
	waitFor(t, "5 malformed datagrams or 6", func() bool { return p.Stats().Malformed >= 5 })
}

// TestListeners has two addresses: each knows its own, and answers from it.
func TestListeners(t *testing.T) {
	got := make(arrivals, 64)
	p := listening(t, got, dataplane.Config{Listen: append(loopback("127.0.0.1"), loopback("127.0.0.2")...), Shards: 2})
	c := lac(t, netip.MustParseAddr("127.0.0.1"))
	hello := []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}
	for i, l := range p.Listeners() {
		c.WriteToUDPAddrPort(hello, l)
		a := got.next(t)
		if int(a.Listener) != i {
			t.Errorf("listener %d, want %d", a.Listener, i)
		}
		p.Send(i, []dataplane.Datagram{{Listener: a.Listener, Peer: a.Peer, B: a.B}})
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, from, err := c.ReadFromUDPAddrPort(make([]byte, 100))
		if err != nil || from != l || n != len(hello) {
			t.Errorf("answer of %d octets from %v (%v), want %v", n, from, err, l)
		}
	}
	// A batch for both listeners, and one for none.
	batch := []dataplane.Datagram{{Listener: 1, Peer: addrPort(c), B: hello}, {Listener: 0, Peer: addrPort(c), B: hello}, {Listener: 2, Peer: addrPort(c), B: hello}}
	p.Send(0, batch)
	for i := range 2 {
		if _, from, err := c.ReadFromUDPAddrPort(make([]byte, 100)); err != nil || from != p.Listeners()[1-i] {
			t.Errorf("from %v (%v), want %v", from, err, p.Listeners()[1-i])
		}
	}
	if s := p.Stats(); s.Sent != 4 || s.SendDropped != 1 {
		t.Errorf("stats: %+v, want 4 sent and 1 dropped", s)
	}
}

func addrPort(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// TestReceiveOffload sends a train of datagrams as one, which arrive apart.
func TestReceiveOffload(t *testing.T) {
	got := make(arrivals, 64)
	p := listening(t, got, dataplane.Config{Listen: loopback("127.0.0.1"), Shards: 1, ReceiveOffload: true})
	c := lac(t, netip.MustParseAddr("127.0.0.1"))
	var all []byte
	for n := range byte(20) {
		all = append(all, 0xc8, 2, 0, 12, 0, n, 0, 0, 0, 0, 0, 0)
	}
	oob := make([]byte, unix.CmsgSpace(2))
	h := []byte{18, 0, 0, 0, 0, 0, 0, 0, unix.IPPROTO_UDP, 0, 0, 0, unix.UDP_SEGMENT, 0, 0, 0, 12, 0}
	copy(oob, h)
	if _, _, err := c.WriteMsgUDPAddrPort(all, oob, p.Listeners()[0]); err != nil {
		t.Fatal(err)
	}
	for n := range byte(20) {
		if a := got.next(t); len(a.B) != 12 || a.B[5] != n || a.Peer != addrPort(c) {
			t.Fatalf("datagram %d: %+v", n, a)
		}
	}
}

// TestSegmentTooLarge sends equal datagrams that the path takes only in fragments, which the kernel
// does not do of a segmented message.
func TestSegmentTooLarge(t *testing.T) {
	namespace(t)
	if err := netlink.LinkSetMTU(link(t, "lo"), 1500); err != nil {
		t.Fatal(err)
	}
	p := listening(t, nobody{}, dataplane.Config{Listen: loopback("127.0.0.1"), Shards: 1})
	c := lac(t, netip.MustParseAddr("127.0.0.1"))
	for round := range 2 {
		for _, size := range []int{1472, 1473, 3000} {
			var batch []dataplane.Datagram
			for n := range byte(10) {
				batch = append(batch, dataplane.Datagram{Peer: addrPort(c), B: bytes.Repeat([]byte{n}, size)})
			}
			p.Send(0, batch)
			buf := make([]byte, 1<<16)
			for n := range byte(10) {
				c.SetReadDeadline(time.Now().Add(5 * time.Second))
				if got, _, err := c.ReadFromUDP(buf); err != nil || got != size || buf[0] != n {
					t.Fatalf("round %d, size %d: got datagram %d of %d octets, %v", round, size, buf[0], got, err)
				}
			}
		}
	}
	if s := p.Stats(); s.Sent != 60 || s.SendDropped != 0 {
		t.Errorf("stats: %+v, want 60 sent", s)
	}
	if n := dataplane.NotSegmenting(p); n != 1473 {
		t.Errorf("segments up to %d octets only, want 1473", n)
	}
}

// TestSendNoAllocations sends to several peers over real sockets.
func TestSendNoAllocations(t *testing.T) {
	p := listening(t, nobody{}, dataplane.Config{Listen: loopback("127.0.0.1"), Shards: 1})
	var batch []dataplane.Datagram
	for n := range 32 {
		c := lac(t, netip.MustParseAddr("127.0.0.1"))
		for range n % 4 {
			batch = append(batch, dataplane.Datagram{Peer: addrPort(c), B: make([]byte, 100)})
		}
	}
	if n := testing.AllocsPerRun(100, func() { p.Send(0, batch) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestOverrun fills a socket whose reader is held up.
func TestOverrun(t *testing.T) {
	hold := make(chan arrival)
	p := listening(t, arrivals(hold), dataplane.Config{Listen: loopback("127.0.0.1"), Shards: 1, SocketBuffer: 4096})
	c := lac(t, netip.MustParseAddr("127.0.0.1"))
	for range 1000 {
		c.WriteToUDPAddrPort([]byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}, p.Listeners()[0])
	}
	lost := p.Stats().Overrun
	if lost == 0 || lost >= 1000 {
		t.Errorf("%d of 1000 lost", lost)
	}
	go func() {
		for range hold {
		}
	}()
	p.Close()
	if got := p.Stats().Overrun; got != lost {
		t.Errorf("%d lost after Close, want %d", got, lost)
	}
	close(hold)
}

func TestListenErrors(t *testing.T) {
	c := lac(t, netip.MustParseAddr("127.0.0.1"))
	for _, x := range []struct {
		listen, want string
		is           error
	}{
		{addrPort(c).String(), "another process", unix.EADDRINUSE},
		{"192.0.2.77:1701", "no interface", unix.EADDRNOTAVAIL},
	} {
		_, err := dataplane.New(dataplane.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort(x.listen)}, Core: planetest.NewCore(nil)})
		if !errors.Is(err, x.is) || !strings.Contains(fmt.Sprint(err), x.want) {
			t.Errorf("%s: %v", x.listen, err)
		}
	}
	// One plane does not share its address with the next.
	p := listening(t, nobody{}, dataplane.Config{Listen: loopback("127.0.0.1"), Shards: 2})
	if _, err := dataplane.New(dataplane.Config{Listen: p.Listeners(), Core: planetest.NewCore(nil)}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second plane on %v: %v", p.Listeners(), err)
	}
}

// TestPermission makes a TUN device as nobody.
func TestPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		namespace(t)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 { // this thread only
			t.Fatal(errno)
		}
	}
	_, err := dataplane.New(dataplane.Config{Listen: loopback("127.0.0.1"), Shards: 2, Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, dataplane.ErrPermission) {
		t.Fatalf("error %v does not wrap ErrPermission", err)
	}
	for _, want := range []string{"CAP_NET_ADMIN", "root", "AmbientCapabilities", "/dev/net/tun"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}
