package l2tp

import (
	"encoding/binary"
	"math/bits"
)

// LineAVP names one access-line attribute of RFC 5515 by its
// number under VendorDSLForum.
type LineAVP uint8

// The access-line AVPs (RFC 5515 section 5).
const (
	LineAgentCircuitID    LineAVP = 1
	LineAgentRemoteID     LineAVP = 2
	LineActualUp          LineAVP = 129 // Actual-Data-Rate-Upstream, bit/s
	LineActualDown        LineAVP = 130
	LineMinimumUp         LineAVP = 131
	LineMinimumDown       LineAVP = 132
	LineAttainableUp      LineAVP = 133
	LineAttainableDown    LineAVP = 134
	LineMaximumUp         LineAVP = 135
	LineMaximumDown       LineAVP = 136
	LineMinimumLowUp      LineAVP = 137 // Minimum-Data-Rate-Upstream-Low-Power
	LineMinimumLowDown    LineAVP = 138
	LineMaximumDelayUp    LineAVP = 139 // Maximum-Interleaving-Delay-Upstream, ms
	LineActualDelayUp     LineAVP = 140
	LineMaximumDelayDown  LineAVP = 141
	LineActualDelayDown   LineAVP = 142
	LineAccessLoop        LineAVP = 144 // Access-Loop-Encapsulation
	LineType              LineAVP = 145 // ANCP Access Line Type
	LineInterworking      LineAVP = 254 // IWF-Session
	lineFirst, lineLast           = LineActualUp, LineType
	lineRateLast                  = LineMinimumLowDown
	lineDelayFirst                = LineMaximumDelayUp
	lineDelayLast                 = LineActualDelayDown
	lineRates, lineDelays         = 10, 4
)

// AccessLine holds the access-line AVPs of RFC 5515: what the LAC knows of the
// subscriber's line. Rates are in bit/s, delays in milliseconds; up is from
// the subscriber.
type AccessLine struct {
	present uint32
	// AgentCircuitID and AgentRemoteID are opaque, up to 63 octets by the RFC,
	// longer in the field.
	AgentCircuitID []byte
	AgentRemoteID  []byte
	rates          [lineRates]uint64
	delays         [lineDelays]uint32
	// Encapsulation is data link, encapsulation 1 and encapsulation 2, an octet
	// each, as in RFC 5515.
	Encapsulation [3]byte
	// Type is the ANCP Access Line Type: 1 ADSL1, 2 ADSL2, 3 ADSL2+, 4 VDSL1,
	// 5 VDSL2, 6 SDSL, 7 unknown.
	Type uint32
	// Interworking says that PPPoA is turned to PPPoE on the way.
	Interworking bool
}

// Has reports whether the AVP is there. It may be asked of a nil AccessLine.
func (l *AccessLine) Has(a LineAVP) bool {
	return l != nil && l.present&lineBit(a) != 0
}

// Rate returns a rate in bit/s, or a delay in milliseconds, and whether it is
// there. It may be asked of a nil AccessLine.
func (l *AccessLine) Rate(a LineAVP) (uint64, bool) {
	switch {
	case !l.Has(a):
		return 0, false
	case a >= LineActualUp && a <= lineRateLast:
		return l.rates[a-LineActualUp], true
	case a >= lineDelayFirst && a <= lineDelayLast:
		return uint64(l.delays[a-lineDelayFirst]), true
	}
	return 0, false
}

// SetRate sets a rate in bit/s or a delay in milliseconds, to be encoded. It
// does nothing for an AVP that is neither.
func (l *AccessLine) SetRate(a LineAVP, v uint64) {
	switch {
	case a >= LineActualUp && a <= lineRateLast:
		l.rates[a-LineActualUp] = v
	case a >= lineDelayFirst && a <= lineDelayLast:
		l.delays[a-lineDelayFirst] = uint32(min(v, 1<<32-1))
	default:
		return
	}
	l.Set(a)
}

// Set marks AVPs whose fields the caller has filled in as there, so that they
// are encoded.
func (l *AccessLine) Set(avps ...LineAVP) {
	for _, a := range avps {
		l.present |= lineBit(a)
	}
}

// lineBit gives every known AVP its bit, and 0 to any other.
func lineBit(a LineAVP) uint32 {
	switch {
	case a == LineAgentCircuitID || a == LineAgentRemoteID:
		return 1 << a
	case a >= lineFirst && a <= lineLast && a != 143:
		return 1 << (a - lineFirst + 3)
	case a == LineInterworking:
		return 1 << 20
	}
	return 0
}

// set stores the value of an AVP that lineBit knows; the first of two counts.
// It reports whether the length is right. Rates have 8 octets; a LAC that sends
// 4 is understood.
func (l *AccessLine) set(a LineAVP, v []byte) bool {
	if l.Has(a) {
		return true
	}
	switch {
	case a == LineAgentCircuitID:
		l.AgentCircuitID = v
	case a == LineAgentRemoteID:
		l.AgentRemoteID = v
	case a == LineAccessLoop && len(v) == 3:
		l.Encapsulation = [3]byte(v)
	case a >= LineActualUp && a <= lineRateLast && len(v) == 8:
		l.rates[a-LineActualUp] = binary.BigEndian.Uint64(v)
	case len(v) == 4:
		return l.setNumber(a, binary.BigEndian.Uint32(v))
	default:
		return false
	}
	l.Set(a)
	return true
}

// setNumber stores the AVPs of 4 octets.
func (l *AccessLine) setNumber(a LineAVP, v uint32) bool {
	switch {
	case a >= LineActualUp && a <= lineRateLast:
		l.rates[a-LineActualUp] = uint64(v)
	case a >= lineDelayFirst && a <= lineDelayLast:
		l.delays[a-lineDelayFirst] = v
	case a == LineType:
		l.Type = v
	case a == LineInterworking:
		l.Interworking = v != 0
	default:
		return false
	}
	l.Set(a)
	return true
}

// append encodes the AVPs that are there. All of them are sent with the M bit
// clear and may be hidden (RFC 5515 section 5).
func (l *AccessLine) append(dst []byte, h hiding) []byte {
	for rest := l.present; rest != 0; rest &= rest - 1 {
		a := lineByBit[bits.TrailingZeros32(rest)]
		start := len(dst)
		dst = appendAVPHeader(dst, false, VendorDSLForum, uint16(a))
		dst = l.appendValue(dst, a)
		dst = h.finish(dst, start, true)
	}
	return dst
}

func (l *AccessLine) appendValue(dst []byte, a LineAVP) []byte {
	switch a {
	case LineAgentCircuitID:
		return append(dst, l.AgentCircuitID...)
	case LineAgentRemoteID:
		return append(dst, l.AgentRemoteID...)
	case LineAccessLoop:
		return append(dst, l.Encapsulation[:]...)
	case LineType:
		return binary.BigEndian.AppendUint32(dst, l.Type)
	case LineInterworking:
		return binary.BigEndian.AppendUint32(dst, uint32(bit(l.Interworking, 1)))
	}
	v, _ := l.Rate(a)
	if a >= lineDelayFirst {
		return binary.BigEndian.AppendUint32(dst, uint32(v))
	}
	return binary.BigEndian.AppendUint64(dst, v)
}

// lineAVPs are all that lineBit knows, in the order of their numbers.
var lineAVPs = [...]LineAVP{
	LineAgentCircuitID, LineAgentRemoteID,
	LineActualUp, LineActualDown, LineMinimumUp, LineMinimumDown, LineAttainableUp, LineAttainableDown,
	LineMaximumUp, LineMaximumDown, LineMinimumLowUp, LineMinimumLowDown,
	LineMaximumDelayUp, LineActualDelayUp, LineMaximumDelayDown, LineActualDelayDown,
	LineAccessLoop, LineType, LineInterworking,
}

// lineByBit has the AVP of each bit of lineBit; the bits are in the order of the numbers, too.
var lineByBit = func() (list [32]LineAVP) {
	for _, a := range lineAVPs {
		list[bits.TrailingZeros32(lineBit(a))] = a
	}
	return list
}()
