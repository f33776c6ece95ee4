package journal

import (
	"math"
	"net/netip"

	"culvert/sessiondb"
)

// appendTunnel encodes all of t but its key.
func appendTunnel(b []byte, t *sessiondb.Tunnel) []byte {
	b = append(b, version)
	b = appendBytes(b, 1, t.Node)
	b = appendAddrPort(b, 2, t.Peer)
	b = appendUint(b, 3, uint64(t.PeerID))
	b = appendBytes(b, 4, t.PeerName)
	b = appendBytes(b, 5, t.Profile)
	b = appendUint(b, 6, uint64(t.PeerWindow))
	b = appendUint(b, 7, uint64(t.Ns))
	b = appendUint(b, 8, uint64(t.Nr))
	b = appendTime(b, 9, t.Since)
	return appendBytes(b, 10, t.State)
}

// decodeTunnel sets all of t but its key. It keeps nothing of record.
func decodeTunnel(record []byte, t *sessiondb.Tunnel) error {
	r := newReader(record)
	for r.next() {
		switch r.num {
		case 1:
			t.Node = r.text()
		case 2:
			r.binary(&t.Peer)
		case 3:
			t.PeerID = uint16(r.uint(math.MaxUint16))
		case 4:
			t.PeerName = r.text()
		case 5:
			t.Profile = r.text()
		case 6:
			t.PeerWindow = uint16(r.uint(math.MaxUint16))
		case 7:
			t.Ns = uint16(r.uint(math.MaxUint16))
		case 8:
			t.Nr = uint16(r.uint(math.MaxUint16))
		case 9:
			t.Since = r.time()
		case 10:
			t.State = append([]byte(nil), r.bytes()...)
		}
	}
	return r.err
}

// appendCall encodes all of c but its key.
func appendCall(b []byte, c *sessiondb.Call) []byte {
	b = appendBytes(append(b, version), 1, c.Node)
	return appendUint(b, 2, uint64(c.PeerID))
}

// decodeCall sets all of c but its key. It keeps nothing of record.
func decodeCall(record []byte, c *sessiondb.Call) error {
	r := newReader(record)
	for r.next() {
		switch r.num {
		case 1:
			c.Node = r.text()
		case 2:
			c.PeerID = uint16(r.uint(math.MaxUint16))
		}
	}
	return r.err
}

// appendSession encodes all of s but its key.
func appendSession(b []byte, s *sessiondb.Session) []byte {
	b = append(b, version)
	b = appendBytes(b, 1, s.Node)
	b = appendUint(b, 2, uint64(s.PeerID))
	b = appendBytes(b, 3, s.AcctSessionID)
	b = appendBytes(b, 4, s.User)
	b = appendBytes(b, 5, s.Profile)
	b = appendAddrPort(b, 6, s.LAC)
	b = appendBytes(b, 7, s.CallingStation)
	b = appendBytes(b, 8, s.CalledStation)
	b = appendUint(b, 9, uint64(s.CallSerial))
	b = appendAddr(b, 10, s.Address)
	for _, p := range s.Routes {
		b = appendPrefix(b, 11, p)
	}
	b = appendTime(b, 12, s.Since)
	b = appendBytes(b, 13, s.State)
	b = appendUint(b, 14, s.InOctets)
	b = appendUint(b, 15, s.OutOctets)
	b = appendUint(b, 16, s.InPackets)
	b = appendUint(b, 17, s.OutPackets)
	return appendTime(b, 18, s.Updated)
}

// decodeSession sets all of s but its key. It keeps nothing of record.
func decodeSession(record []byte, s *sessiondb.Session) error {
	r := newReader(record)
	for r.next() {
		switch {
		case r.num <= 9:
			decodeIdentity(&r, s)
		default:
			decodeService(&r, s)
		}
	}
	return r.err
}

func decodeIdentity(r *reader, s *sessiondb.Session) {
	switch r.num {
	case 1:
		s.Node = r.text()
	case 2:
		s.PeerID = uint16(r.uint(math.MaxUint16))
	case 3:
		s.AcctSessionID = r.text()
	case 4:
		s.User = r.text()
	case 5:
		s.Profile = r.text()
	case 6:
		r.binary(&s.LAC)
	case 7:
		s.CallingStation = r.text()
	case 8:
		s.CalledStation = r.text()
	case 9:
		s.CallSerial = uint32(r.uint(math.MaxUint32))
	}
}

func decodeService(r *reader, s *sessiondb.Session) {
	switch r.num {
	case 10:
		r.binary(&s.Address)
	case 11:
		var p netip.Prefix
		r.binary(&p)
		if !p.IsValid() {
			r.fail("is not the prefix it should be")
		}
		s.Routes = append(s.Routes, p.Masked())
	case 12:
		s.Since = r.time()
	case 13:
		s.State = append([]byte(nil), r.bytes()...)
	case 14:
		s.InOctets = r.uint(math.MaxUint64)
	case 15:
		s.OutOctets = r.uint(math.MaxUint64)
	case 16:
		s.InPackets = r.uint(math.MaxUint64)
	case 17:
		s.OutPackets = r.uint(math.MaxUint64)
	case 18:
		s.Updated = r.time()
	}
}

// appendEntry encodes all of e but its number.
func appendEntry(b []byte, e *sessiondb.Entry) []byte {
	b = append(b, version)
	b = appendBytes(b, 1, e.Node)
	b = appendBytes(b, 2, e.Session)
	return appendBytes(b, 3, e.Payload)
}

// decodeEntry sets all of e but its number. It keeps nothing of record.
func decodeEntry(record []byte, e *sessiondb.Entry) error {
	r := newReader(record)
	for r.next() {
		switch r.num {
		case 1:
			e.Node = r.text()
		case 2:
			e.Session = r.text()
		case 3:
			e.Payload = append([]byte(nil), r.bytes()...)
		}
	}
	return r.err
}

// appendObject encodes the payload of o.
func appendObject(b []byte, o *sessiondb.Object) []byte {
	return appendBytes(append(b, version), 1, o.Payload)
}

// decodeObject sets the payload of o. It keeps nothing of record.
func decodeObject(record []byte, o *sessiondb.Object) error {
	r := newReader(record)
	for r.next() {
		if r.num == 1 {
			o.Payload = append([]byte(nil), r.bytes()...)
		}
	}
	return r.err
}
