package ppp

import "fmt"

// Frame is one PPP frame without flag sequence and FCS, as L2TP carries it.
type Frame struct {
	Protocol Protocol
	// AddressControl says that FF 03 came first, ShortProtocol that the
	// protocol field had one octet (RFC 1661 sections 6.6 and 6.5).
	AddressControl, ShortProtocol bool
	// Payload is the information field with any padding.
	Payload []byte
}

// ParseFrame splits a frame, in any of its four forms. Payload aliases b.
// Errors wrap ErrFrame.
func ParseFrame(b []byte) (Frame, error) {
	var f Frame
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		f.AddressControl = true
		b = b[2:]
	}
	if len(b) == 0 {
		return Frame{}, fmt.Errorf("%w: no protocol", ErrFrame)
	}
	if b[0]&1 == 1 {
		f.Protocol, f.ShortProtocol, f.Payload = Protocol(b[0]), true, b[1:]
	} else {
		if len(b) < 2 {
			return Frame{}, fmt.Errorf("%w: half a protocol", ErrFrame)
		}
		f.Protocol, f.Payload = Protocol(b[0])<<8|Protocol(b[1]), b[2:]
	}
	if !f.Protocol.Valid() {
		return Frame{}, fmt.Errorf("%w: protocol %#04x", ErrFrame, uint16(f.Protocol))
	}
	return f, nil
}

// AppendHeader appends what stands before a frame's information: FF 03
// unless acfc was negotiated, and the protocol, in one octet where pfc was
// negotiated and the protocol has one. LCP is never compressed, whatever
// the arguments (RFC 1661 sections 6.5 and 6.6).
func AppendHeader(dst []byte, p Protocol, acfc, pfc bool) []byte {
	if p == ProtocolLCP || !acfc {
		dst = append(dst, 0xff, 0x03)
	}
	if pfc && p < 0x100 {
		return append(dst, byte(p))
	}
	return append(dst, byte(p>>8), byte(p))
}
