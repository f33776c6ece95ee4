package ppp

import (
	"encoding/binary"
	"fmt"
)

// Code is the first octet of a control packet. Its meaning depends on the
// protocol: the Code constants are those of LCP and, up to Code-Reject,
// of the NCPs (RFC 1661 section 5).
type Code uint8

// The codes of LCP and the NCPs; the last two are from RFC 1570.
const (
	ConfigureRequest Code = 1
	ConfigureAck     Code = 2
	ConfigureNak     Code = 3
	ConfigureReject  Code = 4
	TerminateRequest Code = 5
	TerminateAck     Code = 6
	CodeReject       Code = 7
	ProtocolReject   Code = 8
	EchoRequest      Code = 9
	EchoReply        Code = 10
	DiscardRequest   Code = 11
	Identification   Code = 12
	TimeRemaining    Code = 13
)

// codeNames are the names in the RFCs.
var codeNames = [...]string{
	ConfigureRequest: "Configure-Request", ConfigureAck: "Configure-Ack", ConfigureNak: "Configure-Nak",
	ConfigureReject: "Configure-Reject", TerminateRequest: "Terminate-Request", TerminateAck: "Terminate-Ack",
	CodeReject: "Code-Reject", ProtocolReject: "Protocol-Reject", EchoRequest: "Echo-Request",
	EchoReply: "Echo-Reply", DiscardRequest: "Discard-Request", Identification: "Identification",
	TimeRemaining: "Time-Remaining",
}

// String gives the code's name for LCP and NCPs.
func (c Code) String() string {
	if c != 0 && int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("Code-%d", uint8(c))
}

// headerLen is the size of code, identifier and length.
const headerLen = 4

// Packet is one control packet of LCP, an NCP, PAP or CHAP.
type Packet struct {
	Code Code
	ID   uint8
	// Data is what follows the length, without padding.
	Data []byte
}

// ParsePacket splits a frame's information. Octets beyond the length field
// are padding and left out; Data aliases b. Errors wrap ErrPacket.
func ParsePacket(b []byte) (Packet, error) {
	if len(b) < headerLen {
		return Packet{}, fmt.Errorf("%w: %d octets", ErrPacket, len(b))
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < headerLen || n > len(b) {
		return Packet{}, fmt.Errorf("%w: length %d of %d octets", ErrPacket, n, len(b))
	}
	return Packet{Code: Code(b[0]), ID: b[1], Data: b[headerLen:n:n]}, nil
}

// BeginPacket appends a packet's header. Append the data, then give the
// whole slice and where the packet began to EndPacket.
func BeginPacket(dst []byte, code Code, id uint8) []byte {
	return append(dst, byte(code), id, 0, headerLen)
}

// EndPacket puts the length into the packet that begins at dst[start]. The
// packet has at most 65535 octets.
func EndPacket(dst []byte, start int) []byte {
	binary.BigEndian.PutUint16(dst[start+2:], uint16(len(dst)-start))
	return dst
}

// AppendPacket appends a whole packet. data has at most 65531 octets.
func AppendPacket(dst []byte, code Code, id uint8, data []byte) []byte {
	start := len(dst)
	dst = append(BeginPacket(dst, code, id), data...)
	return EndPacket(dst, start)
}
