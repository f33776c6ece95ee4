package cluster

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watch sees every packet that a node sends from a service address into the
// access network, with the kernel's time.
type watch struct {
	mu   sync.Mutex
	seen []sight
}

// sight is one packet.
type sight struct {
	at   time.Time
	node string
	from netip.Addr
	// arp says that it is an ARP packet with the address as sender, else L2TP.
	arp bool
}

// startWatch listens on the bridge's ports of the nodes until the test ends.
func startWatch(t *testing.T, nodes ...string) *watch {
	t.Helper()
	w := &watch{}
	var done sync.WaitGroup
	var fds []int
	for _, n := range nodes {
		dev, err := net.InterfaceByName("acc-" + n)
		must(t, err)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
		must(t, err)
		must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: dev.Index}))
		must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
		must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
		must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}))
		fds = append(fds, fd)
		done.Go(func() { w.read(fd, n) })
	}
	t.Cleanup(func() {
		w.mu.Lock()
		for _, fd := range fds {
			unix.Close(fd)
		}
		w.mu.Unlock()
		done.Wait()
	})
	return w
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func (w *watch) read(fd int, node string) {
	b, oob := make([]byte, 2048), make([]byte, 256)
	for {
		n, o, _, from, err := unix.Recvmsg(fd, b, oob, 0)
		if errors.Is(err, unix.EBADF) {
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok || ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if s, ok := parse(b[:n]); ok {
			s.node, s.at = node, stamp(oob[:o])
			w.mu.Lock()
			w.seen = append(w.seen, s)
			w.mu.Unlock()
		}
	}
}

// stamp is when the kernel took the packet.
func stamp(oob []byte) time.Time {
	list, err := unix.ParseSocketControlMessage(oob)
	for _, m := range list {
		if err == nil && m.Header.Type == unix.SO_TIMESTAMPNS {
			ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(ts.Unix())
		}
	}
	return time.Now()
}

// parse tells whether a frame speaks for a service address.
func parse(b []byte) (s sight, ok bool) {
	if len(b) < 34 {
		return s, false
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP:
		if len(b) < 42 {
			return s, false
		}
		s.from, s.arp = netip.AddrFrom4([4]byte(b[28:32])), true
	case unix.ETH_P_IP:
		if b[23] != unix.IPPROTO_UDP {
			return s, false
		}
		s.from = netip.AddrFrom4([4]byte(b[26:30]))
	}
	return s, slices.Contains(service[:], s.from)
}

// turns gives who has sent L2TP from an address since a moment, in turn: "a b"
// means that b began and a was never heard again. gap is the longest silence
// before another began, counted from since at the earliest.
func (w *watch) turns(from netip.Addr, since time.Time) (turns string, gap time.Duration) {
	w.mu.Lock()
	list := slices.Clone(w.seen)
	w.mu.Unlock()
	slices.SortFunc(list, func(a, b sight) int { return a.at.Compare(b.at) })
	var who []string
	last := since
	for _, s := range list {
		if s.from != from || s.arp {
			continue
		}
		if len(who) == 0 || who[len(who)-1] != s.node {
			if len(who) > 0 && s.at.After(since) {
				gap = max(gap, s.at.Sub(last))
			}
			who = append(who, s.node)
		}
		if s.at.After(since) {
			last = s.at
		}
	}
	return strings.Join(who, " "), gap
}

// proxy passes connections on to a server, for as long as the test runs.
func proxy(t *testing.T, listen, to string) {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go pass(c, to)
		}
	}()
}

func pass(c net.Conn, to string) {
	defer c.Close()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	go func() { _, _ = io.Copy(d, c); d.Close(); c.Close() }()
	_, _ = io.Copy(c, d)
}
