package aaa

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// Line is what a LAC tells of the subscriber's access line (RFC 5515), for
// RADIUS (RFC 4679). Like the Identity that points to it, it is immutable.
type Line struct {
	// CircuitID and RemoteID are Agent-Circuit-Id and Agent-Remote-Id, as they came: any
	// octets, up to 63 of them by the RFC.
	CircuitID, RemoteID string
	// Values are the numbers, in the order of their types.
	Values []LineValue
	// Encapsulation is Access-Loop-Encapsulation as in RFC 5515: data link (0 AAL5, 1 Ethernet) and
	// two encapsulations, an octet each; nil where it was not told.
	Encapsulation *[3]byte
	// Interworking says that PPPoA is turned into PPPoE on the way (IWF-Session).
	Interworking bool
}

// LineValue is one number of a Line.
type LineValue struct {
	Type LineType
	// Value is a rate in bit/s, or a delay in milliseconds.
	Value uint64
}

// LineType names a number of a Line by its type under vendor 3561, which RFC 4679 and RFC
// 5515 have in common.
type LineType uint8

// LineAccessType is the ANCP Access Line Type (RFC 5515 section 5.17), which RADIUS has no attribute for.
const LineAccessType LineType = 145

var lineNames = map[LineType]string{
	129: "Actual-Data-Rate-Upstream", 130: "Actual-Data-Rate-Downstream",
	131: "Minimum-Data-Rate-Upstream", 132: "Minimum-Data-Rate-Downstream",
	133: "Attainable-Data-Rate-Upstream", 134: "Attainable-Data-Rate-Downstream",
	135: "Maximum-Data-Rate-Upstream", 136: "Maximum-Data-Rate-Downstream",
	137: "Minimum-Data-Rate-Upstream-Low-Power", 138: "Minimum-Data-Rate-Downstream-Low-Power",
	139: "Maximum-Interleaving-Delay-Upstream", 140: "Actual-Interleaving-Delay-Upstream",
	141: "Maximum-Interleaving-Delay-Downstream", 142: "Actual-Interleaving-Delay-Downstream",
	LineAccessType: "Access-Line-Type",
}

// String is the name in RFC 4679, or the number.
func (t LineType) String() string {
	if s := lineNames[t]; s != "" {
		return s
	}
	return strconv.Itoa(int(t))
}

// AppendLine appends l in the form that ParseLine reads: two strings with their
// lengths, flags, encapsulation, and a type and value for each number.
func AppendLine(dst []byte, l *Line) []byte {
	for _, s := range [...]string{l.CircuitID, l.RemoteID} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	var flags byte
	if l.Interworking {
		flags |= lineInterworking
	}
	if l.Encapsulation != nil {
		flags |= lineEncapsulation
	}
	dst = append(dst, flags)
	if l.Encapsulation != nil {
		dst = append(dst, l.Encapsulation[:]...)
	}
	for _, v := range l.Values {
		dst = binary.AppendUvarint(append(dst, byte(v.Type)), v.Value)
	}
	return dst
}

const (
	lineInterworking = 1 << iota
	lineEncapsulation
)

// errLine is what ParseLine says of what it cannot read.
var errLine = fmt.Errorf("%w: access line", ErrUsage)

// ParseLine reads what AppendLine wrote. Errors are ErrUsage.
func ParseLine(b string) (*Line, error) {
	l := &Line{}
	for _, s := range [...]*string{&l.CircuitID, &l.RemoteID} {
		n, used := uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return nil, errLine
		}
		*s, b = b[used:used+int(n)], b[used+int(n):]
	}
	if len(b) == 0 {
		return nil, errLine
	}
	flags := b[0]
	b = b[1:]
	l.Interworking = flags&lineInterworking != 0
	if flags&lineEncapsulation != 0 {
		if len(b) < 3 {
			return nil, errLine
		}
		l.Encapsulation = (*[3]byte)([]byte(b[:3]))
		b = b[3:]
	}
	for len(b) > 0 {
		v, used := uvarint(b[1:])
		if used <= 0 {
			return nil, errLine
		}
		l.Values = append(l.Values, LineValue{LineType(b[0]), v})
		b = b[1+used:]
	}
	return l, nil
}

// uvarint is binary.Uvarint for a string.
func uvarint(s string) (uint64, int) {
	return binary.Uvarint([]byte(s[:min(len(s), binary.MaxVarintLen64)]))
}
