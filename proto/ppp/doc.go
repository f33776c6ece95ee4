// Package ppp is PPP on the wire: frames, control packets, options, LCP, PAP,
// CHAP (MD5 and MS-CHAPv2), IPCP, and the option negotiation automaton of
// RFC 1661 section 4.1 as a table. It does no I/O and reads no clock.
//
// Decoders are strict and copy nothing: what they return aliases their
// input. Encoders append to a caller's slice. The computations of
// MS-CHAPv2 (DES, MD4, SHA-1) are in the subpackage mschap, so that only who
// plays a subscriber or checks passwords links them in.
package ppp

import "errors"

// Errors of the decoders. They come bare or wrapped, so use errors.Is.
var (
	// ErrFrame: a frame is too short or its protocol field is not valid (RFC 1661 section 2).
	ErrFrame = errors.New("ppp: malformed frame")
	// ErrPacket: a packet's length field does not fit it, or its data its
	// code. Such packets are silently discarded (RFC 1661 section 5).
	ErrPacket = errors.New("ppp: malformed packet")
	// ErrOption: an option's length field does not fit the packet, which is
	// then discarded as a whole.
	ErrOption = errors.New("ppp: malformed option")
	// ErrOptionValue: a known option has a value of the wrong length or an
	// impossible one; it is answered with a Configure-Nak or Configure-Reject
	// (RFC 1661 section 6).
	ErrOptionValue = errors.New("ppp: invalid option value")
	// ErrUnknownOption: the option's type is not known; it is rejected.
	ErrUnknownOption = errors.New("ppp: unknown option")
)
