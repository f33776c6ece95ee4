package l2tp

import (
	"io"
	"math"
	"time"
)

// Never is the Deadline of a machine that waits for nothing.
const Never = time.Duration(math.MaxInt64)

// Role says which end of a tunnel, or of a call, a machine plays.
type Role uint8

// The two roles. A LAC opens tunnels and places incoming calls; an LNS answers
// both.
const (
	RoleLAC Role = iota
	RoleLNS
)

// TunnelConfig configures tunnels. It is shared by all that point to it and
// never changed once a Tunnel has it. Zero fields mean the defaults they name.
type TunnelConfig struct {
	// HostName and VendorName go out in SCCRQ and SCCRP.
	HostName   string
	VendorName string
	// FirmwareRevision goes out unless 0.
	FirmwareRevision uint16
	// Secret, where there is one, makes the tunnel challenge its peer, answer the
	// peer's challenge, and read hidden AVPs. Without it, a challenge from the
	// peer is a failed authentication.
	Secret []byte
	// NoChallenge keeps the tunnel from challenging; it still answers.
	NoChallenge bool
	// Hide makes the tunnel hide every AVP that may be hidden. It needs Secret.
	Hide bool
	// FramingCap and BearerCap are what the SCCRQ or SCCRP offers. Default for
	// FramingCap: sync and async. BearerCap goes out unless 0.
	FramingCap uint32
	BearerCap  uint32
	// TieBreaker goes out in the SCCRQ unless 0.
	TieBreaker uint64
	// AcceptUnknownMandatory accepts messages with an unknown AVP that has the M
	// bit set, against RFC 2661 section 4.1, for LACs that need it.
	AcceptUnknownMandatory bool
	// Control configures the reliable delivery.
	Control ControlConfig
	// Rand yields challenges and random vectors; crypto/rand.Reader in earnest.
	Rand io.Reader
}

// TunnelState is the state of a control connection (RFC 2661 section 7.2.1).
type TunnelState uint8

// States of a control connection. TunnelStopping follows EventDown: the Tunnel
// only sees its StopCCN acknowledged, and acknowledges what the peer repeats.
const (
	TunnelIdle TunnelState = iota
	TunnelWaitReply
	TunnelWaitConn
	TunnelEstablished
	TunnelStopping
)
