package ppp

import (
	"encoding/binary"
	"fmt"
)

// ParseMagic splits the data of Echo-Request, Echo-Reply, Discard-Request
// and Identification (RFC 1661 sections 5.8 and 5.9, RFC 1570 section 2.1)
// into magic number and the rest; and of Time-Remaining, whose rest is
// seconds and a message. Errors wrap ErrPacket.
func ParseMagic(data []byte) (magic uint32, rest []byte, err error) {
	if len(data) < 4 {
		return 0, nil, fmt.Errorf("%w: no magic number in %d octets", ErrPacket, len(data))
	}
	return binary.BigEndian.Uint32(data), data[4:], nil
}

// AppendMagic appends one of the packets of ParseMagic.
func AppendMagic(dst []byte, code Code, id uint8, magic uint32, rest []byte) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(BeginPacket(dst, code, id), magic)
	return EndPacket(append(dst, rest...), start)
}

// ParseTimeRemaining splits the data of a Time-Remaining (RFC 1570 section
// 2.2): seconds that the link may live, or all ones for ever, and a message.
func ParseTimeRemaining(data []byte) (magic, seconds uint32, message []byte, err error) {
	magic, rest, err := ParseMagic(data)
	if err != nil || len(rest) < 4 {
		return 0, 0, nil, fmt.Errorf("%w: Time-Remaining with %d octets", ErrPacket, len(data))
	}
	return magic, binary.BigEndian.Uint32(rest), rest[4:], nil
}

// ParseProtocolReject splits the data of a Protocol-Reject (RFC 1661 section
// 5.7) into the rejected protocol and its information. Errors wrap ErrPacket.
func ParseProtocolReject(data []byte) (Protocol, []byte, error) {
	if len(data) < 2 {
		return 0, nil, fmt.Errorf("%w: Protocol-Reject with %d octets", ErrPacket, len(data))
	}
	return Protocol(binary.BigEndian.Uint16(data)), data[2:], nil
}

// AppendProtocolReject appends a Protocol-Reject of a frame's protocol and
// information, cut so that the packet is no longer than the peer's mru in octets.
func AppendProtocolReject(dst []byte, id uint8, p Protocol, info []byte, mru int) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint16(BeginPacket(dst, ProtocolReject, id), uint16(p))
	return EndPacket(append(dst, cut(info, mru-headerLen-2)...), start)
}

// AppendCodeReject appends a Code-Reject of a packet, cut so that the whole
// is no longer than the peer's mru in octets (RFC 1661 section 5.6).
func AppendCodeReject(dst []byte, id uint8, rejected Packet, mru int) []byte {
	start := len(dst)
	dst = BeginPacket(dst, CodeReject, id)
	data := cut(rejected.Data, mru-2*headerLen)
	// The length field says how long the packet was, not the copy.
	dst = append(dst, byte(rejected.Code), rejected.ID)
	dst = binary.BigEndian.AppendUint16(dst, uint16(headerLen+len(rejected.Data)))
	return EndPacket(append(dst, data...), start)
}

// cut is b with at most n octets, and none where n is negative.
func cut(b []byte, n int) []byte { return b[:min(len(b), max(n, 0))] }
