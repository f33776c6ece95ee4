package l2tp

// Message is one control message: its type and the AVPs that are there. Fields
// of AVPs that are not there are zero. After ParseMessage its slices alias the
// parsed body (unhidden values: a buffer of the Message); Clone makes a copy
// that may be kept. To make one for sending, fill fields in and name them to
// Set.
//
// A Message may be reused for parsing without end; it holds on to its buffers.
type Message struct {
	Type    MessageType
	present uint64

	// Control connection management (RFC 2661 section 4.4.3).
	ProtocolVersion   uint16
	FirmwareRevision  uint16
	AssignedTunnelID  uint16
	ReceiveWindow     uint16
	FramingCap        uint32
	BearerCap         uint32
	TieBreaker        uint64
	HostName          []byte
	VendorName        []byte
	Challenge         []byte
	ChallengeResponse []byte

	// Call management (section 4.4.4). Speeds are in bit/s, Tx from the LAC to
	// the subscriber. TxSpeed and RxSpeed hold the 64-bit AVP 74 or 75 if that is
	// there, otherwise AVP 24 or 38; each is encoded in the AVPs that are Set.
	AssignedSessionID  uint16
	CallSerial         uint32
	MinimumBPS         uint32
	MaximumBPS         uint32
	BearerType         uint32
	FramingType        uint32
	PhysicalChannel    uint32
	TxSpeed            uint64
	RxSpeed            uint64
	CalledNumber       []byte
	CallingNumber      []byte
	SubAddress         []byte
	PrivateGroup       []byte
	SequencingRequired bool
	// SpeedUpdateEnable asks for CSUN messages (RFC 5515).
	SpeedUpdateEnable bool

	// Proxy LCP and authentication (section 4.4.5). The LCP values are the
	// options of a Configure-Request, without its code, identifier and length.
	// Only the low octet of ProxyAuthID has meaning.
	InitialLCP         []byte
	LastSentLCP        []byte
	LastReceivedLCP    []byte
	ProxyAuthType      uint16
	ProxyAuthID        uint16
	ProxyAuthName      []byte
	ProxyAuthChallenge []byte
	ProxyAuthResponse  []byte

	// Call status and disconnection (sections 4.4.2, 4.4.4 and 4.4.6).
	Result        Result
	Q931          Q931Cause
	Errors        CallErrors
	ACCM          ACCM
	PPPDisconnect PPPDisconnect

	// Failover (RFC 4951 section 5): what an endpoint can recover from, which tunnel a
	// recovery tunnel is for, and the numbers that the recovered tunnel goes on with.
	Failover          Failover
	Recovery          Recovery
	SuggestedSequence SuggestedSequence
	// SessionStates are the Failover Session State AVPs of FSQ and FSR.
	SessionStates []SessionState

	// RandomVector is the last one in the message (section 4.3).
	RandomVector []byte
	// SpeedUpdates are the Connect Speed Update AVPs of CSUN and CSURQ.
	SpeedUpdates []SpeedUpdate
	// Line is nil when the message has no access-line AVP. Set it to send some.
	Line *AccessLine
	// Extra are the AVPs that are not known here, in their order. What ParseMessage
	// found is skipped; what a sender puts here is appended as it is.
	Extra []RawAVP

	// line and scratch are kept from message to message: the AccessLine that
	// Line points to after parsing, and the bytes of unhidden values.
	line    *AccessLine
	scratch []byte
}

// Q931Cause is the Q.931 Cause Code AVP of a CDN.
type Q931Cause struct {
	Cause    uint16
	Msg      uint8
	Advisory []byte
}

// CallErrors are the counters of a WEN, since the call was established.
type CallErrors struct {
	CRC, Framing, HardwareOverruns, BufferOverruns, Timeouts, Alignment uint32
}

// ACCM are the Async-Control-Character-Maps of an SLI.
type ACCM struct {
	Send, Receive uint32
}

// PPPDisconnect is the PPP Disconnect Cause Code AVP (RFC 3145).
type PPPDisconnect struct {
	// Code is from the table of RFC 3145 section 3.2; 0 is "no information".
	Code uint16
	// Protocol is the PPP control protocol the code is about, or 0.
	Protocol uint16
	// Direction is 0 (global), 1 (at the peer) or 2 (at the local end).
	Direction uint8
	Message   []byte
}

// SpeedUpdate is one Connect Speed Update AVP (RFC 5515), in
// bit/s. SessionID is the id that the receiver of the message assigned.
type SpeedUpdate struct {
	SessionID uint16
	Tx, Rx    uint32
}

// RawAVP is an AVP by its numbers.
type RawAVP struct {
	Vendor, Attribute uint16
	Mandatory         bool
	// Hidden says that the value is still hidden, for want of a secret or a
	// Random Vector.
	Hidden bool
	// Value is at most 1,017 octets; what is longer is cut when encoded.
	Value []byte
}

// Has reports whether the AVP is there.
func (m *Message) Has(a AVP) bool { return a < avpCount && m.present&(1<<a) != 0 }

// Set marks AVPs, whose fields the caller has filled in, as there. The Message
// Type needs no Set, nor do SpeedUpdates, SessionStates, Line and Extra.
func (m *Message) Set(avps ...AVP) {
	for _, a := range avps {
		if a < avpCount {
			m.present |= 1 << a
		}
	}
}

// Unset marks AVPs as not there.
func (m *Message) Unset(avps ...AVP) {
	for _, a := range avps {
		if a < avpCount {
			m.present &^= 1 << a
		}
	}
}

// Reset empties the message for another use. Its buffers are kept, unless one
// extraordinary message has made them large.
func (m *Message) Reset() {
	const keepBytes, keepItems = 4096, 256
	scratch, updates, states, extra := m.scratch, m.SpeedUpdates, m.SessionStates, m.Extra
	if cap(scratch) > keepBytes {
		scratch = nil
	}
	if cap(updates) > keepItems {
		updates = nil
	}
	if cap(states) > keepItems {
		states = nil
	}
	*m = Message{SpeedUpdates: updates[:0], SessionStates: states[:0], Extra: extra[:0], line: m.line, scratch: scratch[:0]}
}
