package dataplane_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/lns/dataplane"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// subscriberHost is a subscriber's host: a network namespace whose default route
// goes through a TUN device and a LAC. The LAC is a plane turned round: the one
// session's "subscriber" is the whole Internet.
type subscriberHost struct {
	inside chan func()
}

// connect makes a plane with one subscriber, and the subscriber's host. It needs root.
func connect(t *testing.T, c dataplane.Config, change func(*dataplane.Session)) (dataplane.Plane, *subscriberHost, dataplane.Session) {
	t.Helper()
	namespace(t)
	c.Listen, c.Shards, c.Address, c.Device = loopback("127.0.0.1"), 2, ownAddress, "culvert0"
	plane, err := dataplane.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plane.Close() })
	sockets, err := dataplane.NewUDP(dataplane.Config{Listen: loopback("127.0.0.1"), Shards: 1, SocketBuffer: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	v := dataplane.Session{
		Key:  dataplane.Key{Tunnel: 1, Session: 1},
		Peer: sockets.Listeners()[0], PeerTunnel: 9, PeerSession: 9,
		Address: netip.MustParseAddr("100.64.0.1"), MTU: 1500, MSS: 1400,
	}
	if change != nil {
		change(&v)
	}
	host := newHost(t, sockets, v, plane.Listeners()[0])
	if err := errors.Join(plane.Add([]dataplane.Session{v}), plane.Start(nobody{})); err != nil {
		t.Fatal(err)
	}
	return plane, host, v
}

func newHost(t *testing.T, sockets dataplane.Transport, v dataplane.Session, lns netip.AddrPort) *subscriberHost {
	t.Helper()
	h := &subscriberHost{inside: make(chan func())}
	t.Cleanup(func() { close(h.inside) })
	go func() { // it has a thread of its own, and ends with it
		namespace(t)
		for f := range h.inside {
			f()
		}
	}()
	var core dataplane.Core
	var err error
	h.do(func() {
		core, err = dataplane.NewTUN(dataplane.Config{
			Device: "ppp0", Shards: 1, MTU: 1500, Address: v.Address, Log: slog.New(slog.DiscardHandler),
			Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	turned, err := dataplane.New(dataplane.Config{Shards: 1, Transport: sockets, Core: core})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { turned.Close() })
	s := dataplane.Session{
		Key:  dataplane.Key{Tunnel: v.PeerTunnel, Session: v.PeerSession},
		Peer: lns, PeerTunnel: v.Tunnel, PeerSession: v.Session,
		Address: ownAddress, Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
	}
	if err := errors.Join(turned.Add([]dataplane.Session{s}), turned.Start(nobody{})); err != nil {
		t.Fatal(err)
	}
	return h
}

// do runs f in the host's namespace.
func (h *subscriberHost) do(f func()) {
	done := make(chan struct{})
	h.inside <- func() { defer close(done); f() }
	<-done
}

// TestPing pings both ways, with packets of several sizes.
func TestPing(t *testing.T) {
	plane, host, v := connect(t, dataplane.Config{Routes: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16")}}, nil)
	for _, size := range []int{56, 1300, 4000} {
		ping(t, ownAddress, v.Address, size, 2)
		host.do(func() { ping(t, v.Address, ownAddress, size, 2) })
	}
	got := counters(plane, v.Key)
	if n := uint64(4*84 + 4*1328 + 4*(4028+2*20)); got.InOctets != n || got.OutOctets != n || got.InPackets != 20 || got.OutPackets != 20 {
		t.Errorf("counters: %+v, want %d octets and 20 packets each way", got, n)
	}
	host.do(func() {
		other := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(100, 64, 0, 2), Mask: net.CIDRMask(32, 32)}}
		if err := netlink.AddrAdd(link(t, "ppp0"), other); err != nil {
			t.Error(err)
			return
		}
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(100, 64, 0, 2)}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ownAddress, 9)))
		if err != nil {
			t.Error(err)
			return
		}
		conn.Write([]byte("not mine"))
		conn.Close()
	})
	waitFor(t, "a spoofed packet", func() bool { return counters(plane, v.Key).Spoofed == 1 })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within 5 s", what)
		}
	}
}

// TestTCP moves megabytes both ways through a session, also one whose MTU is
// smaller than the device's, so that path MTU discovery has to work.
func TestTCP(t *testing.T) {
	for name, change := range map[string]func(*dataplane.Session){
		"clamped":  nil,
		"path MTU": func(v *dataplane.Session) { v.MTU, v.MSS = 1280, 0 },
		"sequence": func(v *dataplane.Session) {
			v.Sequence, v.SendAddress = dataplane.NewSequence(dataplane.SequenceConfig{}, true), true
		},
		"compressed, PFC": func(v *dataplane.Session) { v.CompressProtocol = true },
	} {
		t.Run(name, func(t *testing.T) {
			plane, host, v := connect(t, dataplane.Config{}, change)
			l, err := net.Listen("tcp4", netip.AddrPortFrom(ownAddress, 0).String())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			waitFor(t, "route", func() bool { return slices.Contains(routesOf(t, "culvert0"), v.Address.String()+"/32") })
			var client net.Conn
			host.do(func() { client, err = net.DialTimeout("tcp4", l.Addr().String(), 5*time.Second) })
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			transfer(t, "up", client, server)
			transfer(t, "down", server, client)
			got := counters(plane, v.Key)
			if got.InOctets < transferred || got.OutOctets < transferred || got.Spoofed != 0 {
				t.Errorf("counters: %+v", got)
			}
			t.Logf("%+v, %+v", got, plane.Stats())
		})
	}
}

const transferred = 16 << 20

// transfer sends from a to b, and compares.
func transfer(t *testing.T, name string, a, b net.Conn) {
	t.Helper()
	start := time.Now()
	deadline := start.Add(60 * time.Second)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	sent, received := sha256.New(), sha256.New()
	go func() {
		chunk := make([]byte, 64<<10)
		for n := range transferred / len(chunk) {
			chunk[n%len(chunk)]++
			sent.Write(chunk)
			if _, err := a.Write(chunk); err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
		}
	}()
	if _, err := io.CopyN(received, b, transferred); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
		t.Errorf("%s: not what was sent", name)
	}
	t.Logf("%s: %.0f Mbit/s", name, transferred*8/time.Since(start).Seconds()/1e6)
}

// TestRouting has addresses within and outside of the configured routes.
func TestRouting(t *testing.T) {
	pool := netip.MustParsePrefix("100.64.0.0/16")
	static := netip.MustParsePrefix("172.20.1.8/29")
	plane, _, v := connect(t, dataplane.Config{Routes: []netip.Prefix{pool}}, func(v *dataplane.Session) {
		v.Routes = []netip.Prefix{static}
	})
	want := func(list ...string) {
		t.Helper()
		waitFor(t, strings.Join(list, " "), func() bool { return slices.Equal(routesOf(t, "culvert0"), list) })
	}
	want(pool.String(), static.String())
	w := v
	w.Session, w.Address, w.Routes = 2, netip.MustParseAddr("192.0.2.5"), []netip.Prefix{static}
	if err := plane.Add([]dataplane.Session{w}); err != nil {
		t.Fatal(err)
	}
	want(pool.String(), static.String(), "192.0.2.5/32")
	plane.Remove([]dataplane.Key{v.Key}, make([]dataplane.Counters, 1))
	want(pool.String(), static.String(), "192.0.2.5/32") // the other still has it
	plane.Remove([]dataplane.Key{w.Key}, make([]dataplane.Counters, 1))
	want(pool.String())
	if err := plane.Close(); err != nil {
		t.Error(err)
	}
	if _, err := netlink.LinkByName("culvert0"); err == nil {
		t.Error("the device is still there")
	}
}

// TestDeviceTaken makes two planes with a device of one name.
func TestDeviceTaken(t *testing.T) {
	namespace(t)
	single := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "culvert0"}, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_ONE_QUEUE}
	if err := netlink.LinkAdd(single); err != nil {
		t.Fatal(err)
	}
	_, err := dataplane.New(dataplane.Config{Listen: loopback("127.0.0.1"), Device: "culvert0"})
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "culvert0") {
		t.Errorf("error %v", err)
	}
}
