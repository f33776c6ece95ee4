package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"culvert/sessiondb"
)

// Keys are one byte for the kind of record and then the record's key, so
// encoded that the order of the bytes is the order of the readers.
const (
	prefixCall    = 'c'
	prefixEntry   = 'e'
	prefixObject  = 'o'
	prefixSession = 's'
	prefixTunnel  = 't'
)

// appendTunnelKey writes the address family, address, port and id.
func appendTunnelKey(b []byte, k sessiondb.TunnelKey) []byte {
	a := k.Local.Addr()
	if a.Is4() {
		v := a.As4()
		b = append(append(b, 4), v[:]...)
	} else {
		v := a.As16()
		b = append(append(b, 6), v[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, k.Local.Port())
	return binary.BigEndian.AppendUint16(b, k.ID)
}

func appendSessionKey(b []byte, k sessiondb.SessionKey) []byte {
	return binary.BigEndian.AppendUint16(appendTunnelKey(b, k.Tunnel), k.ID)
}

// appendObjectKey relies on kinds without a zero byte.
func appendObjectKey(b []byte, kind, name string) []byte {
	return append(append(append(b, kind...), 0), name...)
}

func badKey(key []byte) error {
	return fmt.Errorf("%w: impossible key %x", sessiondb.ErrCorrupt, key)
}

// parseTunnelKey takes the key from the front of b.
func parseTunnelKey(b []byte) (k sessiondb.TunnelKey, rest []byte, err error) {
	if len(b) == 0 || b[0] != 4 && b[0] != 6 {
		return k, nil, badKey(b)
	}
	size := 4
	if b[0] == 6 {
		size = 16
	}
	if len(b) < 1+size+4 {
		return k, nil, badKey(b)
	}
	addr, _ := netip.AddrFromSlice(b[1 : 1+size])
	tail := b[1+size:]
	k.Local = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(tail))
	k.ID = binary.BigEndian.Uint16(tail[2:])
	return k, tail[4:], nil
}

func parseSessionKey(b []byte) (k sessiondb.SessionKey, err error) {
	var rest []byte
	if k.Tunnel, rest, err = parseTunnelKey(b); err != nil {
		return k, err
	}
	if len(rest) != 2 {
		return k, badKey(b)
	}
	k.ID = binary.BigEndian.Uint16(rest)
	return k, nil
}

func parseEntryKey(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, badKey(b)
	}
	return binary.BigEndian.Uint64(b), nil
}

func parseObjectKey(b []byte) (kind, name string, err error) {
	k, n, ok := bytes.Cut(b, []byte{0})
	if !ok {
		return "", "", badKey(b)
	}
	return string(k), string(n), nil
}
