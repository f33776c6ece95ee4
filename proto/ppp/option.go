package ppp

import (
	"encoding/binary"
	"fmt"
)

// Option is one Configuration Option (RFC 1661 section 6).
type Option struct {
	Type uint8
	// Value is what follows the length octet.
	Value []byte
}

// NextOption takes the first option off b, which is not empty, and returns
// the rest. Value aliases b. An option whose length does not fit is an
// error that wraps ErrOption.
func NextOption(b []byte) (o Option, rest []byte, err error) {
	if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
		return Option{}, nil, fmt.Errorf("%w: %d octets left", ErrOption, len(b))
	}
	n := int(b[1])
	return Option{Type: b[0], Value: b[2:n:n]}, b[n:], nil
}

// CheckOptions reports whether b is a sequence of whole options. Errors wrap ErrOption.
func CheckOptions(b []byte) error {
	return setAll(b, func(Option) error { return nil })
}

// setAll gives each option to set, until one is malformed or refused.
func setAll(b []byte, set func(Option) error) error {
	for len(b) > 0 {
		o, rest, err := NextOption(b)
		if err != nil {
			return err
		}
		if err := set(o); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// AppendOption appends one option. value has at most 253 octets.
func AppendOption(dst []byte, typ uint8, value []byte) []byte {
	return append(append(dst, typ, byte(2+len(value))), value...)
}

// appendOption16 appends an option with a 16-bit value.
func appendOption16(dst []byte, typ uint8, v uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, typ, 4), v)
}

// appendOption32 appends an option with a 32-bit value.
func appendOption32(dst []byte, typ uint8, v uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, typ, 6), v)
}
