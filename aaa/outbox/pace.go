package outbox

import (
	"hash/maphash"
	"time"
)

func hashString(seed maphash.Seed, s string) uint64 { return maphash.String(seed, s) }

// awayAfter is how many failures in a row make the Accountant count as away.
// One record that a server cannot digest must not do that.
const awayAfter = 32

// pace decides how many records may be with the Accountant. When awayAfter
// in a row fail, or all that may be out, the Accountant counts as away: then one record
// at a time is tried, with a longer and longer wait in between. Success opens
// up again, twice as wide each time, so that a server that has come back is
// not run over.
type pace struct {
	// Immutable.
	limit      int
	first, cap time.Duration
	rand       func(int64) int64

	window int
	fails  int // in a row
	pauses int // in a row
	until  time.Time
}

func newPace(c Config) pace {
	return pace{limit: c.Concurrency, first: c.RetryFirst, cap: c.RetryCap, rand: c.Rand, window: c.Concurrency}
}

// away says whether nothing gets through.
func (p *pace) away() bool { return p.pauses > 0 }

// succeed notes an acknowledgement and says whether it ended an absence.
func (p *pace) succeed() (back bool) {
	back = p.pauses > 0
	p.fails, p.pauses, p.until = 0, 0, time.Time{}
	p.window = min(p.window*2, p.limit)
	return back
}

// fail notes a failure and says whether it began an absence.
func (p *pace) fail(now time.Time) (away bool) {
	p.fails++
	if p.fails < min(p.window, awayAfter) || now.Before(p.until) {
		return false
	}
	p.until = now.Add(backoff(p.first, p.cap, p.pauses, p.rand))
	p.fails, p.window = 0, 1
	p.pauses++
	return p.pauses == 1
}

// backoff is first doubled n times, at most limit, and up to a quarter less.
func backoff(first, limit time.Duration, n int, rand func(int64) int64) time.Duration {
	d := first
	for ; n > 0 && d < limit; n-- {
		d *= 2
	}
	d = min(d, limit)
	return d - time.Duration(rand(int64(d/4+1)))
}
