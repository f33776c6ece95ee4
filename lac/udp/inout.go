package udp

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

type inbox struct{ slots }

func (in *inbox) init() { in.slots.init(batch) }

// Read gives one batch of each socket that Wait found readable to f, which may
// keep b no longer than the call. A socket with more to read shows in the next Wait.
func (g *Group) Read(f func(sock uint16, from netip.AddrPort, b []byte)) error {
	for _, sock := range g.ready {
		n, err := mmsg(unix.SYS_RECVMMSG, g.sockets[sock].fd, g.in.hdrs)
		if err != nil && !transient(err) {
			return fmt.Errorf("udp: recvmmsg on %v: %w", g.sockets[sock].local, err)
		}
		for i := range n {
			h := &g.in.hdrs[i]
			b := g.in.bytes(i)[:h.len]
			truncated := h.hdr.Flags&unix.MSG_TRUNC != 0
			h.hdr.Namelen, h.hdr.Flags, h.len = size6, 0, 0
			if truncated {
				g.stats.Truncated++
				continue
			}
			g.stats.Received++
			f(sock, getAddr(&g.in.addr[i]), b)
		}
	}
	g.ready = g.ready[:0]
	return nil
}

// transient says whether a socket can be used on: an ICMP error that the
// kernel reports is the fate of an earlier datagram.
func transient(err error) bool {
	for _, e := range []error{unix.EAGAIN, unix.EINTR, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENOBUFS, unix.EPERM, unix.ENETDOWN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// outbox is what waits for Flush: slots chained by socket.
type outbox struct {
	slots
	next  [outSlots]uint16
	n     int
	dirty []uint16
	burst []mmsghdr // the hdrs of one socket, in order
}

func (o *outbox) init() {
	o.slots.init(outSlots)
	o.burst = make([]mmsghdr, outSlots)
}

// Reserve is an empty buffer of MaxDatagram octets for the next datagram, to be
// appended to and given to Queue. It flushes first when the outbox is full.
func (g *Group) Reserve() []byte {
	if g.out.n == outSlots {
		g.Flush()
	}
	return g.out.bytes(g.out.n)[:0]
}

// Queue takes what was appended to the buffer of the last Reserve, to be sent
// from socket sock to an address of that socket's family.
func (g *Group) Queue(sock uint16, to netip.AddrPort, b []byte) {
	o, i := &g.out, g.out.n
	if len(b) == 0 || len(b) > MaxDatagram || &b[0] != &o.mem[i*MaxDatagram] {
		panic("udp: Queue of what Reserve did not give")
	}
	o.iovs[i].SetLen(len(b))
	o.hdrs[i].hdr.Namelen = putAddr(&o.addr[i], to)
	o.next[i] = 0
	o.n++
	s := &g.sockets[sock]
	if s.first == 0 {
		s.first = uint16(o.n)
		o.dirty = append(o.dirty, sock)
	} else {
		o.next[s.last-1] = uint16(o.n)
	}
	s.last = uint16(o.n)
}

// Send queues a copy of b.
func (g *Group) Send(sock uint16, to netip.AddrPort, b []byte) {
	g.Queue(sock, to, append(g.Reserve(), b...))
}

// Flush sends what is queued. What the kernel refuses is dropped and counted.
func (g *Group) Flush() {
	for _, sock := range g.out.dirty {
		s := &g.sockets[sock]
		burst := g.out.burst[:0]
		for i := s.first; i != 0; i = g.out.next[i-1] {
			burst = append(burst, g.out.hdrs[i-1])
		}
		s.first, s.last = 0, 0
		g.sendBurst(s.fd, burst)
	}
	g.out.n, g.out.dirty = 0, g.out.dirty[:0]
}

func (g *Group) sendBurst(fd int, burst []mmsghdr) {
	for len(burst) > 0 {
		n, err := mmsg(unix.SYS_SENDMMSG, fd, burst)
		g.stats.Sent += uint64(n)
		burst = burst[n:]
		if err == nil || errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) && writable(fd) {
			continue
		}
		g.stats.SendDropped++
		g.stats.LastError = err
		burst = burst[1:]
	}
}

// writable waits for a full socket to drain, but not for long.
func writable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(p, 50)
	return n == 1 && (err == nil || errors.Is(err, unix.EINTR))
}
