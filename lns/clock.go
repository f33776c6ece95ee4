package lns

import (
	"hash/fnv"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Clock tells the time. Mono never jumps; Wall is for records. What is kept of a
// session holds moments of Mono, so that timers go on after a restart whatever
// the wall clock did meanwhile: that takes a Clock that also is a BootClock.
type Clock interface {
	Mono() time.Duration
	Wall() time.Time
}

// BootClock is a Clock whose Mono goes on in the next process, as long as
// Boot gives the same number.
type BootClock interface {
	Clock
	// Boot names the machine's boot; 0 where that is not known.
	Boot() uint64
}

// realClock counts from the machine's boot, its sleep included up to the process' start.
type realClock struct {
	start  time.Time
	before time.Duration
	boot   uint64
}

func newRealClock() realClock {
	c := realClock{start: time.Now()}
	var ts unix.Timespec
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err == nil && unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) == nil {
		h := fnv.New64a()
		h.Write(id)
		c.before, c.boot = time.Duration(ts.Nano()), h.Sum64()
	}
	return c
}

func (c realClock) Mono() time.Duration { return c.before + time.Since(c.start) }
func (c realClock) Wall() time.Time     { return time.Now() }
func (c realClock) Boot() uint64        { return c.boot }

// bootOf is the clock's boot, 0 where it knows none.
func bootOf(c Clock) uint64 {
	if b, ok := c.(BootClock); ok {
		return b.Boot()
	}
	return 0
}

// maxAbsence bounds what is believed of the wall clock about how long nobody
// served a session: a machine that boots with a wrong clock must not have every
// session time out. No tunnel lives through more without its LNS.
const maxAbsence = 10 * time.Minute

// shift is what turns moments that were kept into those of the clock that
// shows now. In the same boot there is nothing to turn; else only the wall clock
// tells how long ago they were kept, and whatever it says that time is taken to be
// at least nothing and at most maxAbsence.
func (c *keptClock) shift(now time.Duration, boot uint64, keptAt, wall time.Time) time.Duration {
	if c.boot != 0 && c.boot == boot && now >= c.at {
		return 0
	}
	absence := min(max(wall.Sub(keptAt), 0), maxAbsence)
	return now - absence - c.at
}
