package dataplane

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel puts the mark of an IPsec SA on each packet that comes out of the SA, and sends a
// packet through the SA whose mark it has. With Config.Marks the sockets read that mark from a
// control message of every datagram and write it into one of every answer. What has
// another mark than its SA's would leave in clear, so that nothing is sent with a mark
// before SetMark has said that its SA is there, or after it has said that it is gone.

// ErrNoMarks says that the kernel does not tell a socket the mark of what it receives.
var ErrNoMarks = errors.New("this kernel has no SO_RCVMARK (Linux 5.19)")

// ProbeMarks says whether Config.Marks can be had here: nil, ErrNoMarks, or
// ErrPermission with what gives the right. Without marks one socket sees packets of all SAs
// and clear ones alike: the kernel's policies alone tell them apart, and of two clients behind one
// address and port only the one that came last is answered.
func ProbeMarks() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return readMarks(fd)
}

// readMarks has the socket tell each datagram's mark, and tries whether it may send with one.
func readMarks(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVMARK, 1); err != nil {
		if errors.Is(err, unix.ENOPROTOOPT) {
			return ErrNoMarks
		}
		return markError(err)
	}
	return markError(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 0))
}

func markError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (%w): marks, which IPsec needs, take CAP_NET_ADMIN; run as root, or set AmbientCapabilities=CAP_NET_ADMIN in the service's unit", ErrPermission, err)
	}
	return err
}

// ancillary is what the control messages of a received message say.
type ancillary struct {
	segment int    // how long each datagram is but the last; 0 if there is but one
	mark    uint32 // 0 for none
}

// parseAncillary reads control messages as the kernel writes them. b begins at an address
// that is a multiple of eight. What is cut off, or none of ours, is left out.
func parseAncillary(b []byte) (a ancillary) {
	for len(b) >= unix.SizeofCmsghdr {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		size := int(c.Len)
		if size < unix.SizeofCmsghdr || size > len(b) {
			return a
		}
		if size >= unix.SizeofCmsghdr+4 {
			value := *(*uint32)(unsafe.Pointer(&b[unix.SizeofCmsghdr]))
			switch {
			case c.Level == unix.IPPROTO_UDP && c.Type == unix.UDP_GRO:
				a.segment = int(int32(value))
			case c.Level == unix.SOL_SOCKET && c.Type == unix.SO_MARK:
				a.mark = value
			}
		}
		next := (size + unix.SizeofPtr - 1) &^ (unix.SizeofPtr - 1)
		if next > len(b) {
			return a
		}
		b = b[next:]
	}
	return a
}

// prepareMark makes a control message that sends with a mark, which is still to be put in.
func prepareMark(control *[controlSize]byte) {
	c := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	c.Level, c.Type = unix.SOL_SOCKET, unix.SO_MARK
	c.SetLen(unix.CmsgLen(4))
}

func putMark(control *[controlSize]byte, mark uint32) {
	*(*uint32)(unsafe.Pointer(&control[unix.SizeofCmsghdr])) = mark
}

// markSet is the marks of SAs that are there: a bit for each, in pages, since key exchange
// counts them up from 1. Anybody may read it while it changes.
type markSet struct {
	mu    sync.Mutex
	pages [1 << 16]atomic.Pointer[markPage]
}

// markPage is 65,536 marks in 8 KB. A page stays when all its marks are gone: at one new SA a
// second that is 8 KB in 18 hours.
type markPage [1 << 10]atomic.Uint64

func (s *markSet) set(mark uint32, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pages[mark>>16].Load()
	if p == nil {
		if !live {
			return
		}
		p = new(markPage)
		s.pages[mark>>16].Store(p)
	}
	word, bit := &p[mark>>6&0x3ff], uint64(1)<<(mark&63)
	if live {
		word.Or(bit)
	} else {
		word.And(^bit)
	}
}

// has says whether a datagram with the mark may leave: without one it may.
func (s *markSet) has(mark uint32) bool {
	if mark == 0 {
		return true
	}
	p := s.pages[mark>>16].Load()
	return p != nil && p[mark>>6&0x3ff].Load()>>(mark&63)&1 == 1
}

// SetMark implements Plane.
func (p *userspace) SetMark(mark uint32, live bool) {
	if mark != 0 && p.marks != nil {
		p.marks.set(mark, live)
	}
}

// mayPass says whether the mark's SA is there, as far as the plane has been told.
func (p *userspace) mayPass(mark uint32) bool {
	return mark == 0 || p.marks != nil && p.marks.has(mark)
}

// transmit sends what may leave of the batch, and says how much was sent, and how much was held
// back because its SA is not there.
func (p *userspace) transmit(shard int, batch []Datagram) (sent, withheld int) {
	from := 0
	for i := range batch {
		if p.mayPass(batch[i].Mark) {
			continue
		}
		if from < i {
			sent += p.transport.Send(shard, batch[from:i])
		}
		from = i + 1
		withheld++
	}
	if from < len(batch) {
		sent += p.transport.Send(shard, batch[from:])
	}
	return sent, withheld
}
