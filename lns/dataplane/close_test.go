package dataplane_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// TestClosingLosesNothing has one plane after the other take over the sockets and the device under a stream of
// pings, with a fence in front that opens some time later, as in a cluster, and without: each ping is answered once.
func TestClosingLosesNothing(t *testing.T) {
	for name, fence := range map[string]*dataplane.Fence{"plain": nil, "fenced": dataplane.NewFence(2)} {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			answer := func(until time.Duration) {
				if fence != nil {
					fence.Set(0, until)
				}
			}
			answer(dataplane.Unfenced)
			lac, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer lac.Close()
			raw, err := lac.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if err := raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) }); err != nil {
				t.Fatal(err)
			}
			c := dataplane.Config{
				// The second address is another node's.
				Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1701"), netip.MustParseAddrPort("127.0.0.2:1701")}, Shards: 2, Device: "cul0", Address: ownAddress, Fence: fence,
				Routes: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16")},
			}
			s := dataplane.Session{
				Key: dataplane.Key{Tunnel: 1, Session: 1}, Peer: addrPort(lac), PeerTunnel: 7, PeerSession: 9,
				Address: netip.MustParseAddr("100.64.0.9"), SendAddress: true,
			}
			life := func() dataplane.Plane {
				p, err := dataplane.New(c)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { p.Close() })
				if err := errors.Join(p.Add([]dataplane.Session{s}), p.Start(nobody{})); err != nil {
					t.Fatal(err)
				}
				return p
			}
			p := life()
			sent, stop := make(chan uint64), make(chan struct{})
			go stream(t, lac, c.Listen[0], s.Address, sent, stop)
			answered := make(chan map[uint64]int)
			go func() { answered <- answers(lac) }()
			for range 15 {
				time.Sleep(20 * time.Millisecond)
				kept := keeper(t, p)
				if len(kept) != 6 {
					t.Fatalf("%d files are kept, want 6", len(kept))
				}
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
				c.Inherited = kept
				answer(0) // until the database has been asked again
				p = life()
				time.Sleep(10 * time.Millisecond)
				answer(dataplane.Unfenced)
			}
			close(stop)
			n, got := <-sent, <-answered
			missing, twice := 0, 0
			for i := range n {
				switch got[i] {
				case 0:
					missing++
				case 1:
				default:
					twice++
				}
			}
			if missing > 0 || twice > 0 || n < 100 {
				t.Errorf("of %d pings %d were not answered and %d more than once", n, missing, twice)
			}
		})
	}
}

// atOnce is how many pings are sent in one piece, which the kernel cuts apart only for who does not want it whole (UDP_SEGMENT, UDP_GRO).
const atOnce = 20

// stream sends bursts of numbered pings of a subscriber until stop, and says how many.
func stream(t *testing.T, lac *net.UDPConn, to netip.AddrPort, from netip.Addr, sent chan<- uint64, stop <-chan struct{}) {
	raw, err := lac.SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	var number [8]byte
	for n := uint64(0); ; {
		select {
		case <-stop:
			sent <- n
			return
		case <-t.Context().Done():
			return
		default:
		}
		var b []byte
		for range atOnce {
			binary.BigEndian.PutUint64(number[:], n)
			b = append(b, 0, 2, 0, 1, 0, 1, 0, 0x21)
			b = append(b, planetest.Ping4(from, ownAddress, 1, uint16(n), number[:])...)
			n++
		}
		size := len(b) / atOnce
		if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size) }); err != nil {
			t.Error(err)
		}
		if _, err := lac.WriteToUDPAddrPort(b, to); err != nil && t.Context().Err() == nil {
			t.Errorf("ping %d: %v", n, err)
		}
		time.Sleep(2 * time.Millisecond) // no more wait than the device has room for
	}
}

// answers counts answers by their numbers, until there are none for a while.
func answers(lac *net.UDPConn) map[uint64]int {
	got, b := map[uint64]int{}, make([]byte, 2000)
	for {
		_ = lac.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, err := lac.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err == nil && n > 8 {
			if n > 60 {
				panic(n)
			}
			got[binary.BigEndian.Uint64(b[n-8:])]++
		}
	}
}
