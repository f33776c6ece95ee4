package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// virtioHeader is the size of struct virtio_net_hdr, which is before every packet
// that is read from or written to the device.
const virtioHeader = 10

// Fields of virtio_net_hdr that x/sys/unix does not name.
const (
	virtioNeedsChecksum = 1
	virtioECN           = 0x80
)

// tunDevice is the Core over a multi-queue TUN device.
type tunDevice struct {
	name   string
	queues []*tunQueue
	link   *tunLink
	// held: the queues were an earlier process's, and may have packets.
	held bool
}

// tunQueue is one queue of the device.
type tunQueue struct {
	file *os.File
	raw  syscall.RawConn

	// Belong to the goroutine in Read.
	tryRead func(fd uintptr) bool
	buf     []byte
	in      []Packet
	n       int
	readErr unix.Errno

	mu       sync.Mutex
	doWrite  func(fd uintptr)
	out      []Packet
	written  int
	iovs     [2]unix.Iovec
	noHeader [virtioHeader]byte
}

// newTUN makes the device, gives it its addresses and routes, and brings it up.
func newTUN(c Config) (Core, error) {
	t := &tunDevice{name: c.Device}
	have, err := t.inherit(c)
	t.held = have
	if err != nil {
		t.Close()
		return nil, tunError(t.name, err)
	}
	for range c.Shards {
		if have {
			break
		}
		q, err := t.openQueue()
		if err != nil {
			t.Close()
			return nil, tunError(t.name, err)
		}
		t.queues = append(t.queues, q)
	}
	if t.link, err = setUpLink(t.name, c); err != nil {
		t.Close()
		return nil, tunError(t.name, err)
	}
	return t, nil
}

// openQueue attaches one more queue; the first makes the device, and learns its name.
func (t *tunDevice) openQueue() (*tunQueue, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening /dev/net/tun: %w", err)
	}
	if err := t.attach(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// Only now may the runtime poll it: an unattached one reports an error.
	return newQueue(fd)
}

// newQueue makes a queue of an attached descriptor.
func newQueue(fd int) (q *tunQueue, err error) {
	q = new(tunQueue)
	if q.file, q.raw, err = pollable(fd, "/dev/net/tun"); err != nil {
		return nil, err
	}
	q.tryRead = q.readSome
	q.doWrite = q.writeAll
	return q, nil
}

func (t *tunDevice) attach(fd int) error {
	req, err := unix.NewIfreq(t.name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	t.name = req.Name()
	const (
		checksum = 0x01
		tcp4     = 0x02
		ecn      = 0x08
		udp      = 0x20 | 0x40 // since Linux 6.2, and only both together
	)
	// Super-packets are a gain, not a need.
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, checksum|tcp4|ecn|udp) != nil {
		_ = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, checksum|tcp4|ecn)
	}
	return nil
}

// tunError says what to do about err.
func tunError(name string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("dataplane: cannot make TUN device %s: %w (%w): run as root or give the process CAP_NET_ADMIN "+
			"(systemd: AmbientCapabilities=CAP_NET_ADMIN and DeviceAllow=/dev/net/tun rw; container: --cap-add NET_ADMIN --device /dev/net/tun)",
			name, ErrPermission, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("dataplane: cannot make TUN device %s: %w (%w): the kernel's tun driver is not there: "+
			"as root, modprobe tun; in a container, pass --device /dev/net/tun", name, ErrPermission, err)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("dataplane: cannot make TUN device %s: %w: an interface of that name exists already "+
			"(see ip link); choose another name or end the process that has it", name, err)
	}
	return fmt.Errorf("dataplane: cannot make TUN device %s: %w", name, err)
}

func (t *tunDevice) Queues() int { return len(t.queues) }

func (t *tunDevice) Route(add, remove []netip.Prefix) error { return t.link.route(add, remove) }

// Quiet implements Quieter.
func (t *tunDevice) Quiet() {
	for _, q := range t.queues {
		_ = q.file.SetReadDeadline(longAgo) // a file that is closed reads nothing either
	}
}

func (t *tunDevice) Close() error {
	var errs []error
	if t.link != nil {
		t.link.close()
	}
	for _, q := range t.queues {
		if err := q.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (t *tunDevice) Read(queue int, buf []byte, batch []Packet) (int, error) {
	q := t.queues[queue]
	q.buf, q.in, q.n, q.readErr = buf, batch, 0, 0
	if err := q.raw.Read(q.tryRead); err != nil {
		return 0, fmt.Errorf("dataplane: reading from TUN device %s: %w", t.name, os.ErrClosed)
	}
	if q.n == 0 && q.readErr != 0 {
		return 0, fmt.Errorf("dataplane: reading from TUN device %s: %w", t.name, q.readErr)
	}
	return q.n, nil
}

// readSome reads packets until there are no more, or no room; false if it got none and
// should be called again when there are some.
func (q *tunQueue) readSome(fd uintptr) bool {
	used := 0
	for q.n < len(q.in) && used+Headroom+MaxPacket <= len(q.buf) {
		off := used + Headroom
		b := q.buf[off-virtioHeader : off+MaxPacket]
		n, _, errno := unix.Syscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			q.readErr = errno
			break
		}
		if n <= virtioHeader {
			continue
		}
		end := off - virtioHeader + int(n)
		q.in[q.n] = Packet{Buf: q.buf[:end], Off: off, Offload: parseVirtio(b[:virtioHeader])}
		q.n++
		used = end
	}
	return q.n > 0 || q.readErr != 0
}

// parseVirtio reads a virtio_net_hdr, which is in the host's byte order.
func parseVirtio(b []byte) Offload {
	return Offload{
		NeedsChecksum:  b[0]&virtioNeedsChecksum != 0,
		Kind:           OffloadKind(b[1] &^ virtioECN),
		SegmentSize:    binary.NativeEndian.Uint16(b[4:]),
		ChecksumStart:  binary.NativeEndian.Uint16(b[6:]),
		ChecksumOffset: binary.NativeEndian.Uint16(b[8:]),
	}
}

func (t *tunDevice) Write(queue int, batch []Packet) int {
	q := t.queues[queue]
	q.mu.Lock()
	defer q.mu.Unlock()
	q.out, q.written = batch, 0
	_ = q.raw.Control(q.doWrite) // fails after Close, and then nothing was written
	q.out = nil
	return q.written
}

func (q *tunQueue) writeAll(fd uintptr) {
	for i := range q.out {
		if q.write(fd, &q.out[i]) == 0 {
			q.written++
		}
	}
}

// write writes one packet, with the header before it where there is room, and
// from two places where there is not.
func (q *tunQueue) write(fd uintptr, p *Packet) unix.Errno {
	var errno unix.Errno
	if p.Off >= virtioHeader {
		b := p.Buf[p.Off-virtioHeader:]
		clear(b[:virtioHeader])
		_, _, errno = unix.Syscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		return errno
	}
	b := p.Buf[p.Off:]
	q.iovs[0].Base = &q.noHeader[0]
	q.iovs[0].SetLen(virtioHeader)
	q.iovs[1].Base = &b[0]
	q.iovs[1].SetLen(len(b))
	_, _, errno = unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&q.iovs[0])), 2)
	return errno
}
