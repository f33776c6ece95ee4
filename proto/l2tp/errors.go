package l2tp

import (
	"errors"
	"fmt"
)

// MessageError is what is wrong with a control message, with its answer on the
// wire: the Result, and whether it goes out in a StopCCN or a CDN.
type MessageError struct {
	// Type is that of the message, 0 when even that could not be read.
	Type MessageType
	// Vendor and Attribute name the AVP at fault; Attribute is meaningful when
	// HasAVP is set.
	Vendor, Attribute uint16
	HasAVP            bool
	// Tunnel is true when the control connection has to end, false when only the
	// session has to (RFC 2661 section 4.1).
	Tunnel bool
	// UnknownAVP says that the only fault is an AVP that is not known and has the
	// M bit set. Who prefers to live with it may: the message is complete.
	UnknownAVP bool
	// Result is what to send.
	Result Result
	// Err is the reason.
	Err error
}

// Reasons inside a MessageError.
var (
	ErrAVPFraming  = errors.New("AVP does not fit the message")
	ErrAVPLength   = errors.New("AVP value has the wrong length")
	ErrAVPUnknown  = errors.New("unknown AVP with the M bit set")
	ErrAVPMissing  = errors.New("required AVP is missing")
	ErrAVPValue    = errors.New("AVP value is out of range")
	ErrNoType      = errors.New("first AVP is not the Message Type")
	ErrUnknownType = errors.New("unknown message type with the M bit set")
	ErrNoSecret    = errors.New("hidden AVP, and no secret to read it")
	ErrNoVector    = errors.New("hidden AVP without a Random Vector before it")
	ErrAVPHidden   = errors.New("AVP is hidden, which it must not be")
	ErrHidden      = errors.New("hidden AVP does not decrypt; wrong secret?")
)

// Error describes the fault: message, AVP, reason.
func (e *MessageError) Error() string { return "l2tp: " + e.Type.String() + ": " + e.reason() }

// reason is the part of Error that also goes to the peer, in the Result.
func (e *MessageError) reason() string {
	if !e.HasAVP {
		return e.Err.Error()
	}
	if a := findAVP(e.Attribute); e.Vendor == VendorIETF && a != avpUnknown {
		return a.String() + ": " + e.Err.Error()
	}
	return fmt.Sprintf("AVP %d of vendor %d: %v", e.Attribute, e.Vendor, e.Err)
}

// Unwrap returns the reason, for errors.Is.
func (e *MessageError) Unwrap() error { return e.Err }
