package dataplane

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

func family(a netip.AddrPort) int {
	if a.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// sockaddr is the address for bind.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port()), ZoneId: zoneID(a.Addr().Zone())}
}

func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

// rawAddr is a socket address of either family, as the kernel writes it.
type rawAddr = unix.RawSockaddrInet6

// putAddr writes a and returns its size.
func putAddr(r *rawAddr, a netip.AddrPort) uint32 {
	port := (*[2]byte)(unsafe.Pointer(&r.Port))
	binary.BigEndian.PutUint16(port[:], a.Port())
	if a.Addr().Is4() {
		r.Family = unix.AF_INET
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(r))
		v4.Addr = a.Addr().As4()
		v4.Zero = [8]byte{}
		return unix.SizeofSockaddrInet4
	}
	r.Family = unix.AF_INET6
	r.Flowinfo = 0
	r.Addr = a.Addr().As16()
	r.Scope_id = zoneID(a.Addr().Zone())
	return unix.SizeofSockaddrInet6
}

// getAddr reads an address. Only link-local IPv6 ones have a zone, and allocate.
func getAddr(r *rawAddr) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&r.Port))[:])
	if r.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(r))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	a := netip.AddrFrom16(r.Addr)
	if r.Scope_id != 0 {
		a = a.WithZone(strconv.FormatUint(uint64(r.Scope_id), 10))
	}
	return netip.AddrPortFrom(a, port)
}

// socketDrops is how many datagrams the kernel dropped because the socket's
// buffer was full.
func socketDrops(fd int) uint32 {
	const drops = 8 // SK_MEMINFO_DROPS
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return info[drops]
}
