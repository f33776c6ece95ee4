package dataplane

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// steeringProgram is the classic BPF program that chooses among n sockets of one
// address, in the order they were bound: by the tunnel id of a control message, by the
// session id of a data message (ShardOf). The packet begins at the UDP payload; a load
// beyond its end ends the program with 0, so what is too short goes to shard 0.
func steeringProgram(n int) []unix.SockFilter {
	const (
		loadHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		ifSet    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		jump     = unix.BPF_JMP | unix.BPF_JA
		modulo   = unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K
		ret      = unix.BPF_RET | unix.BPF_A
	)
	return []unix.SockFilter{
		{Code: loadHalf, K: 0},
		{Code: ifSet, Jt: 0, Jf: 4, K: 0x4000}, // L: the ids are two octets later
		{Code: ifSet, Jt: 0, Jf: 1, K: 0x8000}, // T
		{Code: jump, K: 3},                     // control with L: as data without
		{Code: loadHalf, K: 6},
		{Code: jump, K: 4},
		{Code: ifSet, Jt: 2, Jf: 0, K: 0x8000},
		{Code: loadHalf, K: 4},
		{Code: jump, K: 1},
		{Code: loadHalf, K: 2},
		{Code: modulo, K: uint32(n)},
		{Code: ret},
	}
}

// attachSteering gives the program to the group that the socket belongs to.
func attachSteering(fd, n int) error {
	prog := steeringProgram(n)
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: unsafe.SliceData(prog)})
}
