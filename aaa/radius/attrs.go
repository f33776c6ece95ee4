package radius

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"layeh.com/radius"
)

// The parts of a packet (RFC 2865 section 3).
const (
	headerLen     = 20
	maxPacket     = radius.MaxPacketLength
	authenticator = 4 // offset of the 16 octets of the Authenticator
	// maxValue is how long an attribute's value may be (section 5).
	maxValue = 253
)

// builder appends attributes to a packet. Values that cannot be told whole
// are shortened, and attributes beyond the packet's greatest length are left
// out: short says that this happened.
type builder struct {
	b     []byte
	short bool
}

func (w *builder) header(code radius.Code, id byte) {
	w.b = append(w.b[:0], byte(code), id)
	w.b = append(w.b, make([]byte, headerLen-2)...)
	w.short = false
}

// room says whether an attribute with n octets of value fits.
func (w *builder) room(n int) bool {
	if len(w.b)+2+n <= maxPacket {
		return true
	}
	w.short = true
	return false
}

func (w *builder) octets(t radius.Type, v []byte) {
	if len(v) > maxValue {
		v, w.short = v[:maxValue], true
	}
	if w.room(len(v)) {
		w.b = append(append(w.b, byte(t), byte(2+len(v))), v...)
	}
}

// text appends nothing for an empty string: RFC 2865 has no empty text.
func (w *builder) text(t radius.Type, v string) {
	if len(v) > maxValue {
		v, w.short = v[:maxValue], true
	}
	if v != "" && w.room(len(v)) {
		w.b = append(append(w.b, byte(t), byte(2+len(v))), v...)
	}
}

// tagged appends a string of RFC 2868, which begins with a tag if its first
// octet could be taken for one.
func (w *builder) tagged(t radius.Type, v string) {
	if v != "" && v[0] <= 0x1f {
		v = "\x00" + v
	}
	w.text(t, v)
}

func (w *builder) integer(t radius.Type, v uint32) {
	if w.room(4) {
		w.b = binary.BigEndian.AppendUint32(append(w.b, byte(t), 6), v)
	}
}

// addr appends an address under type t4 or t6, as its family is.
func (w *builder) addr(t4, t6 radius.Type, a netip.Addr) {
	a = a.Unmap()
	switch {
	case a.Is4() && t4 != 0 && w.room(4):
		v := a.As4()
		w.b = append(append(w.b, byte(t4), 6), v[:]...)
	case a.Is6() && t6 != 0 && w.room(16):
		v := a.As16()
		w.b = append(append(w.b, byte(t6), 18), v[:]...)
	}
}

// vendor appends one Vendor-Specific attribute (RFC 2865 section 5.26).
func (w *builder) vendor(id uint32, t byte, v []byte) {
	if !w.room(6 + len(v)) {
		return
	}
	w.b = append(w.b, byte(typeVendorSpecific), byte(8+len(v)))
	w.b = binary.BigEndian.AppendUint32(w.b, id)
	w.b = append(append(w.b, t, byte(2+len(v))), v...)
}

// placeSignature makes place for a Message-Authenticator and gives the offset of its value.
func (w *builder) placeSignature() int {
	w.b = append(w.b, byte(typeMessageAuthenticator), 18)
	w.b = append(w.b, make([]byte, 16)...)
	return len(w.b) - 16
}

// finish sets the packet's length.
func (w *builder) finish() []byte {
	binary.BigEndian.PutUint16(w.b[2:], uint16(len(w.b)))
	return w.b
}

// attrError says which attribute cannot be read, and why.
type attrError struct {
	attribute, reason string
}

func (e *attrError) Error() string { return e.attribute + " " + e.reason }

// nextAttr splits the first attribute off. at is its offset in the packet.
func nextAttr(b []byte, at int) (t radius.Type, v, rest []byte, err error) {
	if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
		name := fmt.Sprintf("attribute %d at octet %d", b[0], at)
		if len(b) < 2 {
			return 0, nil, nil, &attrError{name, "is cut off"}
		}
		return 0, nil, nil, &attrError{name, fmt.Sprintf("has length %d with %d octets left", b[1], len(b))}
	}
	return radius.Type(b[0]), b[2:b[1]], b[b[1]:], nil
}

// packetOf checks a datagram's header and cuts it to its Length. Octets beyond
// are padding (RFC 2865 section 3).
func packetOf(b []byte) ([]byte, error) {
	if len(b) < headerLen {
		return nil, fmt.Errorf("%d octets are no RADIUS packet", len(b))
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < headerLen || n > len(b) || n > maxPacket {
		return nil, fmt.Errorf("length %d of a datagram of %d octets is wrong", n, len(b))
	}
	return b[:n], nil
}
