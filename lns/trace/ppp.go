package trace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"culvert/proto/ppp"
)

// How much is kept of what has no bound, in octets.
const (
	keepOptions = 64
	keepMessage = 48
)

// spoken are the protocols whose packets are worth an event each; a record has the index.
var spoken = [...]ppp.Protocol{
	ppp.ProtocolLCP, ppp.ProtocolPAP, ppp.ProtocolCHAP, ppp.ProtocolEAP, ppp.ProtocolIPCP, ppp.ProtocolIPV6CP,
}

// PPP records a frame that is no IP packet, and returns the event's offset. It
// keeps nothing secret, and no reference to the frame.
func (l *Log) PPP(now time.Duration, d Direction, frame []byte, limit int) int {
	if !l.On() {
		return 0
	}
	f, err := ppp.ParseFrame(frame)
	if err != nil {
		return 0
	}
	one, many := kindPPPReceived, kindPPPReceivedMany
	if d == Sent {
		one, many = kindPPPSent, kindPPPSentMany
	}
	var buf [8 + keepOptions]byte
	b := binary.BigEndian.AppendUint16(buf[:0], uint16(f.Protocol))
	index := slices.Index(spoken[:], f.Protocol)
	if index < 0 {
		return l.addRepeated(now, many, b, limit)
	}
	p, err := ppp.ParsePacket(f.Payload)
	if err != nil {
		// Code 0 stands for a packet that cannot be read.
		return l.addRepeated(now, many, append(b, 0), limit)
	}
	if b, ok := appendRepeating(b, f.Protocol, &p); ok {
		return l.addRepeated(now, many, b, limit)
	}
	b = append(buf[:0], byte(index), byte(p.Code), p.ID)
	return l.add(now, one, appendPacket(b, f.Protocol, &p), limit)
}

// auth says whether a protocol's codes are not those of LCP.
func auth(p ppp.Protocol) bool {
	return p == ppp.ProtocolPAP || p == ppp.ProtocolCHAP || p == ppp.ProtocolEAP
}

// appendRepeating appends what names a packet of the kind that repeats without news.
func appendRepeating(b []byte, proto ppp.Protocol, p *ppp.Packet) ([]byte, bool) {
	if auth(proto) || p.Code >= ppp.ConfigureRequest && p.Code <= ppp.TerminateAck {
		return b, false
	}
	b = append(b, byte(p.Code))
	switch {
	case p.Code == ppp.CodeReject && len(p.Data) >= 1:
		b = append(b, p.Data[0])
	case p.Code == ppp.ProtocolReject && len(p.Data) >= 2:
		b = append(b, p.Data[:2]...)
	}
	return b, true
}

// appendPacket appends what a packet says that may be shown.
func appendPacket(b []byte, proto ppp.Protocol, p *ppp.Packet) []byte {
	switch proto {
	case ppp.ProtocolPAP:
		if p.Code != ppp.PAPRequest {
			b = append(b, cut(ppp.ParsePAPMessage(p.Data), keepMessage)...)
		}
		return b
	case ppp.ProtocolCHAP:
		if p.Code == ppp.CHAPSuccess || p.Code == ppp.CHAPFailure {
			b = append(b, cut(publicMessage(p.Data), keepMessage)...)
		}
		return b
	case ppp.ProtocolEAP:
		if len(p.Data) > 0 {
			b = append(b, p.Data[0])
		}
		return b
	}
	switch p.Code {
	case ppp.ConfigureRequest, ppp.ConfigureNak, ppp.ConfigureReject:
		b = append(b, cut(p.Data, keepOptions)...)
	case ppp.TerminateRequest:
		b = append(b, cut(p.Data, keepMessage)...)
	}
	return b
}

func cut(b []byte, n int) []byte { return b[:min(len(b), n)] }

// publicMessage leaves out of a CHAP message what MS-CHAPv2 (RFC 2759 sections 5
// and 6) puts into it to be computed with: the authenticator response and the challenge.
func publicMessage(b []byte) []byte {
	if bytes.HasPrefix(b, []byte("S=")) {
		_, text, _ := bytes.Cut(b, []byte(" M="))
		return text
	}
	if bytes.HasPrefix(b, []byte("E=")) {
		before, rest, found := bytes.Cut(b, []byte(" C="))
		if !found {
			return b
		}
		_, after, _ := bytes.Cut(rest, []byte(" "))
		return append(append(append([]byte{}, before...), ' '), after...)
	}
	return b
}

func pppManyText(_ *reader, _ *record, b []byte, e *Event) string {
	if len(b) < 2 {
		return "PPP"
	}
	proto := ppp.Protocol(binary.BigEndian.Uint16(b))
	text := proto.String() + ": " + e.Direction.String()
	switch b = b[2:]; {
	case len(b) == 0:
		return text + " a frame; the protocol is not spoken here"
	case b[0] == 0:
		return text + " a malformed packet"
	case len(b) == 2:
		return text + " Code-Reject of " + ppp.Code(b[1]).String()
	case len(b) == 3:
		return text + " Protocol-Reject of " + ppp.Protocol(binary.BigEndian.Uint16(b[1:])).String()
	}
	return text + " " + ppp.Code(b[0]).String()
}

func pppText(_ *reader, _ *record, b []byte, e *Event) string {
	if len(b) < 3 || int(b[0]) >= len(spoken) {
		return "PPP"
	}
	proto, code, id, rest := spoken[b[0]], ppp.Code(b[1]), b[2], b[3:]
	head := fmt.Sprintf("%v: %v %s id %d", proto, e.Direction, codeName(proto, code), id)
	switch {
	case proto == ppp.ProtocolEAP:
		if len(rest) > 0 {
			head += " type " + eapType(rest[0])
		}
	case auth(proto), code == ppp.TerminateRequest:
		if len(rest) > 0 {
			head += " " + strconv.Quote(string(rest))
		}
	default:
		head += optionsText(proto, rest)
	}
	return head
}

var authCodes = map[ppp.Protocol][]string{
	ppp.ProtocolPAP:  {"", "Authenticate-Request", "Authenticate-Ack", "Authenticate-Nak"},
	ppp.ProtocolCHAP: {"", "Challenge", "Response", "Success", "Failure"},
	ppp.ProtocolEAP:  {"", "Request", "Response", "Success", "Failure"},
}

func codeName(p ppp.Protocol, c ppp.Code) string {
	names, ok := authCodes[p]
	if !ok {
		return c.String()
	}
	if c > 0 && int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("Code-%d", uint8(c))
}

// eapType names a type of RFC 3748 section 5, or of what came after it.
func eapType(t byte) string {
	switch t {
	case 1:
		return "Identity"
	case 2:
		return "Notification"
	case 3:
		return "Nak"
	case 4:
		return "MD5-Challenge"
	case 13:
		return "TLS"
	case 21:
		return "TTLS"
	case 25:
		return "PEAP"
	case 26:
		return "MS-CHAPv2"
	}
	return strconv.Itoa(int(t))
}

// optionsText puts options into words, each after a blank. The last one may have been cut off.
func optionsText(p ppp.Protocol, b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		o, rest, err := ppp.NextOption(b)
		if err != nil {
			s.WriteString(" ...")
			break
		}
		s.WriteByte(' ')
		s.WriteString(optionText(p, o))
		b = rest
	}
	return s.String()
}

func optionText(p ppp.Protocol, o ppp.Option) string {
	switch p {
	case ppp.ProtocolLCP:
		return lcpOptionText(o)
	case ppp.ProtocolIPCP:
		return ipcpOptionText(o)
	case ppp.ProtocolIPV6CP:
		if o.Type == 1 {
			return fmt.Sprintf("interface-identifier %x", o.Value)
		}
	}
	return fmt.Sprintf("option %d %x", o.Type, o.Value)
}

func lcpOptionText(o ppp.Option) string {
	var c ppp.LCPConfig
	if err := c.Set(o); err == nil {
		switch o.Type {
		case ppp.OptionMRU:
			return fmt.Sprintf("mru %d", c.MRU)
		case ppp.OptionACCM:
			return fmt.Sprintf("accm %08x", c.ACCM)
		case ppp.OptionAuth:
			return "auth " + c.Auth.String()
		case ppp.OptionMagic:
			return fmt.Sprintf("magic %08x", c.Magic)
		case ppp.OptionPFC:
			return "pfc"
		case ppp.OptionACFC:
			return "acfc"
		}
	}
	if o.Type == ppp.OptionAuth && len(o.Value) >= 2 {
		return fmt.Sprintf("auth %v", ppp.Protocol(binary.BigEndian.Uint16(o.Value)))
	}
	return fmt.Sprintf("option %d %x", o.Type, o.Value)
}

var ipcpNames = map[uint8]string{
	ppp.OptionIPAddress: "addr", ppp.OptionPrimaryDNS: "dns1", ppp.OptionSecondaryDNS: "dns2",
	ppp.OptionPrimaryNBNS: "nbns1", ppp.OptionSecondaryNBNS: "nbns2",
}

func ipcpOptionText(o ppp.Option) string {
	if name, ok := ipcpNames[o.Type]; ok && len(o.Value) == 4 {
		return name + " " + netip.AddrFrom4([4]byte(o.Value)).String()
	}
	return fmt.Sprintf("option %d %x", o.Type, o.Value)
}
