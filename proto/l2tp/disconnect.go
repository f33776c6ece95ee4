package l2tp

import (
	"fmt"
	"strconv"
)

// Disconnect codes of the PPP Disconnect Cause Code AVP (RFC 3145 section 3.2).
// Those of one group name its protocol in PPPDisconnect.Protocol.
const (
	DisconnectUnknown        uint16 = 0 // no information
	DisconnectAdministrative uint16 = 1
	DisconnectNoProxy        uint16 = 2  // the LNS does not renegotiate LCP, and the LAC told nothing it could use
	DisconnectNormal         uint16 = 3  // LCP Terminate-Request: direction 1 from the peer, 2 from here
	DisconnectEncryption     uint16 = 4  // encryption that one end wants was refused by the other
	DisconnectLCPTimeout     uint16 = 5  // LCP did not come to an end in time
	DisconnectNoLCP          uint16 = 6  // nothing came that could be recognized as LCP
	DisconnectLoop           uint16 = 7  // magic number: the line may be looped back
	DisconnectEchoTimeout    uint16 = 8  // no answer to LCP Echo-Requests
	DisconnectEndpoint       uint16 = 9  // Multilink: another Endpoint-Discriminator
	DisconnectMRRU           uint16 = 10 // Multilink: another MRRU
	DisconnectShortSequence  uint16 = 11 // Multilink: another form of sequence numbers
	DisconnectCallback       uint16 = 12 // a call-back that one end wants was refused by the other
	DisconnectAuthTimeout    uint16 = 13 // authentication did not come to an end in time
	DisconnectAuthName       uint16 = 14 // Multilink: another authenticated name
	DisconnectAuthRefused    uint16 = 15 // an authentication protocol that one end wants was refused by the other
	DisconnectAuthFailed     uint16 = 16 // the credentials are wrong: direction 1 the peer's, 2 ours
	DisconnectNCPTimeout     uint16 = 17 // a network control protocol did not come to an end in time
	DisconnectNoNCP          uint16 = 18 // no network control protocol came up
	DisconnectNCPFailed      uint16 = 19 // addresses were not agreed on
	DisconnectNoAddress      uint16 = 20 // the user may use no address
)

// Values of PPPDisconnect.Direction. Local is who sends the AVP.
const (
	DirectionGlobal uint8 = 0
	DirectionPeer   uint8 = 1
	DirectionLocal  uint8 = 2
)

var disconnectNames = [...]string{
	DisconnectUnknown: "no information", DisconnectAdministrative: "administrative disconnect",
	DisconnectNoProxy: "no proxy LCP for an LNS that does not renegotiate", DisconnectNormal: "normal disconnection",
	DisconnectEncryption: "encryption refused", DisconnectLCPTimeout: "LCP timeout", DisconnectNoLCP: "no LCP packets",
	DisconnectLoop: "line looped back", DisconnectEchoTimeout: "LCP echo timeout", DisconnectEndpoint: "unexpected Endpoint-Discriminator",
	DisconnectMRRU: "unexpected MRRU", DisconnectShortSequence: "unexpected Short-Sequence-Number", DisconnectCallback: "call-back refused",
	DisconnectAuthTimeout: "authentication timeout", DisconnectAuthName: "unexpected authenticated name",
	DisconnectAuthRefused: "authentication protocol refused", DisconnectAuthFailed: "authentication failed",
	DisconnectNCPTimeout: "NCP timeout", DisconnectNoNCP: "no NCP came up", DisconnectNCPFailed: "NCP did not converge",
	DisconnectNoAddress: "no address allowed",
}

// String describes the cause in words, with the peer's text quoted. Local and
// peer are as seen by who sent it.
func (d PPPDisconnect) String() string {
	s := nameOf(disconnectNames[:], d.Code)
	if int(d.Code) >= len(disconnectNames) {
		s = "code " + s
	}
	if d.Protocol != 0 {
		s += fmt.Sprintf(" (protocol %04x)", d.Protocol)
	}
	switch d.Direction {
	case DirectionGlobal:
	case DirectionPeer:
		s += ", at its peer"
	case DirectionLocal:
		s += ", at the sender"
	default:
		s += ", direction " + strconv.Itoa(int(d.Direction))
	}
	if len(d.Message) > 0 {
		s += " " + strconv.Quote(string(d.Message))
	}
	return s
}
