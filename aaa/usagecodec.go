package aaa

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// usageVersion is the first octet of an encoded Usage. It changes only when
// old readers must not read new records; new fields only need new tags.
const usageVersion = 1

// The fields of an encoded Usage. A field is a key, tag<<1 | form, and a
// value: a uvarint (form 0), or a uvarint length and that many octets (form 1).
// Zero fields are absent. Tags are never used again for something else.
const (
	tagSeq = iota + 1
	tagKind
	tagAcctSessionID
	tagUser
	tagNASPort
	tagNASPortID
	tagCallingStation
	tagCalledStation
	tagConnectInfo
	tagTunnelClient
	tagTunnelServer
	tagTunnelClientName
	tagTunnelServerName
	tagTunnelAssignment
	tagTunnelConnection
	tagLAC
	tagMethod
	tagClass // repeated
	tagAddress
	tagRoute // repeated: address and one octet of prefix length
	tagAtSeconds
	tagAtNanos
	tagDuration
	tagInOctets
	tagOutOctets
	tagInPackets
	tagOutPackets
	tagCause
	tagPrivateGroup
	tagLine
)

// maxSeconds is how far from 1970 a time may be: some 34,000 years.
const maxSeconds = 1 << 40

// ErrUsage is what errors.Is finds when an encoded Usage cannot be read.
var ErrUsage = errors.New("malformed usage record")

// AppendUsage appends u in the form that ParseUsage reads. The form has a
// version and tagged fields: a reader skips fields it does not know, and those
// that are absent are zero. It fails only for an address with a zone, which
// no subscriber and no tunnel has.
func AppendUsage(dst []byte, u *Usage) ([]byte, error) {
	if u.Address.Zone() != "" || u.Identity.TunnelClient.Zone() != "" || u.Identity.TunnelServer.Zone() != "" {
		return dst, fmt.Errorf("%w: an address has a zone", ErrUsage)
	}
	dst = append(dst, usageVersion)
	dst = appendNumber(dst, tagSeq, u.Seq)
	dst = appendNumber(dst, tagKind, uint64(u.Kind))
	dst = appendIdentity(dst, &u.Identity)
	dst = appendNumber(dst, tagMethod, uint64(u.Method))
	for _, c := range u.Class {
		dst = append(binary.AppendUvarint(append(dst, tagClass<<1|1), uint64(len(c))), c...)
	}
	dst = appendAddr(dst, tagAddress, u.Address)
	for _, r := range u.Routes {
		dst = appendRoute(dst, r)
	}
	if !u.At.IsZero() {
		// Also when it is zero: 1970 is not the same as never.
		dst = binary.AppendUvarint(append(dst, tagAtSeconds<<1), uint64(u.At.Unix()))
		dst = appendNumber(dst, tagAtNanos, uint64(u.At.Nanosecond()))
	}
	dst = appendNumber(dst, tagDuration, uint64(u.Duration))
	dst = appendNumber(dst, tagInOctets, u.InOctets)
	dst = appendNumber(dst, tagOutOctets, u.OutOctets)
	dst = appendNumber(dst, tagInPackets, u.InPackets)
	dst = appendNumber(dst, tagOutPackets, u.OutPackets)
	return appendNumber(dst, tagCause, uint64(u.Cause)), nil
}

func appendIdentity(dst []byte, id *Identity) []byte {
	dst = appendText(dst, tagAcctSessionID, id.AcctSessionID)
	dst = appendText(dst, tagUser, id.User)
	dst = appendNumber(dst, tagNASPort, uint64(id.NASPort))
	dst = appendText(dst, tagNASPortID, id.NASPortID)
	dst = appendText(dst, tagCallingStation, id.CallingStation)
	dst = appendText(dst, tagCalledStation, id.CalledStation)
	dst = appendText(dst, tagConnectInfo, id.ConnectInfo)
	dst = appendAddr(dst, tagTunnelClient, id.TunnelClient)
	dst = appendAddr(dst, tagTunnelServer, id.TunnelServer)
	dst = appendText(dst, tagTunnelClientName, id.TunnelClientName)
	dst = appendText(dst, tagTunnelServerName, id.TunnelServerName)
	dst = appendText(dst, tagTunnelAssignment, id.TunnelAssignment)
	dst = appendText(dst, tagTunnelConnection, id.TunnelConnection)
	dst = appendText(dst, tagLAC, id.LAC)
	dst = appendText(dst, tagPrivateGroup, id.PrivateGroup)
	if id.Line != nil {
		var room [256]byte // of which a line takes less, as a rule
		dst = appendText(dst, tagLine, AppendLine(room[:0], id.Line))
	}
	return dst
}

func appendNumber(dst []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(append(dst, tag<<1), v)
}

func appendText[T string | []byte](dst []byte, tag byte, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	return append(binary.AppendUvarint(append(dst, tag<<1|1), uint64(len(v))), v...)
}

func appendAddr(dst []byte, tag byte, a netip.Addr) []byte {
	switch {
	case a.Is4():
		b := a.As4()
		return append(append(dst, tag<<1|1, 4), b[:]...)
	case a.Is6():
		b := a.As16()
		return append(append(dst, tag<<1|1, 16), b[:]...)
	}
	return dst
}

func appendRoute(dst []byte, r netip.Prefix) []byte {
	if r.Addr().Is4() {
		b := r.Addr().As4()
		return append(append(append(dst, tagRoute<<1|1, 5), b[:]...), byte(r.Bits()))
	}
	b := r.Addr().As16()
	return append(append(append(dst, tagRoute<<1|1, 17), b[:]...), byte(r.Bits()))
}

// ParseUsage reads what AppendUsage wrote. The result shares nothing with b.
// Errors are ErrUsage.
func ParseUsage(b []byte) (Usage, error) {
	var u Usage
	if len(b) == 0 || b[0] != usageVersion {
		return u, fmt.Errorf("%w: unknown version", ErrUsage)
	}
	p := usageParser{u: &u, rest: b[1:]}
	// One copy of the whole serves all strings.
	p.text = string(p.rest)
	for len(p.rest) > 0 {
		if err := p.field(); err != nil {
			return Usage{}, err
		}
	}
	if p.hasAt {
		u.At = time.Unix(p.seconds, p.nanos).UTC()
	}
	return u, nil
}

type usageParser struct {
	u              *Usage
	rest           []byte
	text           string
	seconds, nanos int64
	hasAt          bool
}

func (p *usageParser) uvarint() (uint64, error) {
	v, n := binary.Uvarint(p.rest)
	if n <= 0 {
		return 0, fmt.Errorf("%w: cut off", ErrUsage)
	}
	p.rest = p.rest[n:]
	return v, nil
}

func (p *usageParser) field() error {
	key, err := p.uvarint()
	if err != nil {
		return err
	}
	v, err := p.uvarint()
	if err != nil {
		return err
	}
	tag := key >> 1
	if key&1 == 0 {
		return p.number(tag, v)
	}
	if v > uint64(len(p.rest)) {
		return fmt.Errorf("%w: field %d is cut off", ErrUsage, tag)
	}
	from := len(p.text) - len(p.rest)
	s := p.text[from : from+int(v)]
	p.rest = p.rest[v:]
	return p.octets(tag, s)
}

func (p *usageParser) number(tag, v uint64) error {
	u, limit := p.u, ^uint64(0)
	switch tag {
	case tagSeq:
		u.Seq = v
	case tagKind:
		u.Kind, limit = UsageKind(v), 0xff
	case tagNASPort:
		u.Identity.NASPort, limit = uint32(v), 0xffffffff
	case tagMethod:
		u.Method, limit = Method(v), 0xff
	case tagAtSeconds:
		p.seconds, p.hasAt = int64(v), true
		if p.seconds > maxSeconds || p.seconds < -maxSeconds {
			limit = 0
		}
	case tagAtNanos:
		p.nanos, limit = int64(v), uint64(time.Second)-1
	case tagDuration:
		u.Duration = time.Duration(v)
	case tagInOctets:
		u.InOctets = v
	case tagOutOctets:
		u.OutOctets = v
	case tagInPackets:
		u.InPackets = v
	case tagOutPackets:
		u.OutPackets = v
	case tagCause:
		u.Cause, limit = TerminateCause(v), 0xffffffff
	}
	if v > limit {
		return fmt.Errorf("%w: field %d has value %d", ErrUsage, tag, v)
	}
	return nil
}

func (p *usageParser) octets(tag uint64, s string) (err error) {
	u := p.u
	switch tag {
	case tagClass:
		u.Class = append(u.Class, []byte(s))
	case tagAddress:
		u.Address, err = parseAddr(s)
	case tagTunnelClient:
		u.Identity.TunnelClient, err = parseAddr(s)
	case tagTunnelServer:
		u.Identity.TunnelServer, err = parseAddr(s)
	case tagRoute:
		var r netip.Prefix
		r, err = parseRoute(s)
		u.Routes = append(u.Routes, r)
	case tagLine:
		u.Identity.Line, err = ParseLine(s)
	default:
		if f := identityText(&u.Identity, tag); f != nil {
			*f = s
		}
	}
	return err
}

// identityText gives the text field of a tag, or nil.
func identityText(id *Identity, tag uint64) *string {
	switch tag {
	case tagAcctSessionID:
		return &id.AcctSessionID
	case tagUser:
		return &id.User
	case tagNASPortID:
		return &id.NASPortID
	case tagCallingStation:
		return &id.CallingStation
	case tagCalledStation:
		return &id.CalledStation
	case tagConnectInfo:
		return &id.ConnectInfo
	case tagTunnelClientName:
		return &id.TunnelClientName
	case tagTunnelServerName:
		return &id.TunnelServerName
	case tagTunnelAssignment:
		return &id.TunnelAssignment
	case tagTunnelConnection:
		return &id.TunnelConnection
	case tagLAC:
		return &id.LAC
	case tagPrivateGroup:
		return &id.PrivateGroup
	}
	return nil
}

func parseAddr(s string) (netip.Addr, error) {
	switch len(s) {
	case 4:
		return netip.AddrFrom4([4]byte([]byte(s))), nil
	case 16:
		return netip.AddrFrom16([16]byte([]byte(s))), nil
	}
	return netip.Addr{}, fmt.Errorf("%w: address of %d octets", ErrUsage, len(s))
}

func parseRoute(s string) (netip.Prefix, error) {
	if len(s) == 0 {
		return netip.Prefix{}, fmt.Errorf("%w: empty route", ErrUsage)
	}
	a, err := parseAddr(s[:len(s)-1])
	if err != nil {
		return netip.Prefix{}, err
	}
	r := netip.PrefixFrom(a, int(s[len(s)-1]))
	if !r.IsValid() {
		return r, fmt.Errorf("%w: route %s/%d", ErrUsage, a, s[len(s)-1])
	}
	return r, nil
}
