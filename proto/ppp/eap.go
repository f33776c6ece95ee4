package ppp

import (
	"encoding/binary"
	"fmt"
)

// The codes of EAP (RFC 3748 section 4).
const (
	EAPRequest  Code = 1
	EAPResponse Code = 2
	EAPSuccess  Code = 3
	EAPFailure  Code = 4
)

// EAPType is the Type of a Request or Response (RFC 3748 section 5, numbers by IANA).
type EAPType uint8

// The types that an authenticator who passes EAP through has to know, and those
// that Culvert's own subscriber speaks.
const (
	EAPIdentity     EAPType = 1
	EAPNotification EAPType = 2
	EAPNak          EAPType = 3
	EAPMD5          EAPType = 4
	EAPTLS          EAPType = 13
	EAPMSCHAPv2     EAPType = 26
	EAPExpanded     EAPType = 254
)

// eapTypeNames are the types' names for logs and transcripts.
var eapTypeNames = map[EAPType]string{
	EAPIdentity: "Identity", EAPNotification: "Notification", EAPNak: "Nak",
	EAPMD5: "MD5-Challenge", EAPTLS: "TLS", EAPMSCHAPv2: "MS-CHAPv2", EAPExpanded: "Expanded",
}

// String gives the type's name, or its number as "type 21".
func (t EAPType) String() string {
	if s, ok := eapTypeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// EAP is one EAP packet. Its slices alias what was parsed.
type EAP struct {
	Code Code
	ID   uint8
	// Type and Data are those of a Request or Response.
	Type EAPType
	Data []byte
	// Packet is the whole packet, without what follows its Length: what an
	// authenticator passes on.
	Packet []byte
}

// The shortest packets: a Success or Failure, and a Request or Response.
const (
	eapHeader = 4
	eapTyped  = eapHeader + 1
)

// ParseEAP decodes an EAP packet and checks all that an authenticator who passes
// it on has to (RFC 3579 section 2.2): Code, Identifier and Length. Octets behind
// Length are padding of the link and ignored (RFC 3748 section 4). Errors wrap ErrPacket.
func ParseEAP(b []byte) (EAP, error) {
	if len(b) < eapHeader {
		return EAP{}, fmt.Errorf("%w: EAP packet with %d octets", ErrPacket, len(b))
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < eapHeader || n > len(b) {
		return EAP{}, fmt.Errorf("%w: EAP Length %d with %d octets", ErrPacket, n, len(b))
	}
	p := EAP{Code: Code(b[0]), ID: b[1], Packet: b[:n:n]}
	switch p.Code {
	case EAPRequest, EAPResponse:
		if n < eapTyped {
			return EAP{}, fmt.Errorf("%w: EAP %s without Type", ErrPacket, EAPCodeName(p.Code))
		}
		p.Type, p.Data = EAPType(b[4]), b[eapTyped:n:n]
	case EAPSuccess, EAPFailure:
		if n != eapHeader {
			return EAP{}, fmt.Errorf("%w: EAP %s with %d octets of data", ErrPacket, EAPCodeName(p.Code), n-eapHeader)
		}
	default:
		return EAP{}, fmt.Errorf("%w: EAP Code %d", ErrPacket, uint8(p.Code))
	}
	return p, nil
}

// EAPCodeName is the name of one of EAP's codes, whose numbers mean something
// else in LCP.
func EAPCodeName(c Code) string {
	switch c {
	case EAPRequest:
		return "Request"
	case EAPResponse:
		return "Response"
	case EAPSuccess:
		return "Success"
	case EAPFailure:
		return "Failure"
	}
	return fmt.Sprintf("Code %d", uint8(c))
}

// AppendEAP appends a Request or Response. data has at most 65,530 octets.
func AppendEAP(dst []byte, code Code, id uint8, t EAPType, data []byte) []byte {
	start := len(dst)
	dst = append(BeginPacket(dst, code, id), byte(t))
	return EndPacket(append(dst, data...), start)
}

// AppendEAPResult appends a Success or Failure.
func AppendEAPResult(dst []byte, code Code, id uint8) []byte {
	start := len(dst)
	return EndPacket(BeginPacket(dst, code, id), start)
}
