package radius

import (
	"encoding/binary"
	"net/netip"

	"layeh.com/radius"
)

// errorCause is a value of Error-Cause (RFC 5176 section 3.5); zero is none.
type errorCause uint32

const (
	causeUnsupportedAttribute errorCause = 401
	causeMissingAttribute     errorCause = 402
	causeNASMismatch          errorCause = 403
	causeUnsupportedService   errorCause = 405
	causeUnsupportedExtension errorCause = 406
	causeInvalidValue         errorCause = 407
	causeNotFound             errorCause = 503
	causeNotRemovable         errorCause = 504
)

// dynRequest is what a Disconnect- or CoA-Request says.
type dynRequest struct {
	match       Match
	nasID       string
	nasAddrs    []netip.Addr
	timestamp   uint32
	proxyStates [][]byte // copied
	// cause is why the request must be refused, as far as its attributes show.
	cause errorCause
}

// decodeDynamic reads a request's attributes. An error is for a packet that is
// malformed as a whole and gets no answer.
func decodeDynamic(b []byte) (*dynRequest, error) {
	r := &dynRequest{}
	whole := len(b)
	for len(b) > 0 {
		t, v, rest, err := nextAttr(b, headerLen+whole-len(b))
		if err != nil {
			return nil, err
		}
		if cause := r.attribute(t, v); r.cause == 0 {
			r.cause = cause
		}
		b = rest
	}
	return r, nil
}

// attribute reads one attribute and says why it is refused, if it is.
// Attributes that might name a session in ways not known here must be refused,
// lest others than the one that was meant be ended (RFC 5176 section 3).
func (r *dynRequest) attribute(t radius.Type, v []byte) errorCause {
	switch t {
	case typeAcctSessionID:
		return textOnce(&r.match.AcctSessionID, v)
	case typeUserName:
		return textOnce(&r.match.User, v)
	case typeFramedIPAddress:
		return addrOnce(&r.match.Address, v, 4)
	case typeNASIdentifier:
		return textOnce(&r.nasID, v)
	case typeNASIPAddress:
		return r.nasAddr(v, 4)
	case typeNASIPv6Address:
		return r.nasAddr(v, 16)
	case typeEventTimestamp:
		if len(v) != 4 {
			return causeInvalidValue
		}
		r.timestamp = binary.BigEndian.Uint32(v)
	case typeProxyState:
		r.proxyStates = append(r.proxyStates, append([]byte(nil), v...))
	case typeServiceType:
		if len(v) == 4 && binary.BigEndian.Uint32(v) == serviceAuthorize {
			return causeUnsupportedService
		}
	case typeMessageAuthenticator, typeAcctTerminate, typeReplyMessage, typeClass, typeNASPortType, typeFramedProtocol:
		// They do not name a session.
	default:
		return causeUnsupportedAttribute
	}
	return 0
}

func (r *dynRequest) nasAddr(v []byte, octets int) errorCause {
	var a netip.Addr
	cause := addrOnce(&a, v, octets)
	r.nasAddrs = append(r.nasAddrs, a)
	return cause
}

func textOnce(to *string, v []byte) errorCause {
	if len(v) == 0 || *to != "" && *to != string(v) {
		return causeInvalidValue
	}
	*to = string(v)
	return 0
}

func addrOnce(to *netip.Addr, v []byte, octets int) errorCause {
	a, ok := netip.AddrFromSlice(v)
	if !ok || len(v) != octets || to.IsValid() && *to != a {
		return causeInvalidValue
	}
	*to = a
	return 0
}
