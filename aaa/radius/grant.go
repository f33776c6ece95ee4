package radius

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"culvert/aaa"

	"layeh.com/radius"
)

// decoder reads one answer's attributes.
type decoder struct {
	grant       aaa.Grant
	message     []byte
	mschapError string
	eap         *eapAttrs // nil until one comes
}

// decodeAccept reads an Access-Accept's attributes. Nothing in the grant
// refers to b.
func decodeAccept(b []byte, method aaa.Method) (*aaa.Grant, error) {
	var d decoder
	if err := d.attributes(b); err != nil {
		return nil, err
	}
	if method == aaa.MethodMSCHAPv2 && d.grant.MSCHAPSuccess == "" {
		// Without it the subscriber would refuse us (RFC 2759 section 5).
		return nil, &attrError{"MS-CHAP2-Success", "is missing in the answer to MS-CHAPv2"}
	}
	d.grant.ReplyMessage, d.grant.EAP = string(d.message), d.eapPacket()
	return &d.grant, nil
}

// decodeReject reads what an Access-Reject or -Challenge says. A refusal
// stays one whatever is wrong with its attributes.
func decodeReject(b []byte, code radius.Code) *aaa.RejectError {
	var d decoder
	_ = d.attributes(b)
	if code == radius.CodeAccessChallenge && len(d.message) == 0 {
		// RFC 2865 section 4.4: treated as an Access-Reject.
		return &aaa.RejectError{Message: "a further challenge is not supported"}
	}
	return &aaa.RejectError{Message: string(d.message), MSCHAPError: d.mschapError, EAP: d.eapPacket()}
}

func (d *decoder) attributes(b []byte) error {
	whole := len(b)
	for len(b) > 0 {
		t, v, rest, err := nextAttr(b, headerLen+whole-len(b))
		if err == nil {
			err = d.attribute(t, v)
		}
		if err != nil {
			return err
		}
		b = rest
	}
	return nil
}

func (d *decoder) attribute(t radius.Type, v []byte) (err error) {
	g := &d.grant
	switch t {
	case typeUserName:
		g.User = string(v)
	case typeFramedIPAddress:
		g.Address, err = framedAddress(v)
	case typeFramedPool:
		g.Pool = string(v)
	case typeFramedRoute:
		var r netip.Prefix
		r, err = framedRoute(string(v))
		g.Routes = append(g.Routes, r)
	case typeFramedMTU:
		g.MTU, err = framedMTU(v)
	case typeSessionTimeout:
		g.SessionTimeout, err = seconds("Session-Timeout", v)
	case typeIdleTimeout:
		g.IdleTimeout, err = seconds("Idle-Timeout", v)
	case typeAcctInterimInterval:
		g.Interim, err = seconds("Acct-Interim-Interval", v)
		if g.Interim > 0 {
			g.Interim = max(g.Interim, minInterimInterval*time.Second)
		}
	case typeClass:
		g.Class = append(g.Class, append([]byte(nil), v...))
	case typeReplyMessage:
		d.message = append(d.message, v...)
	case typeVendorSpecific:
		err = d.vendorSpecific(v)
	case typeEAPMessage, typeState, typeErrorCause:
		err = d.eapAttribute(t, v)
	}
	return err
}

func integer(name string, v []byte) (uint32, error) {
	if len(v) != 4 {
		return 0, &attrError{name, fmt.Sprintf("has %d octets instead of 4", len(v))}
	}
	return binary.BigEndian.Uint32(v), nil
}

func seconds(name string, v []byte) (time.Duration, error) {
	n, err := integer(name, v)
	return time.Duration(n) * time.Second, err
}

// ipv4 reads an address; 0.0.0.0 says that there is none.
func ipv4(name string, v []byte) (netip.Addr, error) {
	n, err := integer(name, v)
	if err != nil || n == 0 {
		return netip.Addr{}, err
	}
	return netip.AddrFrom4([4]byte(v)), nil
}

// framedAddress reads Framed-IP-Address. Both special values (RFC 2865 section
// 5.8) leave the choice to the NAS: a choice by the subscriber is not offered.
func framedAddress(v []byte) (netip.Addr, error) {
	n, err := integer("Framed-IP-Address", v)
	if err != nil || n == addressUserSelects || n == addressNASSelects || n == 0 {
		return netip.Addr{}, err
	}
	a := netip.AddrFrom4([4]byte(v))
	if a.IsMulticast() || a.IsLoopback() {
		return netip.Addr{}, &attrError{"Framed-IP-Address", a.String() + " is no address for a subscriber"}
	}
	return a, nil
}

func framedMTU(v []byte) (uint16, error) {
	n, err := integer("Framed-MTU", v)
	if err != nil {
		return 0, err
	}
	if n < 64 || n > 65535 {
		return 0, &attrError{"Framed-MTU", fmt.Sprintf("%d is not between 64 and 65535", n)}
	}
	return uint16(n), nil
}

// framedRoute reads "prefix[/length] gateway metrics" (RFC 2865 section 5.22).
// Gateway and metrics do not matter on a point-to-point link.
func framedRoute(s string) (netip.Prefix, error) {
	bad := func(why string) (netip.Prefix, error) {
		return netip.Prefix{}, &attrError{"Framed-Route", strconv.Quote(s) + " " + why}
	}
	fields := strings.Fields(strings.TrimRight(s, "\x00"))
	if len(fields) == 0 {
		return bad("is empty")
	}
	text, length, hasLength := strings.Cut(fields[0], "/")
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return bad("does not begin with an IPv4 prefix")
	}
	bits := classBits(a)
	if hasLength {
		if bits, err = strconv.Atoi(length); err != nil || bits < 0 || bits > 32 {
			return bad("has a wrong prefix length")
		}
	}
	return netip.PrefixFrom(a, bits).Masked(), nil
}

// classBits is the length of a prefix without one: 8, 16 or 24 by its class.
func classBits(a netip.Addr) int {
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	case first < 224:
		return 24
	}
	return 32
}
