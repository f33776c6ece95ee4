package l2tp

import (
	"encoding/binary"
	"math/bits"
)

// Append encodes the message: its type, the AVPs that are Set, and those of
// SpeedUpdates, SessionStates, Line and Extra, each with the M bit that the RFC wants. A value
// longer than an AVP can hold is cut.
func (m *Message) Append(dst []byte) []byte {
	dst = m.appendType(dst)
	return m.appendAVPs(dst, hiding{})
}

// AppendHidden is Append with every AVP hidden that may be hidden (RFC 2661
// section 4.3). vector becomes the Random Vector AVP; 16 random octets are
// right.
func (m *Message) AppendHidden(dst, secret, vector []byte) []byte {
	dst = m.appendType(dst)
	dst = appendAVPHeader(dst, true, VendorIETF, avps[AVPRandomVector].attribute)
	dst = append(dst, vector...)
	putAVPLength(dst, len(vector))
	return m.appendAVPs(dst, hiding{on: true, secret: secret, vector: vector})
}

func (m *Message) appendType(dst []byte) []byte {
	// RFC 5515, RFC 4951 section 4: peers that do not know them shall ignore them.
	optional := m.Type >= MessageFSQ && m.Type <= MessageCSURQ
	dst = appendAVPHeader(dst, !optional, VendorIETF, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(m.Type))
	putAVPLength(dst, 2)
	return dst
}

// hiding says whether and how values are hidden.
type hiding struct {
	on             bool
	secret, vector []byte
}

func (m *Message) appendAVPs(dst []byte, h hiding) []byte {
	const apart = 1<<AVPMessageType | 1<<AVPSpeedUpdate | 1<<AVPSessionState
	for rest := m.present &^ apart; rest != 0; rest &= rest - 1 {
		a := AVP(bits.TrailingZeros64(rest))
		if a == AVPRandomVector && h.on {
			continue
		}
		spec := &avps[a]
		start := len(dst)
		dst = appendAVPHeader(dst, spec.mandatory, VendorIETF, spec.attribute)
		dst = m.appendValue(dst, a)
		dst = h.finish(dst, start, spec.hide)
	}
	for _, u := range m.SpeedUpdates {
		start := len(dst)
		dst = appendAVPHeader(dst, false, VendorIETF, avps[AVPSpeedUpdate].attribute)
		dst = binary.BigEndian.AppendUint32(dst, uint32(u.SessionID))
		dst = binary.BigEndian.AppendUint32(dst, u.Tx)
		dst = binary.BigEndian.AppendUint32(dst, u.Rx)
		dst = h.finish(dst, start, true)
	}
	for _, s := range m.SessionStates {
		start := len(dst)
		dst = appendAVPHeader(dst, true, VendorIETF, avps[AVPSessionState].attribute)
		dst = h.finish(appendPair(dst, s.Session, s.Remote), start, true)
	}
	if m.Line != nil {
		dst = m.Line.append(dst, h)
	}
	for _, raw := range m.Extra {
		dst = raw.append(dst)
	}
	return dst
}

// finish completes the AVP that starts at start: hides its value if that is
// wanted, and writes its length.
func (h hiding) finish(dst []byte, start int, may bool) []byte {
	value := start + avpHeader
	if h.on && may {
		dst = dst[:min(len(dst), value+maxHidden)]
		dst = hideValue(dst, start, h.secret, h.vector)
	}
	dst = dst[:min(len(dst), start+maxAVP)]
	putAVPLength(dst, len(dst)-value)
	return dst
}

func appendAVPHeader(dst []byte, mandatory bool, vendor, attribute uint16) []byte {
	flags := bit(mandatory, avpMandatory)
	return append(dst, byte(flags>>8), byte(flags), byte(vendor>>8), byte(vendor), byte(attribute>>8), byte(attribute))
}

// putAVPLength writes the length of the AVP whose value is the last n octets of
// dst, and keeps its flags.
func putAVPLength(dst []byte, n int) {
	at := dst[len(dst)-n-avpHeader:]
	flags := binary.BigEndian.Uint16(at) &^ avpLength
	binary.BigEndian.PutUint16(at, flags|uint16(n+avpHeader))
}

// append encodes the AVP as it is.
func (r RawAVP) append(dst []byte) []byte {
	dst = appendAVPHeader(dst, r.Mandatory, r.Vendor, r.Attribute)
	if r.Hidden {
		dst[len(dst)-avpHeader] |= avpHidden >> 8
	}
	v := r.Value[:min(len(r.Value), maxValue)]
	dst = append(dst, v...)
	putAVPLength(dst, len(v))
	return dst
}

// appendValue encodes the value of an AVP that is not hidden.
func (m *Message) appendValue(dst []byte, a AVP) []byte {
	if field := m.bytesField(a); field != nil {
		return append(dst, *field...)
	}
	if field := m.uint32Field(a); field != nil {
		return binary.BigEndian.AppendUint32(dst, *field)
	}
	if field := m.uint16Field(a); field != nil {
		return binary.BigEndian.AppendUint16(dst, *field)
	}
	switch a {
	case AVPResultCode:
		return m.Result.append(dst)
	case AVPTieBreaker:
		return binary.BigEndian.AppendUint64(dst, m.TieBreaker)
	case AVPTxSpeed:
		return binary.BigEndian.AppendUint32(dst, uint32(min(m.TxSpeed, 1<<32-1)))
	case AVPRxSpeed:
		return binary.BigEndian.AppendUint32(dst, uint32(min(m.RxSpeed, 1<<32-1)))
	case AVPTxSpeed64:
		return binary.BigEndian.AppendUint64(dst, m.TxSpeed)
	case AVPRxSpeed64:
		return binary.BigEndian.AppendUint64(dst, m.RxSpeed)
	case AVPQ931Cause:
		dst = binary.BigEndian.AppendUint16(dst, m.Q931.Cause)
		return append(append(dst, m.Q931.Msg), m.Q931.Advisory...)
	case AVPCallErrors:
		return m.Errors.append(dst)
	case AVPACCM:
		dst = binary.BigEndian.AppendUint32(append(dst, 0, 0), m.ACCM.Send)
		return binary.BigEndian.AppendUint32(dst, m.ACCM.Receive)
	case AVPFailoverCapability:
		return m.Failover.append(dst)
	case AVPTunnelRecovery:
		return appendPair(dst, m.Recovery.Tunnel, m.Recovery.Remote)
	case AVPSuggestedSequence:
		dst = binary.BigEndian.AppendUint16(append(dst, 0, 0), m.SuggestedSequence.Ns)
		return binary.BigEndian.AppendUint16(dst, m.SuggestedSequence.Nr)
	case AVPPPPDisconnect:
		dst = binary.BigEndian.AppendUint16(dst, m.PPPDisconnect.Code)
		dst = binary.BigEndian.AppendUint16(dst, m.PPPDisconnect.Protocol)
		return append(append(dst, m.PPPDisconnect.Direction), m.PPPDisconnect.Message...)
	}
	return dst // Sequencing Required and Speed Update Enable have no value
}

// append leaves the error code out where nothing needs it, as the RFC allows.
func (r Result) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.Code))
	if r.Code == ResultGeneralError || r.Error != ErrorNone || r.Message != "" {
		dst = binary.BigEndian.AppendUint16(dst, uint16(r.Error))
		dst = append(dst, r.Message...)
	}
	return dst
}

func (e CallErrors) append(dst []byte) []byte {
	dst = append(dst, 0, 0)
	for _, n := range [...]uint32{e.CRC, e.Framing, e.HardwareOverruns, e.BufferOverruns, e.Timeouts, e.Alignment} {
		dst = binary.BigEndian.AppendUint32(dst, n)
	}
	return dst
}
