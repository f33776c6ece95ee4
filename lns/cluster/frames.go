package cluster

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"culvert/lns/dataplane"
)

// offer is what frameOffer says, as JSON.
type offer struct {
	From, To string
	Local    netip.AddrPort
	// Epoch is the address' before it moves.
	Epoch uint64
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
