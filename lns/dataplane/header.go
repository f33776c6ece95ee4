package dataplane

import "encoding/binary"

// PPP protocol numbers and the HDLC prefix (RFC 1661 section 2, RFC 1662 section 3.1).
const (
	pppIPv4 = 0x0021

	pppAddress = 0xff
	pppControl = 0x03
)

// pppProtocol returns the protocol of a PPP frame and where its information
// begins, in any of the forms that address-and-control and protocol-field compression
// allow; or false if the frame is too short. A sender may use the long forms whatever
// was negotiated (RFC 1661 sections 6.5 and 6.6).
func pppProtocol(b []byte) (protocol uint16, at int, ok bool) {
	if len(b) >= 2 && b[0] == pppAddress && b[1] == pppControl {
		at = 2
	}
	if len(b) > at && b[at]&1 == 1 {
		return uint16(b[at]), at + 1, true
	}
	if len(b) < at+2 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(b[at:]), at + 2, true
}

// putHeader writes the L2TP and PPP headers of a data message to the
// subscriber so that they end at end, and returns where they begin. There are at least
// Headroom octets before end.
func (s *session) putHeader(buf []byte, end int) int {
	const (
		version     = 0x0002
		hasSequence = 0x0800
	)
	flags := s.host.Load()
	at := end
	if flags&flagCompress != 0 {
		at--
		buf[at] = pppIPv4
	} else {
		at -= 2
		binary.BigEndian.PutUint16(buf[at:], pppIPv4)
	}
	if flags&flagAddress != 0 {
		at -= 2
		buf[at], buf[at+1] = pppAddress, pppControl
	}
	bits := uint16(version)
	if flags&flagSequence != 0 {
		// The flag and the numbering are two words: it may not be there yet.
		if q := s.sequence.Load(); q != nil && q.Numbered() {
			// Nr is reserved in data messages (RFC 2661 section 3.1).
			at -= 4
			binary.BigEndian.PutUint32(buf[at:], uint32(q.Take())<<16)
			bits |= hasSequence
		}
	}
	at -= 6
	binary.BigEndian.PutUint16(buf[at:], bits)
	binary.BigEndian.PutUint32(buf[at+2:], uint32(s.ids.Load()>>32))
	return at
}
