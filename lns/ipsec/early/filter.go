package early

import "golang.org/x/net/bpf"

// first is how many packets of an SA are looked at: what a fast LAC sends while a busy charon
// reads one message. What comes later costs no more than the filter.
const first = 4096

// filter has the kernel copy the first packets of SAs alone: of IPv4, and with six of IPv6. It sees a packet from
// its IP header on. What comes by the loopback device is left out: among it is what the kernel was given again.
func filter(six bool) []bpf.Instruction {
	const toThisHost, loopback = 0, 1 // PACKET_HOST; the first device of every namespace
	prelude := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: toThisHost, SkipTrue: 2},
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: loopback, SkipTrue: 1},
		bpf.RetConstant{},
	}
	return append(prelude, ipFilter(six)...)
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
