// Package dataplane moves subscribers' packets between L2TP and the core.
// Plane is the contract; New makes the userspace plane (UDP sockets and a
// multi-queue TUN); planetest has its in-memory twin.
package dataplane

import (
	"errors"
	"net/netip"
)

// Key names a session on this node: the index of the local address in
// Plane.Listeners, and the tunnel and session ids that we chose.
type Key struct {
	Listener, Tunnel, Session uint16
}

// Session is all that the plane needs to forward for one session.
type Session struct {
	Key
	// Peer is where the LAC's end of the tunnel is, and PeerTunnel and
	// PeerSession the ids it chose.
	Peer                    netip.AddrPort
	PeerTunnel, PeerSession uint16
	// Mark is the mark of the IPsec SA that the tunnel runs in, 0 in clear: what has
	// another one is not of this session, and its packets go out with it or not at all.
	Mark uint32
	// Sequence, where set, numbers data messages and minds the numbers of those
	// that come in (RFC 2661 section 5.4): duplicates and late ones are dropped,
	// early ones may wait. Whoever sends or takes other frames of the session
	// shares it.
	Sequence *Sequence
	// SendAddress puts FF 03 before the PPP protocol; unset when ACFC was negotiated.
	SendAddress bool
	// CompressProtocol sends one-octet PPP protocols (PFC).
	CompressProtocol bool
	// Address is the subscriber's; a packet from it must come from Address
	// or one of Routes, and packets to these go to it.
	Address netip.Addr
	Routes  []netip.Prefix
	// MTU is the largest IP packet that the subscriber takes, at least 68
	// octets; larger ones are fragmented, or answered with ICMP too-big when they
	// may not be. 0 is no bound.
	MTU uint16
	// IgnoreDF fragments them even then.
	IgnoreDF bool
	// MSS clamps TCP's maximum segment size both ways; 0 leaves it alone.
	MSS uint16
	// ID names the session over the lives of processes, for a CounterFile; 0 is none.
	ID uint64
	// Counted is where the counters of a key that the plane does not know begin.
	Counted Counters
}

// Counters count IP octets and packets: In came from the subscriber and was
// forwarded, Out was sent to it. Spoofed counts packets dropped because
// their source was not the subscriber's.
type Counters struct {
	InOctets, InPackets, OutOctets, OutPackets uint64
	Spoofed                                    uint64
}

// Datagram is one L2TP datagram, header included.
type Datagram struct {
	Listener uint16
	// Mark tells the IPsec SA that it came, or has to go, through; 0 is none. Without
	// Config.Marks it is always 0.
	Mark uint32
	Peer netip.AddrPort
	B    []byte
}

// Handler takes what the plane does not forward itself: control messages,
// PPP frames that are not IPv4, and data of sessions it does not know, or that does
// not come from the session's Peer with its Mark: whoever takes it checks Datagram.Peer and Mark.
type Handler interface {
	// Datagrams is called by the plane's reader goroutines, one at a time for each shard.
	// The datagrams are only lent: B is valid until Datagrams returns.
	// shard is the one that ShardOf names for the datagram's ids where the
	// kernel could steer it, else any.
	Datagrams(shard int, batch []Datagram)
}

// Plane forwards packets. All methods but Start and Close may be called from any
// goroutine.
type Plane interface {
	// Listeners are the local addresses, in the order that Key.Listener counts.
	Listeners() []netip.AddrPort
	// Shards is how many readers there are; ids are steered by ShardOf.
	Shards() int
	// Start begins to read; called once.
	Start(Handler) error
	// Add makes sessions known; a known key is replaced and keeps its counters.
	// The error names the sessions that cannot be (an address that is not IPv4, no
	// peer); the others are known nevertheless. An address or route that
	// two sessions have belongs to the later one.
	Add([]Session) error
	// Remove forgets sessions and puts the final counters of keys[i] into out[i];
	// zero for unknown keys. A packet that is being forwarded at that moment may go uncounted.
	Remove(keys []Key, out []Counters)
	// Counters puts the counters of keys[i] into out[i]; zero for unknown keys.
	Counters(keys []Key, out []Counters)
	// Send sends datagrams from their listener's address, as shard. What the
	// kernel would not take is dropped and counted: the peer retransmits.
	// The plane keeps no reference to batch.
	Send(shard int, batch []Datagram)
	// SetMark says that the IPsec SA of a mark is there, or is gone. With a mark that is
	// not said to be there nothing is forwarded or sent: it could leave in clear. When SetMark
	// returns, no packet that is not on its way already leaves with a mark that is gone.
	SetMark(mark uint32, live bool)
	// Stats are the plane's own counters since Start.
	Stats() Stats
	// Close stops the readers and waits for them.
	Close() error
}

// Stats counts what no session owns.
type Stats struct {
	// Datagrams received and sent by the sockets, in all.
	Received, Sent uint64
	// Overrun were lost because the sockets' queues were full, SendDropped refused by
	// the kernel; Malformed had no valid L2TP or PPP header (those without an
	// L2TP header are handed over, for the log).
	Overrun, SendDropped, Malformed uint64
	// Fenced were dropped both ways because their listener's time is up.
	Fenced uint64
	// Invalid came from subscribers and had no valid IPv4 header, CoreDropped
	// were not taken by the core.
	Invalid, CoreDropped uint64
	// NoSession came from the core for no subscriber's address; TooBig were
	// answered with ICMP too-big, or dropped where no answer is allowed.
	NoSession, TooBig uint64
	// Withheld were not sent, because the SA whose mark they had is not there.
	Withheld uint64
}

// ShardOf says which of n shards owns a tunnel (by its id) or a session (by its).
func ShardOf(id uint16, n int) int { return int(id) % n }

// ErrPermission says that this process may not make a TUN device or bind
// the sockets; its text says how to get the right.
var ErrPermission = errors.New("not permitted")
