package early

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
)

// first is how many packets of an SA are looked at: what a fast LAC sends while a busy charon
// reads one message. What comes later costs no more than the filter.
const first = 4096

// filter has the kernel copy the first packets of SAs alone: of IPv4, and with six of IPv6, to the addresses of that family
// among to. It sees a packet from its IP header on. What comes by the loopback device is left out: among it is what the kernel was given again.
func filter(six bool, to []netip.Addr) []bpf.Instruction {
	const toThisHost, loopback = 0, 1 // PACKET_HOST; the first device of every namespace
	list := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: toThisHost, SkipTrue: 2},
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: loopback, SkipTrue: 1},
		bpf.RetConstant{},
	}
	list = append(list, toFilter(six, to)...)
	return append(list, ipFilter(six)...)
}

// most is for how many addresses a filter has room: a jump goes over 255 instructions at most.
const most = 28

// toFilter lets go on what is for one of the addresses, which are all of one family: subscribers have SAs of their own, whose
// packets are for others. Without addresses, or with more than there is room for, all goes on.
func toFilter(six bool, to []netip.Addr) (list []bpf.Instruction) {
	at, size := uint32(16), 4
	if six {
		at, size = 24, 16
	}
	if len(to) == 0 || len(to) > most {
		return nil
	}
	for i, a := range to {
		for w, b := uint32(0), a.AsSlice(); int(w) < size; w += 4 {
			list = append(list, bpf.LoadAbsolute{Off: at + w, Size: 4})
			val, left := binary.BigEndian.Uint32(b[w:]), size/2-int(w)/2-2 // instructions left of this address
			if left > 0 {
				list = append(list, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: val, SkipTrue: uint8(left)})
				continue
			}
			list = append(list, bpf.JumpIf{Cond: bpf.JumpEqual, Val: val, SkipTrue: uint8((len(to)-1-i)*size/2 + 1)})
		}
	}
	return append(list, bpf.RetConstant{})
}

// ipFilter is the part of filter that looks at the packet alone.
func ipFilter(six bool) []bpf.Instruction {
	const fragment = 0x3fff
	if six {
		return append([]bpf.Instruction{
			bpf.LoadConstant{Dst: bpf.RegX, Val: header6},
			bpf.LoadAbsolute{Off: 6, Size: 1},
		}, espFilter()...)
	}
	return append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: fragment, SkipTrue: 1},
		bpf.RetConstant{},
		bpf.LoadMemShift{Off: 0},
		bpf.LoadAbsolute{Off: 9, Size: 1},
	}, espFilter()...)
}

// espFilter goes on where A is the protocol, and X the length of the IP header.
func espFilter() []bpf.Instruction {
	const bare, number, no = 8, 9, 11 // where those instructions are
	return []bpf.Instruction{
		0: bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoESP, SkipTrue: bare - 1},
		1: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoUDP, SkipTrue: no - 2},
		2: bpf.LoadIndirect{Off: 2, Size: 2},
		3: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: portNAT, SkipTrue: no - 4},
		4: bpf.LoadIndirect{Off: headerUDP, Size: 4},
		5: bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: no - 6},
		// The sequence number is behind the SPI.
		6:      bpf.LoadIndirect{Off: headerUDP + 4, Size: 4},
		7:      bpf.Jump{Skip: number - 8},
		bare:   bpf.LoadIndirect{Off: 4, Size: 4},
		number: bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: first, SkipTrue: no - number - 1},
		10:     bpf.RetConstant{Val: 1 << 16},
		no:     bpf.RetConstant{},
	}
}
