package l2tp

import "encoding/binary"

// Bits of the first two octets of an AVP (RFC 2661 section 4.1).
const (
	avpMandatory = 0x8000
	avpHidden    = 0x4000
	avpReserved  = 0x3c00
	avpLength    = 0x03ff
)

// maxExtra bounds how many unknown AVPs of one message are kept to look at.
const maxExtra = 64

// ParseMessage decodes body, the payload of a control header, into m, which it
// resets first. secret reads hidden AVPs; it may be nil. The error is a
// *MessageError. Parsing goes on after a bad AVP wherever it can, so that m
// holds what could be read even when there is an error: the ids to answer to
// are usually there.
//
// A known AVP is taken with the M bit either way. One that is malformed is
// skipped when its M bit is clear (RFC 2661 section 7.1). Of an AVP that comes
// twice the first counts, except that Connect Speed Updates and Failover Session
// States are all kept and the last Random Vector is kept. An unknown message type with a clear M bit is
// no error: m.Type.Known() is false and the caller ignores the message.
func ParseMessage(body, secret []byte, m *Message) error {
	m.Reset()
	p := parser{m: m, secret: secret}
	rest, err := p.messageType(body)
	if err != nil {
		return err
	}
	if !m.Type.known() {
		return nil
	}
	for len(rest) > 0 {
		avp, next, ok := cutAVP(rest)
		if !ok {
			p.fail(RawAVP{Mandatory: true}, ErrAVPFraming)
			p.err.HasAVP = false
			break
		}
		p.avp(avp, len(body))
		rest = next
	}
	p.required()
	if p.err == nil {
		return nil
	}
	return p.err
}

// parser is the state of one ParseMessage.
type parser struct {
	m      *Message
	secret []byte
	err    *MessageError // the first fault that counts
}

// cutAVP takes the first AVP off b.
func cutAVP(b []byte) (avp RawAVP, rest []byte, ok bool) {
	if len(b) < avpHeader {
		return avp, nil, false
	}
	word := binary.BigEndian.Uint16(b)
	n := int(word & avpLength)
	if n < avpHeader || n > len(b) {
		return avp, nil, false
	}
	avp = RawAVP{
		Vendor:    binary.BigEndian.Uint16(b[2:]),
		Attribute: binary.BigEndian.Uint16(b[4:]),
		Mandatory: word&avpMandatory != 0,
		Hidden:    word&avpHidden != 0,
		Value:     b[avpHeader:n:n],
	}
	if word&avpReserved != 0 {
		// Section 4.1: reserved bits make it an unrecognized AVP. Vendor 0xffff is
		// reserved, and so never known here.
		avp.Vendor = 0xffff
	}
	return avp, b[n:], true
}

// messageType reads the Message Type AVP, which comes first, is never hidden,
// and whose M bit is about the whole message (RFC 2661 section 4.4.1).
func (p *parser) messageType(body []byte) ([]byte, error) {
	avp, rest, ok := cutAVP(body)
	if !ok || avp.Vendor != VendorIETF || avp.Attribute != 0 || avp.Hidden || len(avp.Value) != 2 {
		return nil, &MessageError{
			Tunnel: true, Err: ErrNoType,
			Result: Result{Code: ResultGeneralError, Error: ErrorValue, Message: ErrNoType.Error()},
		}
	}
	p.m.Type = MessageType(binary.BigEndian.Uint16(avp.Value))
	if !p.m.Type.known() && avp.Mandatory {
		return nil, &MessageError{
			Type: p.m.Type, HasAVP: true, Tunnel: true, Err: ErrUnknownType,
			Result: Result{Code: ResultGeneralError, Error: ErrorUnknownAVP, Message: ErrUnknownType.Error()},
		}
	}
	return rest, nil
}

// avp decodes one AVP that is not the first.
func (p *parser) avp(avp RawAVP, size int) {
	index := avpUnknown
	if avp.Vendor == VendorIETF {
		index = findAVP(avp.Attribute)
	}
	if index == avpUnknown && !(avp.Vendor == VendorDSLForum && lineBit(LineAVP(avp.Attribute)) != 0 && avp.Attribute < 256) {
		p.unknown(avp)
		return
	}
	if avp.Hidden && index == AVPTunnelRecovery {
		p.fail(avp, ErrAVPHidden) // RFC 4951 section 5.2
		return
	}
	if avp.Hidden {
		value, err := p.unhide(avp, size)
		if err != nil {
			p.fail(avp, err)
			return
		}
		avp.Value = value
	}
	if index == avpUnknown {
		p.line(avp)
		return
	}
	spec := &avps[index]
	if n := len(avp.Value); n < spec.min || n > spec.max {
		p.fail(avp, ErrAVPLength)
		return
	}
	if index == AVPReceiveWindow && avp.Value[0]|avp.Value[1] == 0 {
		// Not even one message could be sent: an error, or, with the M bit clear, as if absent.
		p.fail(avp, ErrAVPValue)
		return
	}
	if index == AVPFailoverCapability && avp.Value[1]&3 == 0 {
		return // RFC 4951 section 5.1: says nothing, and must not be sent
	}
	repeats := index == AVPRandomVector || index == AVPSpeedUpdate || index == AVPSessionState
	if index == AVPMessageType || p.m.Has(index) && !repeats {
		return
	}
	p.m.set(index, avp.Value)
}

// unknown keeps an AVP that is not known, and remembers the fault if its M bit
// makes it one.
func (p *parser) unknown(avp RawAVP) {
	if len(p.m.Extra) < maxExtra {
		p.m.Extra = append(p.m.Extra, avp)
	}
	if avp.Mandatory && p.err == nil {
		p.fail(avp, ErrAVPUnknown)
		p.err.UnknownAVP = true
	}
}

// line decodes an access-line AVP into the message's AccessLine, which is
// there once one of them was well-formed.
func (p *parser) line(avp RawAVP) {
	m := p.m
	if m.line == nil {
		m.line = new(AccessLine)
	}
	if m.Line == nil {
		*m.line = AccessLine{}
	}
	if !m.line.set(LineAVP(avp.Attribute), avp.Value) {
		p.fail(avp, ErrAVPLength)
		return
	}
	m.Line = m.line
}

// fail remembers the first fault. A malformed AVP with a clear M bit is none.
// A fault that cannot be lived with takes the place of one that can.
func (p *parser) fail(avp RawAVP, err error) {
	if !avp.Mandatory || p.err != nil && !p.err.UnknownAVP {
		return
	}
	p.err = &MessageError{
		Type: p.m.Type, Vendor: avp.Vendor, Attribute: avp.Attribute, HasAVP: true,
		Tunnel: !p.m.Type.session(), Err: err,
	}
	p.err.Result = Result{Code: ResultGeneralError, Error: errorCode(err), Message: p.err.reason()}
}

func errorCode(err error) ErrorCode {
	switch err {
	case ErrAVPUnknown:
		return ErrorUnknownAVP
	case ErrAVPLength, ErrAVPFraming:
		return ErrorLength
	case ErrAVPValue, ErrAVPHidden:
		return ErrorValue
	}
	return ErrorVendor
}

// needs are the AVPs without which a message cannot be acted on. The RFC lists
// more as required; peers leave them out and lose nothing by it.
var needs = [...][]AVP{
	MessageSCCRQ: {AVPProtocolVersion, AVPHostName, AVPAssignedTunnelID},
	MessageSCCRP: {AVPProtocolVersion, AVPHostName, AVPAssignedTunnelID},
	MessageOCRQ:  {AVPAssignedSessionID},
	MessageOCRP:  {AVPAssignedSessionID},
	MessageICRQ:  {AVPAssignedSessionID},
	MessageICRP:  {AVPAssignedSessionID},
	MessageWEN:   {AVPCallErrors},
	MessageSLI:   {AVPACCM},
	MessageFSQ:   {AVPSessionState},
	MessageFSR:   {AVPSessionState},
	MessageCSURQ: nil,
}

// required checks that what the message needs is there, and that ids are not 0.
func (p *parser) required() {
	for _, a := range needs[p.m.Type] {
		avp := RawAVP{Attribute: avps[a].attribute, Mandatory: true}
		switch {
		case !p.m.Has(a):
			p.fail(avp, ErrAVPMissing)
		case a == AVPAssignedTunnelID && p.m.AssignedTunnelID == 0,
			a == AVPAssignedSessionID && p.m.AssignedSessionID == 0:
			p.fail(avp, ErrAVPValue)
		}
	}
}
