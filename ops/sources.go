package ops

import (
	"context"
	"time"

	"culvert/lns"
	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// Sources tell what other rooms count. A nil field means that the node has no
// such thing, and its metrics are absent. The functions are called at each
// scrape, from any goroutine, and must not block.
type Sources struct {
	// Plane is the data plane's.
	Plane func() dataplane.Stats
	// Writer is the write-behind writer's; nil when no database is configured.
	Writer func() sessiondb.WriterStats
	// Pools has an entry for each address pool.
	Pools func() []PoolStats
	// RADIUS has an entry for each server and what it is used for.
	RADIUS func() []RADIUSServerStats
	// DynAuth is that of requests by RADIUS servers (RFC 5176).
	DynAuth func() DynAuthStats
	// Outbox is that of accounting records that no server has acknowledged.
	Outbox func() OutboxStats
	// IPsec is that of the key exchange; SAUsage asks it for what an SA has carried, and may block until ctx ends.
	IPsec   func() IPsecStats
	SAUsage func(ctx context.Context, mark uint32) (lns.SAUsage, error)
	// SAs are all that there are, in any order, IKETroubles what LACs failed with, the latest first.
	SAs         func() []lns.SA
	IKETroubles func() []lns.IKETrouble
	// RekeySA has an SA get new keys, and may block until ctx ends; EndSA ends one for a reason, and returns at once.
	RekeySA func(ctx context.Context, mark uint32) error
	EndSA   func(mark uint32, why string)
	// Cluster is about the node's part in a cluster.
	Cluster func() ClusterStats
	// NotReady gives further reasons why no call should be sent here;
	// Warnings what needs attention while calls go on.
	NotReady, Warnings func() []string
}

// IPsecStats is about SAs and the key exchange. Its fields are those of lns/ipsec's own type.
type IPsecStats struct {
	// Wanted says that a LAC profile uses IPsec; Connected that charon is there; Version is its.
	Wanted, Connected bool
	Version           string
	// SAs is how many peers each LAC profile has.
	SAs map[string]int
	// Up counts peers that came, Gone those that went by cause, Rekeyed new keys of CHILD_SAs.
	Up, Rekeyed uint64
	// Early counts ESP packets that had come before their SA had keys, and were given to the kernel again (IKEv1).
	Early uint64
	Gone  map[lns.SACause]uint64
	// IKEUp and IKEDown count IKE SAs; Failures attempts that failed, by reason.
	IKEUp, IKEDown uint64
	Failures       map[lns.IKEReason]uint64
}

// PoolStats is how full an address pool is. Its fields are those of the
// pools' own type, so that the one converts to the other.
type PoolStats struct {
	Name string
	// Size is how many addresses the pool can hand out, Used how many it has.
	Size, Used int
	// Acquired counts addresses given, Full refusals for want of a free
	// address, Conflicts wanted addresses that another session held.
	Acquired, Full, Conflicts uint64
}

// RADIUSServerStats is about one server in one use. The counters never fall.
type RADIUSServerStats struct {
	// Server is its name or address; Use is "auth" or "acct".
	Server, Use string
	// Alive is false while the server gets no requests for not answering.
	Alive bool
	// InFlight counts requests that wait for an answer, Queued those that wait to be sent.
	InFlight, Queued int
	// What became of requests: Accepts, Rejects, Challenges and Responses
	// (to accounting) were answered, Timeouts never; Overflows found the
	// queue full, Expired waited in it too long.
	Accepts, Rejects, Challenges, Responses, Timeouts, Overflows, Expired uint64
	// Retransmits were sent again; Deaths counts changes from alive to dead.
	Retransmits, Deaths uint64
	// Answers that were dropped: their authenticator was wrong, they had no
	// Message-Authenticator, nobody waited for them, they could not be read.
	BadAuthenticators, Unsigned, Late, Malformed uint64
	// Latency[i] counts answers that took at most LatencyBounds[i] (not
	// cumulative; the last is beyond all); LatencySum is their time in all.
	LatencyBounds []time.Duration
	Latency       []uint64
	LatencySum    time.Duration
}

// DynAuthStats count requests by RADIUS servers to end sessions. Its fields
// are those of the server's own type, so that the one converts to the other.
type DynAuthStats struct {
	// Requests counts genuine requests, Duplicates those of them that were
	// answered before.
	Requests, Duplicates uint64
	// ACKs and NAKs count answers, Disconnected the sessions ended.
	ACKs, NAKs, Disconnected uint64
	// What was dropped in silence, by reason.
	UnknownClients, BadAuthenticators, Malformed, Stale uint64
}

// ClusterStats is about the node's part in a cluster.
type ClusterStats struct {
	// Lease is what is left of the lease; Stopped says that the node may
	// answer for nothing.
	Lease   time.Duration
	Stopped bool
	// Members are the nodes that may claim, Addresses the service addresses
	// of all; Owned of them are this node's, Serving it answers for.
	Members, Addresses, Owned, Serving int
}

// OutboxStats is about accounting records that wait. Its fields are those of
// the outbox's own type, so that the one converts to the other.
type OutboxStats struct {
	// Pending records are not acknowledged, InFlight of them are being sent,
	// Stubs of them are in the journal only.
	Pending, InFlight, Stubs int
	// Away is true while no accounting server answers and one is only tried now and then.
	Away bool
	// Submitted, Acknowledged, Coalesced (interims that a later record made
	// needless), Retried and Corrupt count records.
	Submitted, Acknowledged, Coalesced, Retried, Corrupt uint64
	// JournalErrors counts failures to read from the journal or to drop from it.
	JournalErrors uint64
}
