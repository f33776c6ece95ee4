package udp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// sockaddr is large enough for both families, which share family and port.
type sockaddr = unix.RawSockaddrInet6

const (
	size4 = unix.SizeofSockaddrInet4
	size6 = unix.SizeofSockaddrInet6
)

// slots are datagrams with all that the kernel wants to know of them.
type slots struct {
	mem  []byte
	hdrs []mmsghdr
	iovs []unix.Iovec
	addr []sockaddr
}

func (s *slots) init(n int) {
	s.mem = make([]byte, n*MaxDatagram)
	s.hdrs = make([]mmsghdr, n)
	s.iovs = make([]unix.Iovec, n)
	s.addr = make([]sockaddr, n)
	for i := range s.hdrs {
		s.iovs[i].Base = &s.mem[i*MaxDatagram]
		s.iovs[i].SetLen(MaxDatagram)
		h := &s.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&s.addr[i]))
		h.Namelen = size6
		h.Iov = &s.iovs[i]
		h.SetIovlen(1)
	}
}

func (s *slots) bytes(i int) []byte {
	return s.mem[i*MaxDatagram : (i+1)*MaxDatagram : (i+1)*MaxDatagram]
}

func as4(a netip.Addr) [4]byte {
	if a = a.Unmap(); a.Is4() {
		return a.As4()
	}
	return [4]byte{}
}

// putAddr fills a kernel address and returns its length.
func putAddr(sa *sockaddr, to netip.AddrPort) uint32 {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], to.Port())
	if a := to.Addr(); a.Is4() {
		sa.Family = unix.AF_INET
		(*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr = a.As4()
		return size4
	}
	*sa = sockaddr{Family: unix.AF_INET6, Port: sa.Port, Addr: to.Addr().As16()}
	return size6
}

func getAddr(sa *sockaddr) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	if sa.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), port)
}

// mmsg is recvmmsg or sendmmsg without blocking. As it does not block, the scheduler
// need not know of it: telling it at every call costs more than the call's own overhead.
func mmsg(trap uintptr, fd int, hdrs []mmsghdr) (int, error) {
	n, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&hdrs[0])), uintptr(len(hdrs)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
