package radius

import (
	"net/netip"
	"time"
)

// Role is what a server is asked for.
type Role string

// The roles.
const (
	RoleAuth Role = "auth"
	RoleAcct Role = "acct"
)

// LatencyBounds are the upper bounds of ServerStats.Latency's buckets but the
// last, which has no bound.
var LatencyBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// ServerStats are one server's state and counters since New. The counters
// never fall.
type ServerStats struct {
	Name    string
	Role    Role
	Address netip.AddrPort
	// Alive is false while the server gets no requests for not answering;
	// Since is when that last changed.
	Alive bool
	Since time.Time
	// InFlight, Queued and Sockets are as of now.
	InFlight, Queued, Sockets int

	// Requests counts first transmissions, Retransmits the others.
	Requests, Retransmits uint64
	// Accepts, Rejects, Challenges and Responses (to accounting) are
	// genuine answers to requests that waited for one.
	Accepts, Rejects, Challenges, Responses uint64
	// Timeouts counts requests that got no answer to any transmission.
	Timeouts uint64
	// Overflows counts requests that found the queue full, Expired those
	// that waited in it too long.
	Overflows, Expired uint64
	// BadAuthenticators counts answers dropped for a wrong Response
	// Authenticator or Message-Authenticator, Unsigned those dropped for
	// having no Message-Authenticator, Late those that nobody waited for
	// any more, Malformed those that could not be read.
	BadAuthenticators, Unsigned, Late, Malformed uint64
	// Refused counts ICMP errors (port unreachable, ...), SendErrors
	// transmissions that the kernel refused.
	Refused, SendErrors uint64
	// Deaths counts changes from alive to dead; Probes and ProbeReplies
	// Status-Server exchanges.
	Deaths, Probes, ProbeReplies uint64
	// Latency counts answers by time since the request's first
	// transmission, in the buckets of LatencyBounds (not cumulated);
	// LatencySum is the sum of those times.
	Latency    [len(LatencyBounds) + 1]uint64
	LatencySum time.Duration
}

// observe counts one answer that took d.
func (s *ServerStats) observe(d time.Duration) {
	i := 0
	for i < len(LatencyBounds) && d > LatencyBounds[i] {
		i++
	}
	s.Latency[i]++
	s.LatencySum += d
}

// DynAuthStats are a DynAuth's counters since its start.
type DynAuthStats struct {
	// Requests counts genuine requests, Duplicates those of them that were
	// answered before.
	Requests, Duplicates uint64
	// ACKs and NAKs count answers, Disconnected the sessions ended.
	ACKs, NAKs, Disconnected uint64
	// What was dropped in silence, by reason.
	UnknownClients, BadAuthenticators, Malformed, Stale uint64
}
