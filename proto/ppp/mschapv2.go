package ppp

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// MSCHAPv2ResponseLen is the size of an MS-CHAPv2 Response's value.
const MSCHAPv2ResponseLen = 49

// MSCHAPv2Response is the value of a Response (RFC 2759 section 4).
type MSCHAPv2Response struct {
	PeerChallenge [16]byte
	NTResponse    [24]byte
	// Flags is zero in all that conforms.
	Flags uint8
}

// ParseMSCHAPv2Response decodes a Response's value. The eight reserved
// octets may have any value. Errors wrap ErrPacket.
func ParseMSCHAPv2Response(value []byte) (MSCHAPv2Response, error) {
	var r MSCHAPv2Response
	if len(value) != MSCHAPv2ResponseLen {
		return r, fmt.Errorf("%w: MS-CHAPv2 response with %d octets", ErrPacket, len(value))
	}
	copy(r.PeerChallenge[:], value)
	copy(r.NTResponse[:], value[24:])
	r.Flags = value[48]
	return r, nil
}

// Append appends the 49 octets of the value.
func (r *MSCHAPv2Response) Append(dst []byte) []byte {
	dst = append(dst, r.PeerChallenge[:]...)
	dst = append(dst, make([]byte, 8)...)
	dst = append(dst, r.NTResponse[:]...)
	return append(dst, r.Flags)
}

// MSCHAPError is what a Failure's message says (RFC 2759 section 6).
type MSCHAPError struct {
	// Code is the E: 691 is a wrong name or password.
	Code int
	// Retry says that the peer may try again, with Challenge where it is not empty.
	Retry     bool
	Challenge []byte
	Message   string
}

// MSCHAPAuthenticationFailure is the E of a wrong name or password.
const MSCHAPAuthenticationFailure = 691

// String gives the text on the wire: "E=691 R=0 C=... V=3 M=...".
func (e *MSCHAPError) String() string {
	retry := 0
	if e.Retry {
		retry = 1
	}
	s := fmt.Sprintf("E=%d R=%d", e.Code, retry)
	if len(e.Challenge) > 0 {
		s += " C=" + strings.ToUpper(hex.EncodeToString(e.Challenge))
	}
	return s + " V=3 M=" + e.Message
}

// ParseMSCHAPError reads a Failure's message. Unknown fields are skipped;
// errors wrap ErrPacket and say which field is bad.
func ParseMSCHAPError(message string) (MSCHAPError, error) {
	var e MSCHAPError
	head, msg, _ := strings.Cut(message, "M=")
	e.Message = msg
	found := false
	for _, field := range strings.Fields(head) {
		var err error
		switch key, value, _ := strings.Cut(field, "="); key {
		case "E":
			found = true
			e.Code, err = strconv.Atoi(value)
		case "R":
			e.Retry = value == "1"
		case "C":
			e.Challenge, err = hex.DecodeString(value)
		}
		if err != nil {
			return MSCHAPError{}, fmt.Errorf("%w: MS-CHAP failure field %q", ErrPacket, field)
		}
	}
	if !found {
		return MSCHAPError{}, fmt.Errorf("%w: MS-CHAP failure without E=", ErrPacket)
	}
	return e, nil
}
