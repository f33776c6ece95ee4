package storetest

import (
	"fmt"
	"net/netip"
	"time"

	"culvert/sessiondb"
)

// origin is the wall clock of the records that the suite makes.
var origin = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// TunnelOf gives the n-th of a series of tunnels with everything set.
func TunnelOf(n int) sessiondb.Tunnel {
	return sessiondb.Tunnel{
		Key:        sessiondb.TunnelKey{Local: netip.MustParseAddrPort("192.0.2.1:1701"), ID: uint16(n)},
		Node:       Node,
		Peer:       netip.AddrPortFrom(addr4(203, n), 1701),
		PeerID:     uint16(n * 7),
		PeerName:   fmt.Sprintf("lac-%d", n),
		Profile:    "wholesale",
		PeerWindow: 16,
		Ns:         uint16(n), Nr: uint16(n + 1),
		Since: origin.Add(time.Duration(n) * time.Second),
		State: []byte{2, 0, 0xff, byte(n)},
	}
}

// SessionOf gives the n-th of a series of sessions with everything set, 1,000
// to a tunnel, no two with the same address.
func SessionOf(n int) sessiondb.Session {
	return sessiondb.Session{
		Key:            sessiondb.SessionKey{Tunnel: TunnelOf(1 + n/1000).Key, ID: uint16(1 + n%1000)},
		Node:           Node,
		PeerID:         uint16(n * 3),
		AcctSessionID:  fmt.Sprintf("%s-00000001-%08x", Node, n),
		User:           fmt.Sprintf("user%d@isp.example", n),
		Profile:        "wholesale",
		LAC:            netip.MustParseAddrPort("203.0.113.5:1701"),
		CallingStation: fmt.Sprintf("0203%06d", n), CalledStation: "isp.example",
		CallSerial: uint32(n),
		Address:    addr4(100, n),
		Routes:     []netip.Prefix{netip.PrefixFrom(addr4(10, n<<3), 29)},
		Since:      origin.Add(time.Duration(n) * time.Millisecond),
		State:      []byte{0, 1, 2, 0xff, byte(n)},
		InOctets:   uint64(n) * 1000, OutOctets: uint64(n) * 5000, InPackets: uint64(n), OutPackets: uint64(n) * 4,
		Updated: origin.Add(time.Hour),
	}
}

// CallOf gives the call of SessionOf(n).
func CallOf(n int) sessiondb.Call {
	s := SessionOf(n)
	return sessiondb.Call{Key: s.Key, Node: Node, PeerID: s.PeerID}
}

// EntryOf gives the n-th of a series of accounting entries; n begins with 1.
func EntryOf(n int) sessiondb.Entry {
	return sessiondb.Entry{Seq: uint64(n), Node: Node, Session: fmt.Sprintf("session-%d", n%5), Payload: fmt.Appendf(nil, `{"n":%d}`, n)}
}

func addr4(first byte, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{first, byte(n >> 16), byte(n >> 8), byte(n)})
}

func putTunnel(t sessiondb.Tunnel) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.PutTunnel, Tunnel: &t}
}

func dropTunnel(k sessiondb.TunnelKey) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.DropTunnel, Tunnel: &sessiondb.Tunnel{Key: k}}
}

func putSession(s sessiondb.Session) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.PutSession, Session: &s}
}

func dropSession(k sessiondb.SessionKey, at time.Time) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.DropSession, Session: &sessiondb.Session{Key: k},
		End: &sessiondb.End{At: at, Cause: "User-Request", InOctets: 1, OutOctets: 2, InPackets: 3, OutPackets: 4}}
}

func putCall(c sessiondb.Call) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.PutCall, Call: &c}
}

func dropCall(k sessiondb.SessionKey) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.DropCall, Call: &sessiondb.Call{Key: k}}
}

func putEntry(e sessiondb.Entry) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.PutEntry, Entry: &e}
}

func dropEntry(seq uint64) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.DropEntry, Entry: &sessiondb.Entry{Seq: seq}}
}

func putObject(kind, name, payload string) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.PutObject, Object: &sessiondb.Object{Kind: kind, Name: name, Payload: []byte(payload)}}
}

func dropObject(kind, name string) sessiondb.Change {
	return sessiondb.Change{Op: sessiondb.DropObject, Object: &sessiondb.Object{Kind: kind, Name: name}}
}
