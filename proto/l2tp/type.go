package l2tp

import "strconv"

// MessageType is the value of the Message Type AVP (RFC 2661 section 3.2).
type MessageType uint16

// Message types of RFC 2661, and the two each of RFC 4951 and RFC 5515.
const (
	MessageSCCRQ   MessageType = 1  // Start-Control-Connection-Request
	MessageSCCRP   MessageType = 2  // Start-Control-Connection-Reply
	MessageSCCCN   MessageType = 3  // Start-Control-Connection-Connected
	MessageStopCCN MessageType = 4  // Stop-Control-Connection-Notification
	MessageHello   MessageType = 6  // Hello
	MessageOCRQ    MessageType = 7  // Outgoing-Call-Request
	MessageOCRP    MessageType = 8  // Outgoing-Call-Reply
	MessageOCCN    MessageType = 9  // Outgoing-Call-Connected
	MessageICRQ    MessageType = 10 // Incoming-Call-Request
	MessageICRP    MessageType = 11 // Incoming-Call-Reply
	MessageICCN    MessageType = 12 // Incoming-Call-Connected
	MessageCDN     MessageType = 14 // Call-Disconnect-Notify
	MessageWEN     MessageType = 15 // WAN-Error-Notify
	MessageSLI     MessageType = 16 // Set-Link-Info
	MessageFSQ     MessageType = 21 // Failover-Session-Query, RFC 4951
	MessageFSR     MessageType = 22 // Failover-Session-Response, RFC 4951
	MessageCSUN    MessageType = 28 // Connect-Speed-Update-Notification, RFC 5515
	MessageCSURQ   MessageType = 29 // Connect-Speed-Update-Request, RFC 5515
)

var typeNames = [...]string{
	MessageSCCRQ: "SCCRQ", MessageSCCRP: "SCCRP", MessageSCCCN: "SCCCN", MessageStopCCN: "StopCCN",
	MessageHello: "HELLO", MessageOCRQ: "OCRQ", MessageOCRP: "OCRP", MessageOCCN: "OCCN",
	MessageICRQ: "ICRQ", MessageICRP: "ICRP", MessageICCN: "ICCN", MessageCDN: "CDN",
	MessageWEN: "WEN", MessageSLI: "SLI", MessageFSQ: "FSQ", MessageFSR: "FSR", MessageCSUN: "CSUN", MessageCSURQ: "CSURQ",
}

// String returns the RFC's name, as "SCCRQ", or "message 99" for a type that
// is not known.
func (t MessageType) String() string {
	if t.known() {
		return typeNames[t]
	}
	return "message " + strconv.Itoa(int(t))
}

// Known reports whether the type is one of the constants.
func (t MessageType) Known() bool { return t.known() }

func (t MessageType) known() bool { return int(t) < len(typeNames) && typeNames[t] != "" }

// session reports whether messages of this type belong to one session. A fault
// in one of those ends the session, a fault in any other the tunnel (RFC 2661
// section 4.1).
func (t MessageType) session() bool {
	return t >= MessageOCRQ && t <= MessageSLI && t.known()
}

// Bits of the Framing Capabilities and Framing Type AVPs.
const (
	FramingSync  uint32 = 1
	FramingAsync uint32 = 2
)

// Bits of the Bearer Capabilities and Bearer Type AVPs.
const (
	BearerDigital uint32 = 1
	BearerAnalog  uint32 = 2
)

// ProtocolVersion1 is the only value of the Protocol Version AVP: version 1,
// revision 0 (RFC 2661 section 4.4.3).
const ProtocolVersion1 uint16 = 0x0100

// Values of the Proxy Authen Type AVP (RFC 2661 section 4.4.5).
const (
	ProxyAuthText   uint16 = 1 // textual user name and password exchange
	ProxyAuthCHAP   uint16 = 2 // CHAP with MD5
	ProxyAuthPAP    uint16 = 3
	ProxyAuthNone   uint16 = 4
	ProxyAuthMSCHAP uint16 = 5 // MS-CHAPv1
)
