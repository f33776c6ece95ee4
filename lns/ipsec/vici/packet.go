package vici

import (
	"encoding/binary"
	"fmt"
	"io"
)

// packetType is a packet's first octet.
type packetType uint8

// The types of packets.
const (
	cmdRequest      packetType = 0
	cmdResponse     packetType = 1
	cmdUnknown      packetType = 2
	eventRegister   packetType = 3
	eventUnregister packetType = 4
	eventConfirm    packetType = 5
	eventUnknown    packetType = 6
	event           packetType = 7
)

// named says whether packets of a type have a name.
func (t packetType) named() bool {
	return t == cmdRequest || t == eventRegister || t == eventUnregister || t == event
}

// packet is what one segment of the stream holds.
type packet struct {
	kind packetType
	name string
	body Section
}

// appendPacket encodes a packet with its length in front.
func appendPacket(b []byte, kind packetType, name string, body Section) ([]byte, error) {
	at := len(b)
	b = append(b, 0, 0, 0, 0, byte(kind))
	if kind.named() {
		if len(name) > 255 {
			return nil, fmt.Errorf("%w: a name of %d octets", ErrTooLong, len(name))
		}
		b = append(append(b, byte(len(name))), name...)
	}
	b, err := body.Append(b)
	if err != nil {
		return nil, err
	}
	n := len(b) - at - 4
	if n > MaxSegment {
		return nil, fmt.Errorf("%w: a packet of %d octets (the most is %d)", ErrTooLong, n, MaxSegment)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(n))
	return b, nil
}

// parsePacket decodes a segment without its length.
func parsePacket(b []byte) (packet, error) {
	if len(b) == 0 {
		return packet{}, fmt.Errorf("%w: a packet of no octets", ErrMalformed)
	}
	p := packet{kind: packetType(b[0])}
	if p.kind > event {
		return packet{}, fmt.Errorf("%w: packet type %d", ErrMalformed, p.kind)
	}
	b = b[1:]
	if p.kind.named() {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return packet{}, fmt.Errorf("%w: a packet ends in its name", ErrMalformed)
		}
		n := 1 + int(b[0])
		p.name, b = string(b[1:n]), b[n:]
	}
	var err error
	p.body, err = Parse(b)
	return p, err
}

// readPacket reads one packet. buf is used where it is large enough, and the one to use next is given back.
func readPacket(r io.Reader, buf []byte) (packet, []byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return packet{}, buf, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxSegment {
		return packet{}, buf, fmt.Errorf("%w: charon announces a packet of %d octets", ErrTooLong, n)
	}
	if int(n) > cap(buf) {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return packet{}, buf, err
	}
	p, err := parsePacket(buf)
	return p, buf, err
}
