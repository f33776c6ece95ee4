package aaa

import (
	"net/netip"
	"time"
)

// TerminateCause is RADIUS' Acct-Terminate-Cause (RFC 2866 section 5.10).
type TerminateCause uint32

// The causes of RFC 2866 that an LNS can have.
const (
	CauseUserRequest        TerminateCause = 1
	CauseLostCarrier        TerminateCause = 2
	CauseLostService        TerminateCause = 3
	CauseIdleTimeout        TerminateCause = 4
	CauseSessionTimeout     TerminateCause = 5
	CauseAdminReset         TerminateCause = 6
	CauseAdminReboot        TerminateCause = 7
	CausePortError          TerminateCause = 8
	CauseNASError           TerminateCause = 9
	CauseNASRequest         TerminateCause = 10
	CauseNASReboot          TerminateCause = 11
	CausePortPreempted      TerminateCause = 13
	CauseServiceUnavailable TerminateCause = 15
	CauseUserError          TerminateCause = 17
)

// UsageKind says which accounting record it is (Acct-Status-Type).
type UsageKind uint8

// The kinds, with the numbers of RFC 2866 section 5.1.
const (
	UsageStart   UsageKind = 1
	UsageStop    UsageKind = 2
	UsageInterim UsageKind = 3
)

// String gives the name of RFC 2866.
func (k UsageKind) String() string {
	switch k {
	case UsageStart:
		return "Start"
	case UsageStop:
		return "Stop"
	case UsageInterim:
		return "Interim-Update"
	}
	return "unknown"
}

// Usage is one accounting record of one session.
type Usage struct {
	// Seq orders the records of a node and names them in the outbox; a
	// later record of a session has a higher one. Unique for the node, for ever.
	Seq      uint64
	Kind     UsageKind
	Identity Identity
	// Method is how the subscriber was authenticated (Acct-Authentic is RADIUS throughout).
	Method Method
	Class  [][]byte
	// Address and Routes are what the subscriber has.
	Address netip.Addr
	Routes  []netip.Prefix
	// At is the wall clock when it happened (Event-Timestamp, and the
	// origin of Acct-Delay-Time).
	At time.Time
	// Duration is the session's age at At (Acct-Session-Time).
	Duration time.Duration
	// Octets and packets of IP, as RADIUS sees them: In came from the
	// subscriber, Out went to it.
	InOctets, OutOctets, InPackets, OutPackets uint64
	// Cause is set in a Stop.
	Cause TerminateCause
}

// Accountant tells an accounting server what was used.
type Accountant interface {
	// Account never blocks. It calls done exactly once, from any goroutine:
	// with nil when a server has acknowledged the record, else with an
	// error that wraps ErrUnavailable after every try has failed.
	// Nobody changes u before that.
	Account(u *Usage, done func(error))
}

// Ledger takes records that are already durable and sees to it that each
// reaches an accounting server at least once, those of a session in order.
// It never blocks and never loses a Start or a Stop.
type Ledger interface {
	Submit([]Usage)
}
