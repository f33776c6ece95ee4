package ppp

import "fmt"

// Protocol is a frame's protocol field (RFC 1661 section 2, numbers by IANA).
type Protocol uint16

// The protocols that an LNS meets.
const (
	ProtocolIPv4   Protocol = 0x0021
	ProtocolIPv6   Protocol = 0x0057
	ProtocolIPCP   Protocol = 0x8021
	ProtocolIPV6CP Protocol = 0x8057
	ProtocolCCP    Protocol = 0x80fd
	ProtocolMPLSCP Protocol = 0x8281
	ProtocolLCP    Protocol = 0xc021
	ProtocolPAP    Protocol = 0xc023
	ProtocolLQR    Protocol = 0xc025
	ProtocolCHAP   Protocol = 0xc223
	ProtocolEAP    Protocol = 0xc227
)

// protocolNames are the names for logs and transcripts.
var protocolNames = map[Protocol]string{
	ProtocolIPv4: "IPv4", ProtocolIPv6: "IPv6", ProtocolIPCP: "IPCP", ProtocolIPV6CP: "IPV6CP",
	ProtocolCCP: "CCP", ProtocolMPLSCP: "MPLSCP", ProtocolLCP: "LCP", ProtocolPAP: "PAP",
	ProtocolLQR: "LQR", ProtocolCHAP: "CHAP", ProtocolEAP: "EAP",
}

// String gives the protocol's name, or its number as "0x80fb".
func (p Protocol) String() string {
	if s, ok := protocolNames[p]; ok {
		return s
	}
	return fmt.Sprintf("%#04x", uint16(p))
}

// Valid reports whether p can stand in a frame: its last octet is odd, its
// first even (RFC 1661 section 2).
func (p Protocol) Valid() bool { return p&1 == 1 && p&0x0100 == 0 && p != 0x00ff }
