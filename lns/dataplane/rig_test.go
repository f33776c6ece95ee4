package dataplane_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

var ownAddress = netip.MustParseAddr("100.127.0.1")

// TestLoopback runs the suite over UDP sockets, with the core in memory.
func TestLoopback(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			if c, err := net.ListenPacket("udp", net.JoinHostPort(host, "0")); err != nil {
				t.Skip("this host has no such address: ", err)
			} else {
				c.Close()
			}
			planetest.Run(t, func(t *testing.T) *planetest.Rig {
				r := newRig()
				core := planetest.NewCore(func(b []byte) { r.FromCore <- bytes.Clone(b) })
				r.SendCore = core.Inject
				start(t, r, dataplane.Config{Listen: loopback(host), Shards: 3, Core: core})
				return r
			})
		})
	}
}

// TestTUN runs the suite over UDP sockets and a TUN device, in a network namespace
// whose kernel forwards to another TUN device, behind which is the core.
func TestTUN(t *testing.T) {
	planetest.Run(t, func(t *testing.T) *planetest.Rig {
		namespace(t)
		r := newRig()
		r.Hops = 1
		start(t, r, dataplane.Config{
			Listen: loopback("127.0.0.1"), Shards: 2, Routes: []netip.Prefix{planetest.Pool}, Device: "culvert0",
		})
		r.SendCore = farSide(t, func(b []byte) { r.FromCore <- b })
		// Where a session has no route of its own, the kernel still sends to the plane.
		addRoute(t, planetest.Static, "culvert0")
		return r
	})
}

func newRig() *planetest.Rig {
	return &planetest.Rig{
		Address: ownAddress, FromPlane: make(chan planetest.Received, 64), FromCore: make(chan []byte, 64),
	}
}

func loopback(host string) []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(host), 0)}
}

// start makes the plane and two LACs, which are UDP sockets.
func start(t *testing.T, r *planetest.Rig, c dataplane.Config) {
	c.Address = ownAddress
	p, err := dataplane.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	r.Plane = p
	var lacs [2]*net.UDPConn
	for i := range lacs {
		lacs[i] = lac(t, p.Listeners()[0].Addr())
		r.LACs[i] = lacs[i].LocalAddr().(*net.UDPAddr).AddrPort()
		go func() {
			buf := make([]byte, 1<<16)
			for {
				n, from, err := lacs[i].ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				if from != p.Listeners()[0] {
					t.Errorf("datagram from %v, want %v", from, p.Listeners()[0])
				}
				r.FromPlane <- planetest.Received{LAC: i, B: bytes.Clone(buf[:n])}
			}
		}()
	}
	r.SendLAC = func(i int, b []byte) {
		if _, err := lacs[i].WriteToUDPAddrPort(b, p.Listeners()[0]); err != nil {
			t.Error(err)
		}
	}
}

// lac is a UDP socket on the loopback interface.
func lac(t testing.TB, host netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// farSide makes a TUN device for the core's hosts, gives what arrives there
// to take, and returns how to send from there.
func farSide(t testing.TB, take func([]byte)) func(packet []byte) {
	t.Helper()
	far, err := dataplane.NewTUN(dataplane.Config{
		Device: "far0", Shards: 1, MTU: 1500, Address: netip.MustParseAddr("203.0.113.1"),
		Routes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	go func() {
		buf, batch := make([]byte, 1<<20), make([]dataplane.Packet, 64)
		for {
			n, err := far.Read(0, buf, batch)
			if err != nil {
				return
			}
			for _, p := range batch[:n] {
				if p.Buf[p.Off]>>4 == 4 {
					take(bytes.Clone(p.Buf[p.Off:]))
				}
			}
		}
	}()
	return func(b []byte) {
		room := make([]byte, dataplane.Headroom, dataplane.Headroom+len(b))
		if far.Write(0, []dataplane.Packet{{Buf: append(room, b...), Off: dataplane.Headroom}}) != 1 {
			t.Error("the far device did not take a packet")
		}
	}
}
