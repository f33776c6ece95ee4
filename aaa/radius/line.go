package radius

import (
	"encoding/binary"

	"culvert/aaa"
)

// Attributes of the DSL Forum, vendor 3561 (RFC 4679 section 3.3). The numbers between
// are those of aaa.LineType.
const (
	dslCircuitID     = 1
	dslRemoteID      = 2
	dslFirstValue    = 129
	dslLastValue     = 142
	dslEncapsulation = 144
	dslInterworking  = 254
)

// maxLineText is how long Agent-Circuit-Id and Agent-Remote-Id may be in RADIUS: what a
// Vendor-Specific attribute has room for. The RFC says 63 octets, the field has more.
const maxLineText = maxValue - 6

// accessLine appends what the LAC tells of the access line. RADIUS counts rates in 32
// bits: what is more is told as the most that they hold.
func (e *encoder) accessLine(l *aaa.Line) {
	if l == nil {
		return
	}
	if l.CircuitID != "" {
		e.vendor(vendorDSLForum, dslCircuitID, []byte(l.CircuitID[:min(len(l.CircuitID), maxLineText)]))
	}
	if l.RemoteID != "" {
		e.vendor(vendorDSLForum, dslRemoteID, []byte(l.RemoteID[:min(len(l.RemoteID), maxLineText)]))
	}
	for _, v := range l.Values {
		if v.Type >= dslFirstValue && v.Type <= dslLastValue {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], uint32(min(v.Value, 1<<32-1)))
			e.vendor(vendorDSLForum, byte(v.Type), b[:])
		}
	}
	if l.Encapsulation != nil {
		b := *l.Encapsulation
		if b[0] <= 1 {
			b[0]++ // AAL5 and Ethernet are 0 and 1 in RFC 5515, but 1 and 2 in RFC 4679
		}
		e.vendor(vendorDSLForum, dslEncapsulation, b[:])
	}
	if l.Interworking {
		e.vendor(vendorDSLForum, dslInterworking, nil)
	}
}
