package dataplane

import "sync/atomic"

// tally counts what happens in one batch.
type tally struct {
	received, sent, sendDropped, malformed, invalid, coreDropped, noSession, tooBig, withheld uint64
}

// shardStats is one shard's share of Stats.
type shardStats struct {
	received, sent, sendDropped, malformed, invalid, coreDropped, noSession, tooBig, withheld atomic.Uint64
}

// add adds the tally and clears it.
func (s *shardStats) add(t *tally) {
	for _, c := range [...]struct {
		to *atomic.Uint64
		n  uint64
	}{
		{&s.received, t.received}, {&s.sent, t.sent}, {&s.sendDropped, t.sendDropped},
		{&s.malformed, t.malformed}, {&s.invalid, t.invalid}, {&s.coreDropped, t.coreDropped},
		{&s.noSession, t.noSession}, {&s.tooBig, t.tooBig}, {&s.withheld, t.withheld},
	} {
		if c.n != 0 {
			c.to.Add(c.n)
		}
	}
	*t = tally{}
}

// addTo adds the shard's counters to the sum.
func (s *shardStats) addTo(sum *Stats) {
	sum.Received += s.received.Load()
	sum.Sent += s.sent.Load()
	sum.SendDropped += s.sendDropped.Load()
	sum.Malformed += s.malformed.Load()
	sum.Invalid += s.invalid.Load()
	sum.CoreDropped += s.coreDropped.Load()
	sum.NoSession += s.noSession.Load()
	sum.TooBig += s.tooBig.Load()
	sum.Withheld += s.withheld.Load()
}
