package lns

import "time"

// SetupBuckets are the upper bounds of the set-up time histogram, from ICRQ to up.
var SetupBuckets = [...]time.Duration{
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Stats are counters since the server's start.
type Stats struct {
	TunnelsUp, TunnelsDown, TunnelsFailed, TunnelsRefused uint64
	// TunnelsRecovered and SessionsRecovered lived on from an earlier life, or from another node.
	TunnelsRecovered, SessionsRecovered uint64
	// Failovers counts failures of control channels that tunnels have been through, by how: silent, recovered
	// (RFC 4951), failed (the tunnel was cleared), and peer (it was the LAC that had failed).
	Failovers map[string]uint64
	// SessionsUp and SessionsDown count established sessions; CallsFailed
	// those calls that never got there.
	SessionsUp, SessionsDown, CallsFailed uint64
	// Downs and Rejects count by Cause what ended: sessions and calls, and
	// calls that were refused at once.
	Downs, Rejects map[string]uint64
	// Dropped counts input that was not acted on, by reason.
	Dropped map[string]uint64
	// StaleAnswers of AAA came when their session was gone.
	StaleAnswers uint64
	// LineErrors counts WAN-Error-Notifys: LACs' reports of errors on subscribers' lines.
	LineErrors uint64
	// JournalErrors and PlaneErrors are failures to act on: look at the log.
	JournalErrors, PlaneErrors uint64
	// Confirms counts new tunnels and sessions that waited for the cluster's
	// store (durability: cluster), ConfirmLate those of them that waited in
	// vain for the longest time allowed; ConfirmSum is their time in all,
	// ConfirmMax the longest.
	Confirms, ConfirmLate  uint64
	ConfirmSum, ConfirmMax time.Duration
	// SetupCounts[i] counts set-ups of at most SetupBuckets[i] (not cumulative;
	// the last is beyond all), SetupSum is their time in all.
	SetupCounts [len(SetupBuckets) + 1]uint64
	SetupSum    time.Duration
}

// dropReason is why input was not acted on.
type dropReason uint8

const (
	dropMalformed dropReason = iota
	dropZeroTunnel
	dropBadSCCRQ
	dropUnknownLAC
	dropNoTunnel
	dropWrongSource
	dropNoSession
	dropBadICRQ
	dropDuplicateICRQ
	dropBadMessage
	dropControl
	dropInboxFull
	dropLate
	dropClear
	dropWrongSA
	dropDeadSA
	dropFenced
	dropReasons
)

var dropNames = [dropReasons]string{
	dropMalformed: "malformed", dropZeroTunnel: "zero-tunnel", dropBadSCCRQ: "bad-sccrq",
	dropUnknownLAC: "unknown-lac", dropNoTunnel: "no-tunnel", dropWrongSource: "wrong-source",
	dropNoSession: "no-session", dropBadICRQ: "bad-icrq", dropDuplicateICRQ: "duplicate-icrq",
	dropBadMessage: "bad-message", dropControl: "control", dropInboxFull: "inbox-full", dropLate: "late",
	dropClear: "clear", dropWrongSA: "wrong-sa", dropDeadSA: "no-sa",
	dropFenced: "fenced",
}

// shardStats are one shard's part of Stats; only the shard touches them.
type shardStats struct {
	tunnelsUp, tunnelsDown, tunnelsFailed, tunnelsRefused uint64
	tunnelsRecovered, sessionsRecovered                   uint64
	failovers                                             [failoverKinds]uint64
	sessionsUp, sessionsDown, callsFailed                 uint64
	downs, rejects                                        [causeCount]uint64
	dropped                                               [dropReasons]uint64
	staleAnswers, journalErrors, planeErrors, lineErrors  uint64
	setupCounts                                           [len(SetupBuckets) + 1]uint64
	setupSum                                              time.Duration
	confirms, confirmLate                                 uint64
	confirmSum, confirmMax                                time.Duration
}

func (s *shardStats) drop(r dropReason) { s.dropped[r]++ }

// complaint remembers when an operator was last told of one kind of bad input.
type complaint struct {
	at     time.Duration
	silent uint64
}

// complainEvery is how often the log tells of one kind of bad input, so that
// whoever sends it cannot flood the log.
const complainEvery = time.Second

// complain counts bad input and logs it, the first in a second as a warning
// with the number of those that were silent before it, the others for debugging.
func (sh *shard) complain(r dropReason, msg string, args ...any) {
	sh.stats.drop(r)
	c := &sh.complaints[r]
	if c.at != 0 && sh.now-c.at < complainEvery {
		c.silent++
		sh.log.Debug(msg, args...)
		return
	}
	if c.silent > 0 {
		args = append(args, "more_of_the_kind", c.silent)
	}
	*c = complaint{at: sh.now}
	sh.log.Warn(msg, args...)
}

// setup counts a call that came up after d.
func (s *shardStats) setup(d time.Duration) {
	i := 0
	for i < len(SetupBuckets) && d > SetupBuckets[i] {
		i++
	}
	s.setupCounts[i]++
	s.setupSum += d
}

// addTo adds a shard's counters to the server's.
func (s *shardStats) addTo(t *Stats) {
	t.TunnelsUp += s.tunnelsUp
	t.TunnelsDown += s.tunnelsDown
	t.TunnelsFailed += s.tunnelsFailed
	t.TunnelsRefused += s.tunnelsRefused
	t.TunnelsRecovered += s.tunnelsRecovered
	t.SessionsRecovered += s.sessionsRecovered
	t.SessionsUp += s.sessionsUp
	t.SessionsDown += s.sessionsDown
	t.CallsFailed += s.callsFailed
	t.StaleAnswers += s.staleAnswers
	t.LineErrors += s.lineErrors
	t.JournalErrors += s.journalErrors
	t.PlaneErrors += s.planeErrors
	t.SetupSum += s.setupSum
	t.Confirms += s.confirms
	t.ConfirmLate += s.confirmLate
	t.ConfirmSum += s.confirmSum
	t.ConfirmMax = max(t.ConfirmMax, s.confirmMax)
	for i, n := range s.setupCounts {
		t.SetupCounts[i] += n
	}
	for c := range causeCount {
		t.Downs[c.String()] += s.downs[c]
		t.Rejects[c.String()] += s.rejects[c]
	}
	if t.Failovers == nil {
		t.Failovers = map[string]uint64{}
	}
	for k, n := range s.failovers {
		t.Failovers[failoverKind(k).String()] += n
	}
	for r, n := range s.dropped {
		t.Dropped[dropNames[r]] += n
	}
}

// Stats adds up what the shards have counted.
func (s *Server) Stats() Stats {
	t := Stats{Downs: map[string]uint64{}, Rejects: map[string]uint64{}, Dropped: map[string]uint64{}}
	parts := make([]shardStats, len(s.shards))
	s.each(func(sh *shard) { parts[sh.idx] = sh.stats })
	for i := range parts {
		parts[i].addTo(&t)
	}
	return t
}
