package dataplane

import "net/netip"

// Headroom is how many octets Core.Read leaves free before each packet: enough
// for an L2TP header with sequence numbers and the PPP header.
const Headroom = 32

// MaxPacket is the largest IP packet, and the largest super-packet.
const MaxPacket = 65535

// Packet is an IP packet, or a super-packet that is still to be segmented.
// The packet is Buf[Off:]; whoever holds it may overwrite what is before Off.
type Packet struct {
	Buf []byte
	Off int
	Offload
}

// Offload says what is left to be done to a packet before it may leave; its zero
// value is a whole packet with valid checksums. Its fields mean what those of
// virtio_net_hdr do (Virtual I/O Device version 1.2, section 5.1.6).
type Offload struct {
	// Kind says how to segment; SegmentSize is the octets of payload in each
	// segment, after the transport header.
	Kind        OffloadKind
	SegmentSize uint16
	// NeedsChecksum: the checksum at ChecksumStart+ChecksumOffset holds only
	// the sum of the pseudo-header; both are octets from the packet's start.
	NeedsChecksum                 bool
	ChecksumStart, ChecksumOffset uint16
}

// OffloadKind says how a super-packet is segmented.
type OffloadKind uint8

// The kinds of super-packets: none (a plain packet), TCP over IPv4, UDP.
const (
	OffloadNone OffloadKind = 0
	OffloadTCP4 OffloadKind = 1
	OffloadUDP  OffloadKind = 5
)

// Core is the plane's side away from the LACs: IP packets, in queues that are
// read independently. The TUN device is one; planetest has others.
type Core interface {
	// Queues is how many queues there are; at least 1.
	Queues() int
	// Read waits until the queue has packets, puts them one after the other
	// into buf, each with at least Headroom octets before it, and describes them in batch.
	// It returns how many it put. buf has room for at least one packet of
	// MaxPacket octets. One goroutine reads a queue. After Close it returns
	// an error that wraps net.ErrClosed or os.ErrClosed.
	Read(queue int, buf []byte, batch []Packet) (int, error)
	// Write takes packets and returns how many were taken; those that were
	// not are lost. It keeps no reference to them. Any goroutine may call it.
	Write(queue int, batch []Packet) int
	// Route makes the core send packets for these prefixes to the plane, or
	// no more. Only one goroutine calls it at a time.
	Route(add, remove []netip.Prefix) error
	// Close ends all Reads.
	Close() error
}

// Transport is the plane's side towards the LACs. The UDP sockets are one;
// planetest has one in memory.
type Transport interface {
	// Listeners are the local addresses, as Plane.Listeners has them.
	Listeners() []netip.AddrPort
	// Start begins to give datagrams to receive, one call at a time for each
	// shard. They are lent until receive returns, which may overwrite them.
	// Called once.
	Start(receive func(shard int, batch []Datagram)) error
	// Send sends the datagrams and returns how many were taken. It keeps no
	// reference to them. Any goroutine may call it.
	Send(shard int, batch []Datagram) int
	// Overrun is how many datagrams were lost because nobody read them in time.
	Overrun() uint64
	// Close ends reading, and waits until receive is called no more.
	Close() error
}
