package early

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// burst is how many packets are read before others get their turn: forged ones could come without end.
	burst = 256
	// backlog is how many are read at most where an SPI has got its keys: all that its own may be among.
	backlog    = 8192
	bufferSize = 4 << 20
	newsBuffer = 1 << 20
	pause      = time.Millisecond
	// groupSA is XFRMNLGRP_SA; updated is XFRM_MSG_UPDSA, with which the kernel says that an SPI that was given out has got its keys.
	groupSA = 3
	updated = 0x1a
)

// Keeper is what the package is about. Open makes one; its goroutine does all of it.
type Keeper struct {
	cfg   Config
	store *store
	began time.Time
	buf   []byte
	// complained says that a failure to give a packet was logged.
	complained bool

	// Sockets: what comes in by family, what the kernel says of SAs, what goes in again by family, and the one that ends the goroutine.
	in   [2]int
	news int
	out  [2]int
	stop int
	done sync.WaitGroup
}

// Open begins to keep early packets of the network namespace that it is called in. It takes CAP_NET_RAW; the error says
// so. Only a node with LACs that use IKEv1 needs it. It may be called from any goroutine.
func Open(cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg, store: newStore(), began: time.Now(), buf: make([]byte, 1<<16), in: [2]int{-1, -1}, news: -1, out: [2]int{-1, -1}, stop: -1}
	if err := k.open(); err != nil {
		k.close()
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w (it takes CAP_NET_RAW; set AmbientCapabilities=CAP_NET_RAW in the service's unit)", err)
		}
		return nil, err
	}
	k.done.Go(k.run)
	return k, nil
}

// Close ends the goroutine; what was kept is forgotten.
func (k *Keeper) Close() error {
	var one [8]byte
	one[0] = 1
	_, err := unix.Write(k.stop, one[:])
	k.done.Wait()
	k.close()
	return err
}

func (k *Keeper) open() (err error) {
	if k.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	for i, family := range []int{unix.AF_INET, unix.AF_INET6} {
		if k.out[i], err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW); err != nil {
			return fmt.Errorf("raw socket: %w", err)
		}
	}
	// The news first: an SA that gets its keys from now on is heard of.
	if k.news, err = openNews(); err != nil {
		return fmt.Errorf("netlink socket for SAs: %w", err)
	}
	for i, protocol := range []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6} {
		to := family(k.cfg.To, protocol)
		if len(to) == 0 && len(k.cfg.To) > 0 {
			continue // nobody calls by that family; poll leaves out what is no descriptor
		}
		if k.in[i], err = openPackets(protocol, to); err != nil {
			return fmt.Errorf("packet socket: %w", err)
		}
	}
	return nil
}

func (k *Keeper) close() {
	for _, fd := range []int{k.in[0], k.in[1], k.news, k.out[0], k.out[1], k.stop} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func openNews() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_XFRM)
	if err != nil {
		return -1, err
	}
	grow(fd, newsBuffer)
	return owned(fd, unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (groupSA - 1)}))
}

// family picks the addresses of IPv4 or IPv6.
func family(list []netip.Addr, protocol uint16) (of []netip.Addr) {
	for _, a := range list {
		if a = a.Unmap(); a.Is4() == (protocol == unix.ETH_P_IP) {
			of = append(of, a)
		}
	}
	return of
}

// openPackets gives a socket that is bound only when it has its filter.
func openPackets(protocol uint16, to []netip.Addr) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	grow(fd, bufferSize)
	raw, err := bpf.Assemble(filter(protocol == unix.ETH_P_IPV6, to))
	if err != nil {
		return owned(fd, err)
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil {
		return owned(fd, err)
	}
	return owned(fd, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8}))
}

// grow asks for a larger buffer, also beyond what the system gives everybody.
func grow(fd, octets int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, octets) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, octets)
	}
}

// owned gives a descriptor, or closes it with an error.
func owned(fd int, err error) (int, error) {
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// run reads packets and news until Close.
func (k *Keeper) run() {
	fds := []unix.PollFd{{Fd: int32(k.stop), Events: unix.POLLIN}, {Fd: int32(k.news), Events: unix.POLLIN},
		{Fd: int32(k.in[0]), Events: unix.POLLIN}, {Fd: int32(k.in[1]), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			k.cfg.Log.Error("early ESP packets are not kept any more", "err", err)
			return
		}
		if fds[0].Revents != 0 {
			return
		}
		// The news before the packets: what came before them is among the packets then.
		list := k.hear()
		most := burst
		if len(list) > 0 {
			most = backlog
		}
		n := k.read(k.in[0], most) + k.read(k.in[1], most)
		for _, id := range list {
			k.give(id)
		}
		if n >= burst {
			time.Sleep(pause)
		}
	}
}

// hear reads which SPIs have got their keys.
func (k *Keeper) hear() (list []spi) {
	for {
		n, from, err := unix.Recvfrom(k.news, k.buf, 0)
		if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EINTR) {
			continue // some were missed; their packets are lost as they would be without us
		}
		if err != nil {
			return list
		}
		if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
			continue // not from the kernel
		}
		messages, err := syscall.ParseNetlinkMessage(k.buf[:n])
		if err != nil {
			continue
		}
		for i := range messages {
			if messages[i].Header.Type != updated {
				continue
			}
			if id, ok := parseSA(messages[i].Data); ok {
				list = append(list, id)
			}
		}
	}
}

// read keeps what has come in, and says how many packets that were.
func (k *Keeper) read(fd, most int) (n int) {
	if fd < 0 {
		return 0
	}
	now := time.Since(k.began)
	for ; n < most; n++ {
		size, err := unix.Read(fd, k.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n
		}
		if id, packet, ok := parse(k.buf[:size]); ok {
			k.store.add(id, packet, now)
		}
	}
	return n
}

// give gives the kernel what came for an SPI before its keys.
func (k *Keeper) give(id spi) {
	k.store.take(id, time.Since(k.began), func(packet []byte) {
		if err := k.send(id.to, packet); err != nil {
			if !k.complained {
				k.complained = true
				k.cfg.Log.Warn("an ESP packet that came before its SA had keys is lost; so may others be, unsaid", "to", id.to, "err", err)
			}
			return
		}
		k.cfg.Given.Add(1)
	})
}

// send has a packet come in anew: to an address of this host the kernel sends by the loopback device.
func (k *Keeper) send(to netip.Addr, packet []byte) error {
	if to.Is4() {
		return unix.Sendto(k.out[0], packet, 0, &unix.SockaddrInet4{Addr: to.As4()})
	}
	return unix.Sendto(k.out[1], packet, 0, &unix.SockaddrInet6{Addr: to.As16()})
}
