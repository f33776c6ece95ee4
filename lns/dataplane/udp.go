package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// udp is the Transport over UDP sockets: one for each listener and shard, which share
// the listener's address and among which the kernel chooses by steeringProgram.
type udp struct {
	// Constant.
	listeners []netip.AddrPort
	sockets   [][]*socket // [listener][shard]
	receivers []*receiver // [shard]
	readers   sync.WaitGroup

	// fence, where not nil, is waited for before what an earlier process has left in the sockets is read; held are the
	// listeners that have such sockets, and done ends the waiting.
	fence *Fence
	held  []bool
	done  chan struct{}
	once  sync.Once

	senders senderPool
	gso     gsoLimit

	lost atomic.Uint64 // sampled at Close, when the kernel's counts go away
}

// socket is one UDP socket.
type socket struct {
	listener uint16
	shard    int
	file     *os.File
	raw      syscall.RawConn
}

// newUDP opens the sockets of c.
func newUDP(c Config) (Transport, error) {
	u := &udp{fence: c.Fence, done: make(chan struct{})}
	for range c.Shards {
		u.receivers = append(u.receivers, newReceiver(u, c.Marks))
	}
	for i, a := range c.Listen {
		have, err := u.inherit(uint16(i), a, c)
		u.held = append(u.held, have)
		if err == nil && !have {
			err = u.listen(uint16(i), a, c)
		}
		if err != nil {
			u.Close()
			return nil, err
		}
	}
	return u, nil
}

// listen opens one address' sockets.
func (u *udp) listen(listener uint16, a netip.AddrPort, c Config) error {
	if err := probe(a, c); err != nil {
		return listenError(a, err)
	}
	// Close ends what is opened here, also if not all can be.
	u.listeners = append(u.listeners, a)
	u.sockets = append(u.sockets, nil)
	group := &u.sockets[listener]
	for shard := range c.Shards {
		fd, err := openSocket(a, c)
		if err != nil {
			return listenError(a, err)
		}
		if shard == 0 {
			err = attachSteering(fd, c.Shards)
		}
		if err == nil && a.Port() == 0 {
			a, err = boundTo(fd, a)
		}
		if err != nil {
			unix.Close(fd)
			return listenError(a, err)
		}
		s := &socket{listener: listener, shard: shard}
		if s.file, s.raw, err = pollable(fd, "udp:"+a.String()); err != nil {
			return listenError(a, err)
		}
		*group = append(*group, s)
	}
	u.listeners[listener] = a
	return nil
}

// probe finds out whether another process has the address: sockets that may
// share it would not be told, and would take part of its traffic.
func probe(a netip.AddrPort, c Config) error {
	if a.Port() == 0 {
		return nil
	}
	fd, err := unix.Socket(family(a), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := freeBind(fd, a, c); err != nil {
		return err
	}
	return unix.Bind(fd, sockaddr(a))
}

// freeBind lets fd be bound to an address that comes to this host only later.
func freeBind(fd int, a netip.AddrPort, c Config) error {
	switch {
	case c.Fence == nil:
		return nil
	case a.Addr().Is4():
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
}

// openSocket makes one socket and binds it.
func openSocket(a netip.AddrPort, c Config) (int, error) {
	fd, err := unix.Socket(family(a), unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := prepareSocket(fd, a, c); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func prepareSocket(fd int, a netip.AddrPort, c Config) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	setOptions(fd, a, c)
	if c.Marks {
		if err := readMarks(fd); err != nil {
			return err
		}
	}
	if err := freeBind(fd, a, c); err != nil {
		return err
	}
	return unix.Bind(fd, sockaddr(a))
}

// setOptions sets what makes datagrams flow better, or tell more.
func setOptions(fd int, a netip.AddrPort, c Config) {
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, c.SocketBuffer)
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, c.SocketBuffer)
	// Where these do not exist, datagrams come one by one, and the kernel
	// chooses about DF; neither is worth a refusal.
	if c.ReceiveOffload && !c.Marks {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}
	if a.Addr().Is4() {
		// L2TP adds 40 octets, which the path may have no room for: fragments are
		// better than silence.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
	}
}

// setBuffer asks for a buffer of n octets, beyond the system's bound if we may.
func setBuffer(fd, force, plain, n int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, n) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, n)
	}
}

// boundTo is a with the port that the kernel chose.
func boundTo(fd int, a netip.AddrPort) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return a, err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(a.Addr(), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(a.Addr(), uint16(sa.Port)), nil
	}
	return a, errors.ErrUnsupported
}

// listenError says what to do about err.
func listenError(a netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("dataplane: cannot listen on %v: another process does (see ss -lunp): %w", a, err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("dataplane: cannot listen on %v: no interface of this host has that address (see ip address): %w", a, err)
	case errors.Is(err, ErrPermission):
		return fmt.Errorf("dataplane: cannot listen on %v: %w", a, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("dataplane: cannot listen on %v: %w (%w): a port below 1024 takes CAP_NET_BIND_SERVICE", a, ErrPermission, err)
	}
	return fmt.Errorf("dataplane: cannot listen on %v: %w", a, err)
}

func (u *udp) Listeners() []netip.AddrPort { return u.listeners }

func (u *udp) Start(receive func(int, []Datagram)) error {
	for _, group := range u.sockets {
		for _, s := range group {
			u.readers.Go(func() {
				if u.fence != nil && u.held[s.listener] {
					u.fence.opens(u.done, int(s.listener))
				}
				s.read(u.receivers[s.shard], receive)
			})
		}
	}
	return nil
}

// Overrun sums the drops that the kernel counts for each socket.
func (u *udp) Overrun() uint64 {
	n := u.lost.Load()
	for _, group := range u.sockets {
		for _, s := range group {
			_ = s.raw.Control(func(fd uintptr) { n += uint64(socketDrops(int(fd))) })
		}
	}
	return n
}

// Quiet implements Quieter.
func (u *udp) Quiet() {
	u.once.Do(func() { close(u.done) })
	for _, group := range u.sockets {
		for _, s := range group {
			_ = s.file.SetReadDeadline(longAgo) // a file that is closed reads nothing either
		}
	}
	u.readers.Wait()
}

func (u *udp) Close() error {
	u.once.Do(func() { close(u.done) })
	lost := u.Overrun()
	var errs []error
	for _, group := range u.sockets {
		for _, s := range group {
			if err := s.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	u.readers.Wait()
	u.lost.Store(lost)
	return errors.Join(errs...)
}
