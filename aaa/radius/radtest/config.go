// Package radtest is a RADIUS server for labs and tests: it knows its users
// from a table or by one password for everybody, hands out the same grant to
// all or one per user, keeps accounting in memory and counts what came twice,
// and misbehaves on demand. It also starts a real FreeRADIUS for tests.
package radtest

import (
	"net/netip"
	"time"

	"layeh.com/radius"
)

// Config is what a Server needs.
type Config struct {
	// Auth and Acct are the addresses to listen on; port 0 takes a free one,
	// and an address that is not valid is 127.0.0.1 with a free port.
	Auth, Acct netip.AddrPort
	Secret     []byte
	// Users by name. AnyPassword, when not empty, is the password of
	// everybody who is not in the table.
	Users       map[string]User
	AnyPassword string
	// Reply goes into every Access-Accept, after the user's own.
	Reply radius.Attributes
	// Script, where set, answers every Access-Request instead of the table; nil is no answer. It
	// is called by several goroutines.
	Script func(*radius.Packet) *radius.Packet
	// KeepRecords is how many accounting records Records gives; the latest
	// ones are kept (1,000). Counts are over all records.
	KeepRecords int
}

// User is a row of the table.
type User struct {
	Password string
	Reply    radius.Attributes
}

// Behaviour is how the server misbehaves. The zero value is a good server.
type Behaviour struct {
	// Delay is how long every answer waits.
	Delay time.Duration
	// Silent answers nothing; SilentStatus no Status-Server.
	Silent, SilentStatus bool
	// Lying signs answers with a wrong secret, Unsigned leaves the
	// Message-Authenticator out.
	Lying, Unsigned bool
	// Reject refuses everybody.
	Reject bool
	// DropEvery drops every n-th request before it is looked at, when over zero.
	DropEvery int
}

// Counts are what a Server has seen. All counters but Sessions and Open are
// of packets.
type Counts struct {
	AccessRequests, Accepts, Challenges, Rejects, StatusServers uint64
	// Retransmits are requests with the identifier and authenticator of one
	// that was answered or is being answered; they count nowhere else.
	Retransmits uint64
	// BadRequests could not be read or had a wrong authenticator.
	BadRequests uint64
	// Starts, Interims and Stops are first records; DuplicateStarts and
	// DuplicateStops are those of a session that had one before, and
	// DuplicateInterims repeat the session's last one.
	Starts, Interims, Stops                            uint64
	DuplicateStarts, DuplicateInterims, DuplicateStops uint64
	// StopsWithoutStart and RecordsAfterStop came out of order.
	StopsWithoutStart, RecordsAfterStop uint64
	// Sessions had any record, Open of them a Start and no Stop yet.
	Sessions, Open int
	// InOctets and OutOctets are the sums of the sessions' last records.
	InOctets, OutOctets uint64
}

// Record is one accounting record as it came.
type Record struct {
	// At is when it came, From who sent it.
	At   time.Time
	From netip.AddrPort
	// Status is Acct-Status-Type: 1 Start, 2 Stop, 3 Interim-Update.
	Status  uint32
	Session string
	User    string
	// Packet has all attributes.
	Packet *radius.Packet
}
