package early

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wire is a network namespace with a cable: what is sent at its far end comes in at ours.
type wire struct {
	t   testing.TB
	far int
	to  unix.SockaddrLinklayer
}

// newWire puts the test's thread into a fresh namespace with 192.0.2.1 and 2001:db8::1. Without root the test is skipped, but not in CI.
func newWire(t testing.TB) *wire {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
			t.Skip("needs root to make a network namespace")
		}
		t.Fatal(err)
	}
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"}))
	for _, name := range []string{"lo", "near", "far"} {
		l, err := netlink.LinkByName(name)
		check(t, err)
		check(t, netlink.LinkSetUp(l))
	}
	near, err := netlink.LinkByName("near")
	check(t, err)
	far, err := netlink.LinkByName("far")
	check(t, err)
	for _, a := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
		addr, err := netlink.ParseAddr(a)
		check(t, err)
		addr.Flags = unix.IFA_F_NODAD
		check(t, netlink.AddrAdd(near, addr))
	}
	w := &wire{t: t}
	w.far, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	t.Cleanup(func() { unix.Close(w.far) })
	w.to = unix.SockaddrLinklayer{Ifindex: far.Attrs().Index, Halen: 6}
	copy(w.to.Addr[:], near.Attrs().HardwareAddr)
	return w
}

func (w *wire) send(b []byte) {
	w.t.Helper()
	w.to.Protocol = 0x0008 // IPv4, in network order
	if b[0]>>4 == 6 {
		w.to.Protocol = 0xdd86
	}
	check(w.t, unix.Sendto(w.far, b, 0, &w.to))
}

// receiver gives what comes in of one kind, as long as it is told to wait.
func receiver(t testing.TB, family, kind, proto int, bind unix.Sockaddr) func(time.Duration) (n int) {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, proto)
	check(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	if bind != nil {
		check(t, unix.Bind(fd, bind))
	}
	buf := make([]byte, 2000)
	return func(wait time.Duration) (n int) {
		tv := unix.NsecToTimeval(int64(wait))
		check(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
		for {
			if _, _, err := unix.Recvfrom(fd, buf, 0); err != nil {
				return n
			}
			n++
		}
	}
}

// TestGive: what came for an SPI comes in again when it has got its keys, in each form; nothing else does, and nothing twice. The
// kernel here has nothing that takes ESP, so that sockets see what it would get.
func TestGive(t *testing.T) {
	w := newWire(t)
	var given atomic.Uint64
	k := &Keeper{cfg: Config{Log: slog.New(slog.DiscardHandler), Given: &given}, store: newStore(), began: time.Now(), buf: make([]byte, 1<<16)}
	var err error
	for i, family := range []int{unix.AF_INET, unix.AF_INET6} {
		k.out[i], err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		check(t, err)
		k.in[i], err = openPackets([]uint16{unix.ETH_P_IP, unix.ETH_P_IPV6}[i], []netip.Addr{netip.MustParseAddr([]string{"192.0.2.1", "2001:db8::1"}[i])})
		check(t, err)
	}
	k.stop, k.news = -1, -1
	defer k.close()
	esp4 := receiver(t, unix.AF_INET, unix.SOCK_RAW, protoESP, nil)
	esp6 := receiver(t, unix.AF_INET6, unix.SOCK_RAW, protoESP, nil)
	udp4Of := receiver(t, unix.AF_INET, unix.SOCK_DGRAM, 0, &unix.SockaddrInet4{Port: portNAT})
	const wait = 300 * time.Millisecond
	for _, c := range []struct {
		what, packet, to string
		hear             func(time.Duration) int
	}{
		{"IPv4", bare4, "192.0.2.1", esp4},
		{"IPv4 in UDP", udp4, "192.0.2.1", udp4Of},
		{"IPv6", bare6, "2001:db8::1", esp6},
	} {
		p := sealed(packet(c.packet))
		w.send(p)
		if n := c.hear(wait); n != 1 {
			t.Fatalf("%s: %d came in by the wire", c.what, n)
		}
		w.send(sealed(elsewhere(c.packet))) // a subscriber's
		if n := k.read(k.in[0], backlog) + k.read(k.in[1], backlog); n != 1 {
			t.Errorf("%s: %d were kept", c.what, n)
		}
		to := netip.MustParseAddr(c.to)
		k.give(spi{to, 0xc1234568})
		if n := c.hear(wait); n != 0 {
			t.Errorf("%s: %d of another SPI came in again", c.what, n)
		}
		before := given.Load()
		k.give(spi{to, 0xc1234567})
		if n := c.hear(wait); n != 1 || given.Load() != before+uint64(n) {
			t.Errorf("%s: %d came in again, %d were counted", c.what, n, given.Load()-before)
		}
		if n := k.read(k.in[0], backlog) + k.read(k.in[1], backlog); n != 0 {
			t.Errorf("%s: %d were kept of what came in again", c.what, n)
		}
		if k.give(spi{to, 0xc1234567}); c.hear(wait) != 0 {
			t.Errorf("%s: came in a third time", c.what)
		}
	}
	k.give(spi{netip.MustParseAddr("203.0.113.1"), 1})
}

// elsewhere is a packet for another address.
func elsewhere(text string) []byte {
	if p := packet(text); p[0]>>4 == 6 {
		return with(text, 39, 9)
	}
	return with(text, 19, 9)
}

// sealed puts the checksum into an IPv4 header.
func sealed(p []byte) []byte {
	if p[0]>>4 != 4 {
		return p
	}
	var sum uint32
	p[10], p[11] = 0, 0
	for i := 0; i < int(p[0]&0xf)*4; i += 2 {
		sum += uint32(p[i])<<8 | uint32(p[i+1])
	}
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	p[10], p[11] = byte(^sum>>8), byte(^sum)
	return p
}

// TestOpen: it ends when it is told to, with what a kernel without IPsec says made plain.
func TestOpen(t *testing.T) {
	newWire(t)
	k, err := Open(Config{To: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Log: slog.New(slog.DiscardHandler), Given: new(atomic.Uint64)})
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Log("this kernel has no IPsec:", err)
		return
	}
	check(t, err)
	check(t, k.Close())
}

// BenchmarkOthers is what a packet of L2TP in clear takes from the wire to a socket's buffer, without a Keeper's filter and with it.
func BenchmarkOthers(b *testing.B) {
	w := newWire(b)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	check(b, err)
	defer unix.Close(fd)
	check(b, unix.Bind(fd, &unix.SockaddrInet4{Port: 1701}))
	p := sealed(with(udp4, 22, 6, 0xa5))
	send := func(b *testing.B) {
		for b.Loop() {
			w.send(p) // what does not fit into the buffer has gone the same way
		}
	}
	b.Run("without", send)
	for _, protocol := range []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6} {
		fd, err := openPackets(protocol, family([]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, protocol))
		check(b, err)
		defer unix.Close(fd)
	}
	b.Run("with", send)
}
