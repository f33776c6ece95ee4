package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	// arp says that it is an ARP packet with the address as sender, or a Neighbor Advertisement of it, which nobody
	// may have solicited (unasked); else it is L2TP.
	arp, unasked bool
	// session has the LAC's tunnel and session ids of a data message, else 0.
	session uint32
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
		must(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
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
	b, oob := make([]byte, 1<<17), make([]byte, 256)
	for {
		n, o, _, from, err := unix.Recvmsg(fd, b, oob, 0)
		if errors.Is(err, unix.EBADF) {
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok || ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if n < vnetHeader {
			continue
		}
		at := stamp(oob[:o])
		w.mu.Lock()
		for _, s := range parse(b[vnetHeader:n], int(binary.NativeEndian.Uint16(b[4:]))) {
			s.node, s.at = node, at
			w.seen = append(w.seen, s)
		}
		w.mu.Unlock()
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

// vnetHeader is the size of struct virtio_net_hdr, which is before each frame.
const vnetHeader = 10

// parse tells what a frame says for a service address. Datagrams that the kernel has not cut apart yet have a
// size, but for the last, of segment.
func parse(b []byte, segment int) []sight {
	if len(b) < 34 {
		return nil
	}
	var from netip.Addr
	var payload []byte
	switch binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP:
		if len(b) < 42 {
			return nil
		}
		s := sight{from: netip.AddrFrom4([4]byte(b[28:32])), arp: true}
		return slices.DeleteFunc([]sight{s}, foreign)
	case unix.ETH_P_IP:
		if b[23] != unix.IPPROTO_UDP {
			return nil
		}
		from, payload = netip.AddrFrom4([4]byte(b[26:30])), b[min(len(b), 14+int(b[14]&0xf)*4+8):]
	case unix.ETH_P_IPV6:
		const headers = 14 + 40
		switch {
		case len(b) < headers+8:
			return nil
		case b[20] == unix.IPPROTO_ICMPV6 && b[headers] == neighborAdvertisement && len(b) >= headers+24:
			s := sight{from: netip.AddrFrom16([16]byte(b[headers+8 : headers+24])), arp: true, unasked: b[headers+4]&0x40 == 0}
			return slices.DeleteFunc([]sight{s}, foreign)
		case b[20] != unix.IPPROTO_UDP:
			return nil
		}
		from, payload = netip.AddrFrom16([16]byte(b[22:38])), b[headers+8:]
	default:
		return nil
	}
	if segment == 0 {
		segment = len(payload)
	}
	var list []sight
	for part := range slices.Chunk(payload, max(1, segment)) {
		list = append(list, sight{from: from, session: dataSession(part)})
	}
	return slices.DeleteFunc(list, foreign)
}

// neighborAdvertisement is the type of an ICMPv6 message (RFC 4861 section 4.4).
const neighborAdvertisement = 136

func foreign(s sight) bool {
	return !slices.Contains(overIPv4.service[:], s.from) && !slices.Contains(overIPv6.service[:], s.from)
}

// dataSession gives the ids of an L2TP data message (RFC 2661 section 3.1), 0 for anything else.
func dataSession(b []byte) uint32 {
	at := 2
	if len(b) > 0 && b[0]&0x40 != 0 {
		at = 4
	}
	if len(b) < at+4 || b[0]&0x80 != 0 {
		return 0
	}
	return binary.BigEndian.Uint32(b[at:])
}

// serving gives how long after a moment a node has sent the first packet of any session from an address,
// and the first packet of the last of n sessions; zero while there are fewer.
func (w *watch) serving(node string, from netip.Addr, since time.Time, n int) (first, all time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[uint32]bool{}
	for _, s := range w.seen {
		if s.node != node || s.from != from || s.session == 0 || s.at.Before(since) || seen[s.session] {
			continue
		}
		if seen[s.session] = true; len(seen) == 1 {
			first = s.at.Sub(since)
		}
		if len(seen) == n {
			return first, s.at.Sub(since)
		}
	}
	return first, 0
}

// announced tells whether a node has advertised an IPv6 address since a moment without having been asked.
func (w *watch) announced(node string, a netip.Addr, since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.seen, func(s sight) bool {
		return s.unasked && s.node == node && s.from == a && s.at.After(since)
	})
}

// forget forgets what was seen so far.
func (w *watch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = nil
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

// both counts the L2TP packets that a node has sent from an address after another had begun to.
func (w *watch) both(from netip.Addr, old, next string, since time.Time) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var began time.Time
	for _, s := range w.seen {
		if s.node == next && s.from == from && !s.arp && s.at.After(since) && (began.IsZero() || s.at.Before(began)) {
			began = s.at
		}
	}
	for _, s := range w.seen {
		if s.node == old && s.from == from && !s.arp && !began.IsZero() && s.at.After(began) {
			n++
		}
	}
	return n
}

// pause is the longest time in which a node has sent no L2TP packet from an address, between its first since a moment and its last.
func (w *watch) pause(node string, from netip.Addr, since time.Time) (longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var last time.Time
	for _, s := range w.seen {
		if s.node != node || s.from != from || s.arp || s.at.Before(since) {
			continue
		}
		if !last.IsZero() {
			longest = max(longest, s.at.Sub(last))
		}
		last = s.at
	}
	return longest
}

// missed tells of sessions that got no answer for clearly longer than they have between two, since a moment and up to a
// number of them: where a packet was lost.
func (w *watch) missed(from netip.Addr, since time.Time, between time.Duration, most int) (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := map[uint32]sight{}
	for _, s := range w.seen {
		if s.from != from || s.session == 0 || s.at.Before(since) {
			continue
		}
		if l, ok := last[s.session]; ok && s.at.Sub(l.at) > between*3/2 && len(list) < most {
			list = append(list, fmt.Sprintf("session %08x: no answer between %s (%s) and %s (%s)", s.session,
				l.at.Format("05.0000"), l.node, s.at.Format("05.0000"), s.node))
		}
		last[s.session] = s
	}
	return list
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
