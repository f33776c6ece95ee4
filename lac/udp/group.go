// Package udp reads and writes many UDP sockets from one goroutine, many
// datagrams to a system call (epoll, recvmmsg, sendmmsg), without memory
// per datagram.
package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MaxDatagram is the longest datagram that is read or written, in octets.
	MaxDatagram = 2048
	batch       = 64  // datagrams to a recvmmsg
	outSlots    = 256 // datagrams queued before a flush
	maxReady    = 128
)

// Stats counts what a group did.
type Stats struct {
	Received, Sent uint64
	// SendDropped were refused by the kernel, Truncated were longer than MaxDatagram.
	SendDropped, Truncated uint64
	// LastError is the kernel's last reason to refuse one, or nil.
	LastError error
}

// Group is a set of UDP sockets. But for Wake, its methods are called by one
// goroutine at a time.
type Group struct {
	// Set by Listen.
	sockets []socket
	epoll   int
	wake    int

	// Between Wait and Read.
	ready  []uint16
	events [maxReady]unix.EpollEvent

	in    inbox
	out   outbox
	stats Stats
}

type socket struct {
	fd    int
	local netip.AddrPort
	// chain of queued outbox slots, first and last plus one; 0 is none
	first, last uint16
}

// Options are what Listen asks of the kernel.
type Options struct {
	// Buffer is the size of each socket's kernel buffers in octets; 0 leaves the
	// system's default. Above the system's limit it needs CAP_NET_ADMIN, else it is cut.
	Buffer int
}

// Listen binds a socket to each address; port 0 lets the kernel choose.
func Listen(addrs []netip.AddrPort, opt Options) (*Group, error) {
	if len(addrs) == 0 || len(addrs) > 1<<15 {
		return nil, fmt.Errorf("udp: %d sockets asked for; 1 to %d are possible", len(addrs), 1<<15)
	}
	g := &Group{epoll: -1, wake: -1}
	if err := g.listen(addrs, opt); err != nil {
		g.Close()
		return nil, err
	}
	g.in.init()
	g.out.init()
	return g, nil
}

func (g *Group) listen(addrs []netip.AddrPort, opt Options) (err error) {
	if g.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("udp: epoll: %w", err)
	}
	if g.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("udp: eventfd: %w", err)
	}
	if err = g.watch(g.wake, -1); err != nil {
		return err
	}
	for i, addr := range addrs {
		s, err := open(addr, opt)
		if err != nil {
			return err
		}
		g.sockets = append(g.sockets, s)
		if err := g.watch(s.fd, i); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) watch(fd, index int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(index)}
	if err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("udp: epoll: %w", err)
	}
	return nil
}

func open(addr netip.AddrPort, opt Options) (socket, error) {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return socket{}, fmt.Errorf("udp: socket: %w", err)
	}
	if opt.Buffer > 0 {
		setBuffers(fd, opt.Buffer)
	}
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: as4(addr.Addr())}
	if family == unix.AF_INET6 {
		sa = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err := unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return socket{}, fmt.Errorf("udp: bind %v: %w", addr, err)
	}
	local, err := localAddr(fd)
	if err != nil {
		unix.Close(fd)
		return socket{}, fmt.Errorf("udp: address of %v: %w", addr, err)
	}
	return socket{fd: fd, local: local}, nil
}

func setBuffers(fd, size int) {
	for _, o := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], size) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], size)
		}
	}
}

func localAddr(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("unknown family %T", sa)
}

// Sockets is how many sockets there are; they are named by index.
func (g *Group) Sockets() int { return len(g.sockets) }

// Local is the address that socket i is bound to.
func (g *Group) Local(i uint16) netip.AddrPort { return g.sockets[i].local }

// Stats are the counters since Listen.
func (g *Group) Stats() Stats { return g.stats }

// Wait blocks until a socket can be read, Wake is called or the timeout has
// passed; a negative timeout waits for ever. It is rounded up to a millisecond.
func (g *Group) Wait(timeout time.Duration) error {
	ms := -1
	if timeout >= 0 {
		ms = int(min((timeout+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	n, err := unix.EpollWait(g.epoll, g.events[:], ms)
	g.ready = g.ready[:0]
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("udp: epoll: %w", err)
	}
	for i := range max(n, 0) {
		if g.events[i].Fd < 0 {
			var b [8]byte
			_, _ = unix.Read(g.wake, b[:])
			continue
		}
		g.ready = append(g.ready, uint16(g.events[i].Fd))
	}
	return nil
}

// Gather sleeps, so that more datagrams arrive for the next Read: under load it
// saves system calls and wake-ups. Wake does not end it.
func (g *Group) Gather(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil)
}

// Wake makes the current or next Wait return. Any goroutine may call it until Close.
func (g *Group) Wake() {
	one := [8]byte{1}
	_, _ = unix.Write(g.wake, one[:])
}

// Close closes the sockets.
func (g *Group) Close() {
	for _, s := range g.sockets {
		unix.Close(s.fd)
	}
	for _, fd := range []int{g.epoll, g.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	g.sockets, g.epoll, g.wake = nil, -1, -1
}
