package ppp

import "fmt"

// The codes of PAP (RFC 1334 section 2.2).
const (
	PAPRequest Code = 1
	PAPAck     Code = 2
	PAPNak     Code = 3
)

// The codes of CHAP (RFC 1994 section 4).
const (
	CHAPChallenge Code = 1
	CHAPResponse  Code = 2
	CHAPSuccess   Code = 3
	CHAPFailure   Code = 4
)

// ParsePAPRequest splits an Authenticate-Request's data into name and
// password, which alias it. Octets behind the password are ignored. Errors wrap ErrPacket.
func ParsePAPRequest(data []byte) (user, password []byte, err error) {
	user, rest, ok := lengthPrefixed(data)
	if ok {
		password, _, ok = lengthPrefixed(rest)
	}
	if !ok {
		return nil, nil, fmt.Errorf("%w: Authenticate-Request with %d octets", ErrPacket, len(data))
	}
	return user, password, nil
}

// AppendPAPRequest appends an Authenticate-Request. Name and password have at
// most 255 octets each.
func AppendPAPRequest(dst []byte, id uint8, user, password string) []byte {
	start := len(dst)
	dst = BeginPacket(dst, PAPRequest, id)
	dst = append(append(dst, byte(len(user))), user...)
	dst = append(append(dst, byte(len(password))), password...)
	return EndPacket(dst, start)
}

// ParsePAPMessage gives the message of an Authenticate-Ack or -Nak. Peers
// are known to send none at all, without even its length.
func ParsePAPMessage(data []byte) []byte {
	msg, _, _ := lengthPrefixed(data)
	return msg
}

// AppendPAPReply appends an Authenticate-Ack or -Nak; a message of more than
// 255 octets is cut.
func AppendPAPReply(dst []byte, code Code, id uint8, message string) []byte {
	start := len(dst)
	message = message[:min(len(message), 255)]
	dst = append(BeginPacket(dst, code, id), byte(len(message)))
	return EndPacket(append(dst, message...), start)
}

// ParseCHAPValue splits a Challenge's or Response's data into value and
// name, which alias it. The value has at least one octet. Errors wrap ErrPacket.
func ParseCHAPValue(data []byte) (value, name []byte, err error) {
	value, name, ok := lengthPrefixed(data)
	if !ok || len(value) == 0 {
		return nil, nil, fmt.Errorf("%w: CHAP value in %d octets", ErrPacket, len(data))
	}
	return value, name, nil
}

// AppendCHAPValue appends a Challenge or Response. value has 1 to 255 octets.
func AppendCHAPValue(dst []byte, code Code, id uint8, value []byte, name string) []byte {
	start := len(dst)
	dst = append(append(BeginPacket(dst, code, id), byte(len(value))), value...)
	return EndPacket(append(dst, name...), start)
}

// AppendCHAPReply appends a Success or Failure, whose data is the message.
func AppendCHAPReply(dst []byte, code Code, id uint8, message string) []byte {
	start := len(dst)
	return EndPacket(append(BeginPacket(dst, code, id), message...), start)
}

// lengthPrefixed takes off b one octet of length and so many octets.
func lengthPrefixed(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n:n], b[n:], true
}
