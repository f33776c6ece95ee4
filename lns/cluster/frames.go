package cluster

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"culvert/lns/dataplane"
)

// offer is what frameOffer says, as JSON.
type offer struct {
	From, To string
	Local    netip.AddrPort
	// Epoch is the address' before it moves.
	Epoch uint64
	// Asks says that the node would ask for how long it may go on: frameAsks. One of an earlier version does not.
	Asks bool `json:",omitempty"`
}

// grant is what frameGrants says: Sent is when it was asked, on the clock of who asked, For how long it
// may go on from then on. For is 0 where it may not, and both are 0 in the word that one may ask. frameAsks is Sent alone.
type grant struct{ Sent, For time.Duration }

func (g grant) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(g.Sent))
	return binary.BigEndian.AppendUint64(b, uint64(g.For))
}

// parseGrant reads what append has written, or the first half of it.
func parseGrant(b []byte) (g grant, err error) {
	switch len(b) {
	case 16:
		g.For = time.Duration(binary.BigEndian.Uint64(b[8:]))
		fallthrough
	case 8:
		g.Sent = time.Duration(binary.BigEndian.Uint64(b))
	default:
		return g, fmt.Errorf("%w: %d octets of a grant", errFrame, len(b))
	}
	if g.Sent < 0 || g.For < 0 {
		return g, fmt.Errorf("%w: a time out of range", errFrame)
	}
	return g, nil
}

// countedSize is a session in frameCounts: its ids and five counters.
const countedSize = 2 + 2 + 5*8

// countsFrame is how many sessions go into one frame.
const countsFrame = 2000

func appendCounts(b []byte, list []dataplane.Counted) []byte {
	for i := range list {
		c := &list[i]
		b = binary.BigEndian.AppendUint16(b, c.Tunnel)
		b = binary.BigEndian.AppendUint16(b, c.Session)
		for _, v := range [...]uint64{c.InOctets, c.InPackets, c.OutOctets, c.OutPackets, c.Spoofed} {
			b = binary.BigEndian.AppendUint64(b, v)
		}
	}
	return b
}

// parseCounts reads what appendCounts has written, for a listener of this node.
func parseCounts(b []byte, listener uint16) ([]dataplane.Counted, error) {
	if len(b)%countedSize != 0 {
		return nil, fmt.Errorf("%w: %d octets of counters", errFrame, len(b))
	}
	list := make([]dataplane.Counted, 0, len(b)/countedSize)
	for ; len(b) > 0; b = b[countedSize:] {
		v := func(i int) uint64 { return binary.BigEndian.Uint64(b[4+8*i:]) }
		list = append(list, dataplane.Counted{
			Key:      dataplane.Key{Listener: listener, Tunnel: binary.BigEndian.Uint16(b), Session: binary.BigEndian.Uint16(b[2:])},
			Counters: dataplane.Counters{InOctets: v(0), InPackets: v(1), OutOctets: v(2), OutPackets: v(3), Spoofed: v(4)},
		})
	}
	return list, nil
}

// appendDatagram appends a datagram of frameCame or frameLeaves: the LAC's address, octets of it
// before it, its port, and the datagram, octets of it before it.
func appendDatagram(b []byte, d *dataplane.Datagram) []byte {
	ip := d.Peer.Addr().AsSlice()
	b = append(append(b, byte(len(ip))), ip...)
	b = binary.BigEndian.AppendUint16(b, d.Peer.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.B)))
	return append(b, d.B...)
}

// parseDatagrams reads what appendDatagram has written; the datagrams alias b.
func parseDatagrams(b []byte, listener uint16) (list []dataplane.Datagram, err error) {
	short := fmt.Errorf("%w: a datagram is cut off", errFrame)
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < 1+n+4 {
			return nil, short
		}
		ip, ok := netip.AddrFromSlice(b[1 : 1+n])
		if !ok {
			return nil, fmt.Errorf("%w: an address of %d octets", errFrame, n)
		}
		b = b[1+n:]
		port, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+size {
			return nil, short
		}
		list = append(list, dataplane.Datagram{Listener: listener, Peer: netip.AddrPortFrom(ip, port), B: b[4 : 4+size : 4+size]})
		b = b[4+size:]
	}
	return list, nil
}
