package dataplane

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// receiveBatch is how many messages one recvmmsg takes; with UDP_GRO each
	// may be many datagrams.
	receiveBatch = 64
	// slotSize is the room for each. It is not a power of two, so that the
	// beginnings of small datagrams do not fall on the same cache lines.
	slotSize = MaxPacket + 1 + 5*64
	// controlSize is the room for one control message with an integer.
	controlSize = 24
	// received is the room for the control messages of a received message.
	received = 2 * controlSize
)

// message is struct mmsghdr.
type message struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// receiver is what a shard's readers share: one at a time, whoever has mu.
type receiver struct {
	udp *udp

	mu       sync.Mutex
	messages [receiveBatch]message
	iovs     [receiveBatch]unix.Iovec
	names    [receiveBatch]rawAddr
	controls [receiveBatch][received]byte
	// marks says that there may be more control messages than UDP_GRO's.
	marks bool
	buf   []byte
	batch []Datagram
}

func newReceiver(u *udp, marks bool) *receiver {
	r := &receiver{udp: u, marks: marks, buf: make([]byte, receiveBatch*slotSize)}
	for i := range r.messages {
		h := &r.messages[i].hdr
		r.iovs[i].Base = &r.buf[i*slotSize]
		r.iovs[i].SetLen(MaxPacket)
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Control = &r.controls[i][0]
		r.reset(i)
	}
	return r
}

// reset makes message i ready to be received into again.
func (r *receiver) reset(i int) {
	h := &r.messages[i].hdr
	h.Namelen = unix.SizeofSockaddrInet6
	h.SetControllen(received)
	h.Flags = 0
}

// read gives what the socket receives to receive, until it is closed.
func (s *socket) read(r *receiver, receive func(int, []Datagram)) {
	var n int
	var errno unix.Errno
	// mu is taken before the buffers are written, and kept until they are read; but not while
	// the goroutine waits.
	try := func(fd uintptr) bool {
		r.mu.Lock()
		n, errno = recvmmsg(fd, r.messages[:])
		if errno == unix.EAGAIN || errno == unix.EINTR {
			r.mu.Unlock()
			return false
		}
		return true
	}
	for {
		if s.raw.Read(try) != nil {
			return
		}
		if errno == 0 && n > 0 {
			r.gather(s.listener, n)
			receive(s.shard, r.batch)
		}
		r.mu.Unlock()
	}
}

// gather makes datagrams of n messages.
func (r *receiver) gather(listener uint16, n int) {
	r.batch = r.batch[:0]
	for i := range n {
		m := &r.messages[i]
		d := Datagram{Listener: listener, Peer: getAddr(&r.names[i])}
		b := r.buf[i*slotSize:][:m.n]
		var step int
		if r.marks {
			a := parseAncillary(r.controls[i][:min(int(m.hdr.Controllen), received)])
			step, d.Mark = a.segment, a.mark
		} else {
			step = segmentSize(&m.hdr, r.controls[i][:])
		}
		if m.hdr.Flags&unix.MSG_TRUNC != 0 {
			b = nil
		}
		if step <= 0 || step >= len(b) {
			step = max(len(b), 1)
		}
		for at := 0; at < len(b); at += step {
			end := min(at+step, len(b))
			d.B = b[at:end:end]
			r.batch = append(r.batch, d)
		}
		r.reset(i)
	}
}

// segmentSize is how long each of the datagrams in a message is, but the last;
// 0 if there is but one.
func segmentSize(h *unix.Msghdr, control []byte) int {
	c := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if int(h.Controllen) < unix.SizeofCmsghdr+4 || c.Level != unix.IPPROTO_UDP || c.Type != unix.UDP_GRO {
		return 0
	}
	return int(*(*int32)(unsafe.Pointer(&control[unix.SizeofCmsghdr])))
}

func recvmmsg(fd uintptr, list []message) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func sendmmsg(fd uintptr, list []message) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
