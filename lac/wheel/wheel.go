// Package wheel is a timer wheel for one goroutine with very many timers:
// setting, moving and stopping one costs a few pointer writes and no memory.
// It has no clock; its owner calls Advance.
package wheel

import (
	"math/bits"
	"time"
)

const (
	// Tick is the wheel's resolution: a timer fires at most one Tick after
	// its time, and never before it.
	Tick  = 4 * time.Millisecond
	slots = 8192
	words = slots / 64
)

// Never is what Next returns when no timer is set.
const Never = time.Duration(1<<63 - 1)

// Expirer owns a timer. Expire is called from Advance once the timer's time
// has come; the timer is stopped by then and may be set again.
type Expirer interface {
	Expire(now time.Duration, t *Timer)
}

// Timer is meant to be a field of what owns it. The zero Timer is stopped.
// A Timer that is set must not be copied.
type Timer struct {
	next  *Timer
	prev  **Timer // what points at this timer; nil while stopped
	tick  int64   // the tick at which it fires
	owner Expirer
}

// Active reports whether the timer is set.
func (t *Timer) Active() bool { return t.prev != nil }

// At is when the timer fires, rounded up to a Tick; Never while stopped.
func (t *Timer) At() time.Duration {
	if t.prev == nil {
		return Never
	}
	return time.Duration(t.tick) * Tick
}

// Wheel holds timers. The zero Wheel is ready and begins at time 0; use New
// where time begins elsewhere.
type Wheel struct {
	head  [slots]*Timer
	used  [words]uint64 // slots that may hold a timer
	last  int64         // every tick up to this one has been fired
	count int
}

// New makes a wheel whose time begins at now.
func New(now time.Duration) *Wheel { return &Wheel{last: int64(now / Tick)} }

// Len is how many timers are set.
func (w *Wheel) Len() int { return w.count }

// Set makes t fire at time at, on behalf of owner; a timer that is set is moved.
// A time that has passed fires at the next tick, and Never stops the timer.
func (w *Wheel) Set(t *Timer, at time.Duration, owner Expirer) {
	if at == Never {
		w.Stop(t)
		return
	}
	tick := max(int64(at/Tick), w.last+1)
	if at%Tick > 0 && tick == int64(at/Tick) {
		tick++
	}
	if t.prev != nil {
		if t.tick == tick {
			t.owner = owner
			return
		}
		w.Stop(t)
	}
	t.tick, t.owner = tick, owner
	w.link(t)
}

// Stop makes t fire no more; stopping a stopped timer does nothing.
func (w *Wheel) Stop(t *Timer) {
	if t.prev == nil {
		return
	}
	unlink(t)
	w.count--
}

func (w *Wheel) link(t *Timer) {
	slot := int(t.tick & (slots - 1))
	push(&w.head[slot], t)
	w.used[slot/64] |= 1 << (slot % 64)
	w.count++
}

func push(head **Timer, t *Timer) {
	t.next, t.prev = *head, head
	if t.next != nil {
		t.next.prev = &t.next
	}
	*head = t
}

func unlink(t *Timer) {
	*t.prev = t.next
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.next, t.prev = nil, nil
}

// Advance fires every timer whose time is at or before now. Timers set
// meanwhile fire at a later tick.
func (w *Wheel) Advance(now time.Duration) {
	to := int64(now / Tick)
	if to-w.last > slots {
		// After a long sleep one revolution visits every slot; whatever is overdue fires in it.
		w.last = to - slots
	}
	for w.last < to {
		next := w.nextUsed(to)
		if next > to {
			w.last = to
			return
		}
		w.last = next
		w.fire(int(next&(slots-1)), now)
	}
}

// nextUsed is the first tick after last, up to limit, whose slot may hold a
// timer; limit+1 when there is none.
func (w *Wheel) nextUsed(limit int64) int64 {
	for tick := w.last + 1; tick <= limit; {
		slot := int(tick & (slots - 1))
		if rest := w.used[slot/64] >> (slot % 64); rest != 0 {
			return min(tick+int64(bits.TrailingZeros64(rest)), limit+1)
		}
		tick += int64(64 - slot%64)
	}
	return limit + 1
}

// fire runs the due timers of a slot and puts back those of later revolutions.
func (w *Wheel) fire(slot int, now time.Duration) {
	due := w.head[slot]
	if due != nil {
		due.prev = &due
	}
	w.head[slot] = nil
	w.used[slot/64] &^= 1 << (slot % 64)
	for due != nil {
		t := due
		unlink(t)
		w.count--
		if t.tick > w.last {
			w.link(t)
			continue
		}
		t.owner.Expire(now, t)
	}
}

// Next is when Advance should be called next: never later than the first
// timer's time, maybe earlier. Never when no timer is set.
func (w *Wheel) Next() time.Duration {
	if w.count == 0 {
		return Never
	}
	return time.Duration(w.nextUsed(w.last+slots)) * Tick
}
