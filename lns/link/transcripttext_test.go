package link

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"culvert/proto/ppp"
)

// protocolNamed is the protocol of a name in a transcript.
func protocolNamed(name string) ppp.Protocol {
	for _, p := range []ppp.Protocol{ppp.ProtocolLCP, ppp.ProtocolPAP, ppp.ProtocolCHAP, ppp.ProtocolEAP, ppp.ProtocolIPCP, ppp.ProtocolIPV6CP, ppp.ProtocolCCP} {
		if p.String() == name {
			return p
		}
	}
	panic("no protocol " + name)
}

// The codes of PAP and CHAP in words.
var (
	papNames  = []string{"", "Request", "Ack", "Nak"}
	chapNames = []string{"", "Challenge", "Response", "Success", "Failure"}
)

// code is the code of a name in a transcript, or of a number.
func (s *script) code(p ppp.Protocol, name string) ppp.Code {
	for c := ppp.Code(1); c <= ppp.TimeRemaining; c++ {
		if codeName(p, c) == name {
			return c
		}
	}
	return ppp.Code(s.number(name))
}

func codeName(p ppp.Protocol, c ppp.Code) string {
	switch {
	case p == ppp.ProtocolPAP && int(c) < len(papNames):
		return papNames[c]
	case p == ppp.ProtocolCHAP && int(c) < len(chapNames):
		return chapNames[c]
	case p == ppp.ProtocolEAP:
		return ppp.EAPCodeName(c)
	}
	return c.String()
}

// describe writes a frame as a transcript does.
func (s *script) describe(b []byte) string {
	f, err := ppp.ParseFrame(b)
	if err != nil {
		return fmt.Sprintf("malformed % x", b)
	}
	p, err := ppp.ParsePacket(f.Payload)
	if err != nil {
		return fmt.Sprintf("%v malformed % x", f.Protocol, f.Payload)
	}
	head := fmt.Sprintf("%v %s %d", f.Protocol, codeName(f.Protocol, p.Code), p.ID)
	if !f.AddressControl {
		head = "(no address) " + head
	}
	switch {
	case f.Protocol == ppp.ProtocolEAP:
		e, err := ppp.ParseEAP(f.Payload)
		if err != nil || e.Type == 0 {
			return head
		}
		return strings.TrimRight(fmt.Sprintf("%s %v %x", head, e.Type, e.Data), " ")
	case f.Protocol == ppp.ProtocolPAP:
		return fmt.Sprintf("%s %q", head, ppp.ParsePAPMessage(p.Data))
	case f.Protocol == ppp.ProtocolCHAP && p.Code > ppp.CHAPResponse:
		return fmt.Sprintf("%s %q", head, p.Data)
	case f.Protocol == ppp.ProtocolCHAP:
		value, name, _ := ppp.ParseCHAPValue(p.Data)
		return fmt.Sprintf("%s %x %s", head, value, name)
	case p.Code > ppp.ConfigureReject:
		return strings.TrimRight(fmt.Sprintf("%s %x", head, p.Data), " ")
	}
	if p.Code == ppp.ConfigureRequest {
		s.last[f.Protocol] = ppp.Packet{ID: p.ID, Data: append([]byte(nil), p.Data...)}
	}
	return head + optionsText(f.Protocol, p.Data)
}

// optionsText writes options: those with a name as name=value, others as
// number=hex.
func optionsText(p ppp.Protocol, b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		o, rest, err := ppp.NextOption(b)
		if err != nil {
			return out.String() + fmt.Sprintf(" malformed % x", b)
		}
		out.WriteString(" " + optionText(p, o))
		b = rest
	}
	return out.String()
}

// The options with names in transcripts.
var (
	lcpNames  = map[uint8]string{1: "mru", 2: "accm", 3: "auth", 5: "magic", 7: "pfc", 8: "acfc"}
	ipcpNames = map[uint8]string{3: "addr", 129: "dns1", 130: "nbns1", 131: "dns2", 132: "nbns2"}
)

func optionText(p ppp.Protocol, o ppp.Option) string {
	name, ok := ipcpNames[o.Type]
	if p == ppp.ProtocolLCP {
		name, ok = lcpNames[o.Type]
	}
	switch {
	case !ok:
		return fmt.Sprintf("%d=%x", o.Type, o.Value)
	case name == "pfc", name == "acfc":
		return name
	case name == "mru":
		return fmt.Sprintf("mru=%d", binary.BigEndian.Uint16(o.Value))
	case name == "auth":
		var c ppp.LCPConfig
		if err := c.Set(o); err != nil {
			return fmt.Sprintf("3=%x", o.Value)
		}
		return "auth=" + c.Auth.String()
	case p == ppp.ProtocolIPCP:
		return name + "=" + netip.AddrFrom4([4]byte(o.Value)).String()
	}
	return fmt.Sprintf("%s=%x", name, o.Value)
}

// option appends one option from its text.
func (s *script) option(dst []byte, p ppp.Protocol, text string) []byte {
	name, value, _ := strings.Cut(text, "=")
	names := ipcpNames
	if p == ppp.ProtocolLCP {
		names = lcpNames
	}
	for typ, n := range names {
		if n != name {
			continue
		}
		switch {
		case name == "mru":
			return ppp.AppendOption(dst, typ, binary.BigEndian.AppendUint16(nil, uint16(s.number(value))))
		case name == "auth":
			for _, a := range []ppp.Auth{ppp.AuthPAP, ppp.AuthCHAP, ppp.AuthMSCHAPv2, {Protocol: ppp.ProtocolEAP}} {
				if c := (ppp.LCPConfig{Auth: a}); a.String() == value {
					return c.Append(dst)
				}
			}
		case p == ppp.ProtocolIPCP:
			a := netip.MustParseAddr(value).As4()
			return ppp.AppendOption(dst, typ, a[:])
		}
		return ppp.AppendOption(dst, typ, s.hex(value))
	}
	return ppp.AppendOption(dst, uint8(s.number(name)), s.hex(value))
}
