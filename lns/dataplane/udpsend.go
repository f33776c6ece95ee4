package dataplane

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxSegments and maxSegmented bound what one message with UDP_SEGMENT
	// stands for: datagrams, and octets in all.
	maxSegments  = 64
	maxSegmented = 65000
	// lookBack is among how many of the latest messages one for the same peer is sought.
	lookBack = 8
)

// sender is what one call of Send needs. It belongs to its caller until it is put back.
type sender struct {
	udp      *udp
	messages [sendBatch]message
	iovs     [sendBatch]unix.Iovec
	names    [sendBatch]rawAddr
	controls [sendBatch][controlSize]byte // UDP_SEGMENT, of groups
	marks    [sendBatch][controlSize]byte // SO_MARK, of datagrams with a mark
	groups   [sendBatch]group
	of       [sendBatch]uint16 // the group of each datagram

	// What call sends, and what came of it.
	todo  []message
	done  int
	errno unix.Errno
	call  func(fd uintptr)
}

// group is datagrams for one peer, all of one size but the last, which is smaller: one message.
type group struct {
	peer   netip.AddrPort
	mark   uint32
	size   int // of the first
	octets int
	n      int
	closed bool
	first  int // index of its first iovec
	filled int
}

// senderPool keeps as many senders as there have been Sends at once.
type senderPool struct {
	mu   sync.Mutex
	free []*sender
}

func (p *senderPool) take(u *udp) *sender {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		return s
	}
	return newSender(u)
}

func (p *senderPool) put(s *sender) {
	p.mu.Lock()
	p.free = append(p.free, s)
	p.mu.Unlock()
}

func newSender(u *udp) *sender {
	s := &sender{udp: u}
	for i := range s.messages {
		s.messages[i].hdr.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		c := (*unix.Cmsghdr)(unsafe.Pointer(&s.controls[i][0]))
		c.Level, c.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
		prepareMark(&s.marks[i])
	}
	s.call = func(fd uintptr) { s.done, s.errno = sendmmsg(fd, s.todo) }
	return s
}

func (u *udp) Send(shard int, batch []Datagram) int {
	s := u.senders.take(u)
	defer u.senders.put(s)
	sent := 0
	for len(batch) > 0 {
		n := 1
		for n < len(batch) && n < sendBatch && batch[n].Listener == batch[0].Listener {
			n++
		}
		if l := int(batch[0].Listener); l < len(u.sockets) {
			sent += s.send(u.sockets[l][shard], batch[:n])
		}
		batch = batch[n:]
	}
	return sent
}

// send sends up to sendBatch datagrams of one socket.
func (s *sender) send(to *socket, batch []Datagram) (sent int) {
	groups := s.sort(batch, s.udp.gso.limit())
	s.build(batch, groups)
	for at := 0; at < groups; {
		s.todo = s.messages[at:groups]
		if err := to.raw.Control(s.call); err != nil {
			return sent // closed
		}
		for range max(s.done, 0) {
			sent += s.groups[at].n
			at++
		}
		if s.errno == 0 {
			continue
		}
		switch g := &s.groups[at]; {
		case s.errno == unix.EINTR:
			continue
		case s.errno == unix.EAGAIN && g.mark == 0:
			return sent
		case s.errno == unix.EAGAIN:
			// The queue may be full, but it may as well be this one's SA, which has no
			// keys for a moment: others must not wait for those.
		case g.n > 1:
			sent += s.apart(to, at)
		}
		at++
	}
	return sent
}

// sort puts each datagram into a group, in which the order for each peer is kept, and
// returns how many there are. Datagrams of limit octets and more stay alone, and those
// with a mark: the kernel does not segment what goes through IPsec.
func (s *sender) sort(batch []Datagram, limit int) int {
	groups := 0
next:
	for i := range batch {
		d := &batch[i]
		for j := groups - 1; d.Mark == 0 && j >= 0 && j >= groups-lookBack; j-- {
			g := &s.groups[j]
			if g.peer != d.Peer || g.mark != 0 {
				continue
			}
			if g.closed || g.size == 0 || len(d.B) > g.size || g.size >= limit || g.n == maxSegments || g.octets+len(d.B) > maxSegmented {
				break
			}
			g.n++
			g.octets += len(d.B)
			g.closed = len(d.B) < g.size
			s.of[i] = uint16(j)
			continue next
		}
		s.groups[groups] = group{peer: d.Peer, mark: d.Mark, size: len(d.B), octets: len(d.B), n: 1}
		s.of[i] = uint16(groups)
		groups++
	}
	return groups
}

// build makes one message of each group.
func (s *sender) build(batch []Datagram, groups int) {
	first := 0
	for j := range groups {
		g := &s.groups[j]
		g.first = first
		first += g.n
		h := &s.messages[j].hdr
		h.Namelen = putAddr(&s.names[j], g.peer)
		h.Iov = &s.iovs[g.first]
		h.SetIovlen(g.n)
		h.Control = nil
		h.SetControllen(0)
		if g.n > 1 {
			*(*uint16)(unsafe.Pointer(&s.controls[j][unix.SizeofCmsghdr])) = uint16(g.size)
			h.Control = &s.controls[j][0]
			h.SetControllen(controlSize)
		} else if g.mark != 0 {
			putMark(&s.marks[j], g.mark)
			h.Control = &s.marks[j][0]
			h.SetControllen(controlSize)
		}
	}
	for i := range batch {
		g := &s.groups[s.of[i]]
		v := &s.iovs[g.first+g.filled]
		g.filled++
		v.Base = unsafe.SliceData(batch[i].B)
		v.SetLen(len(batch[i].B))
	}
}

// apart sends a group's datagrams one by one, after the kernel would not segment it:
// they exceed the path's MTU, or IPsec or the device cannot.
func (s *sender) apart(to *socket, at int) (sent int) {
	g := &s.groups[at]
	if s.errno == unix.EINVAL || s.errno == unix.EMSGSIZE {
		s.udp.gso.lower(g.size)
	} else if s.errno == unix.EIO {
		s.udp.gso.lower(0)
	}
	m := &s.messages[at]
	m.hdr.Control = nil
	m.hdr.SetControllen(0)
	m.hdr.SetIovlen(1)
	for i := range g.n {
		m.hdr.Iov = &s.iovs[g.first+i]
		s.todo = s.messages[at : at+1]
		if to.raw.Control(s.call) == nil && s.errno == 0 {
			sent++
		}
	}
	return sent
}

// gsoLimit remembers from which size on the kernel would not segment, and forgets it
// after a while: paths change.
type gsoLimit struct {
	size  atomic.Int64 // one more than the limit; 0 is none
	until atomic.Int64
}

const gsoForget = 10 * time.Second

func (l *gsoLimit) limit() int {
	size := l.size.Load()
	if size == 0 {
		return MaxPacket + 1
	}
	if time.Now().UnixNano() > l.until.Load() {
		l.size.Store(0)
	}
	return int(size - 1)
}

func (l *gsoLimit) lower(size int) {
	l.until.Store(time.Now().Add(gsoForget).UnixNano())
	l.size.Store(int64(size) + 1)
}
