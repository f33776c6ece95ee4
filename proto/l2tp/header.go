package l2tp

import (
	"encoding/binary"
	"errors"
)

// Bits of the first two octets (RFC 2661 section 3.1).
const (
	flagType     = 0x8000
	flagLength   = 0x4000
	flagSequence = 0x0800
	flagOffset   = 0x0200
	flagPriority = 0x0100
	maskVersion  = 0x000f
	version2     = 2
)

// Port is L2TP's UDP port (RFC 2661 section 8.1).
const Port = 1701

// ControlHeaderSize is the size of every control header, and the whole of a
// ZLB, in octets.
const ControlHeaderSize = 12

// Errors of ParseHeader. A datagram with such a header is discarded (section
// 7.1 of RFC 2661): nothing in it can be trusted.
var (
	ErrShort        = errors.New("l2tp: datagram shorter than its header")
	ErrVersion      = errors.New("l2tp: not version 2")
	ErrLength       = errors.New("l2tp: length field does not fit the datagram")
	ErrControlFlags = errors.New("l2tp: control header without L and S, or with O or P")
)

// Header is the header of a control or data message (RFC 2661 section 3.1).
// The zero values of Length, Ns, Nr and Offset stand for fields that are not
// there.
type Header struct {
	// Control is the T bit. A control header has HasLength and HasSequence set
	// and HasOffset and Priority clear.
	Control     bool
	HasLength   bool
	HasSequence bool
	HasOffset   bool
	Priority    bool
	// Length is that of the whole message in octets, header included.
	Length    uint16
	TunnelID  uint16
	SessionID uint16
	Ns, Nr    uint16
	// Offset is the number of padding octets between header and payload.
	Offset uint16
}

// ParseHeader decodes the header of one datagram and returns what follows it,
// cut to the Length field where there is one. The payload aliases b. Reserved
// bits are ignored, as RFC 2661 section 3.1 wants.
func ParseHeader(b []byte) (h Header, payload []byte, err error) {
	if len(b) < 6 {
		return h, nil, ErrShort
	}
	flags := binary.BigEndian.Uint16(b)
	if flags&maskVersion != version2 {
		return h, nil, ErrVersion
	}
	h.Control = flags&flagType != 0
	h.HasLength = flags&flagLength != 0
	h.HasSequence = flags&flagSequence != 0
	h.HasOffset = flags&flagOffset != 0
	h.Priority = flags&flagPriority != 0
	if h.Control && (!h.HasLength || !h.HasSequence || h.HasOffset || h.Priority) {
		return h, nil, ErrControlFlags
	}
	size := h.Size()
	if len(b) < size {
		return h, nil, ErrShort
	}
	end := h.fields(b)
	size += int(h.Offset)
	if h.HasLength {
		end = int(h.Length)
	}
	if end > len(b) || end < size {
		return h, nil, ErrLength
	}
	return h, b[size:end:end], nil
}

// fields reads what follows the flags, which Size has checked to be there, and
// returns the length of b.
func (h *Header) fields(b []byte) int {
	p := b[2:]
	if h.HasLength {
		h.Length = binary.BigEndian.Uint16(p)
		p = p[2:]
	}
	h.TunnelID = binary.BigEndian.Uint16(p)
	h.SessionID = binary.BigEndian.Uint16(p[2:])
	p = p[4:]
	if h.HasSequence {
		h.Ns = binary.BigEndian.Uint16(p)
		h.Nr = binary.BigEndian.Uint16(p[2:])
		p = p[4:]
	}
	if h.HasOffset {
		h.Offset = binary.BigEndian.Uint16(p)
	}
	return len(b)
}

// Size returns the number of octets of the header in this form, without the
// offset padding.
func (h Header) Size() int {
	n := 6
	if h.HasLength {
		n += 2
	}
	if h.HasSequence {
		n += 4
	}
	if h.HasOffset {
		n += 2
	}
	return n
}

// Append encodes the header, and Offset octets of zero padding where HasOffset
// is set. It corrects nothing: Length is written as it stands (see PutLength),
// and the caller answers for the flags.
func (h Header) Append(dst []byte) []byte {
	flags := uint16(version2)
	flags |= bit(h.Control, flagType) | bit(h.HasLength, flagLength) | bit(h.HasSequence, flagSequence)
	flags |= bit(h.HasOffset, flagOffset) | bit(h.Priority, flagPriority)
	dst = binary.BigEndian.AppendUint16(dst, flags)
	if h.HasLength {
		dst = binary.BigEndian.AppendUint16(dst, h.Length)
	}
	dst = binary.BigEndian.AppendUint16(dst, h.TunnelID)
	dst = binary.BigEndian.AppendUint16(dst, h.SessionID)
	if h.HasSequence {
		dst = binary.BigEndian.AppendUint16(dst, h.Ns)
		dst = binary.BigEndian.AppendUint16(dst, h.Nr)
	}
	if h.HasOffset {
		dst = binary.BigEndian.AppendUint16(dst, h.Offset)
		dst = append(dst, make([]byte, h.Offset)...)
	}
	return dst
}

// ControlHeader returns a header of the form all control messages have. Its
// Length is that of a ZLB.
func ControlHeader(tunnelID, sessionID, ns, nr uint16) Header {
	return Header{
		Control: true, HasLength: true, HasSequence: true,
		Length: ControlHeaderSize, TunnelID: tunnelID, SessionID: sessionID, Ns: ns, Nr: nr,
	}
}

// PutLength writes the length of packet into its Length field. The packet
// starts with a header that has one, and is no longer than 65,535 octets.
func PutLength(packet []byte) {
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
}

func bit(on bool, mask uint16) uint16 {
	if on {
		return mask
	}
	return 0
}
