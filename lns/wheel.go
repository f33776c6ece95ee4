package lns

import "time"

// Timers are hashed into slots of one tick each; a timer further away than
// one turn stays in its slot and is looked at once a turn.
const (
	wheelTick  = 10 * time.Millisecond
	wheelSlots = 4096
)

// never is a deadline that does not come.
const never = time.Duration(1<<63 - 1)

// expirer is what a timer wakes: a tunnel or a session of the wheel's shard.
type expirer interface{ expire(sh *shard) }

// timer is one entry of a wheel, embedded in what it wakes. Only the shard
// that owns the wheel touches it.
type timer struct {
	next, prev *timer
	at         time.Duration
	who        expirer
}

// wheel is a shard's timers. Setting and stopping are O(1) and allocate nothing.
type wheel struct {
	slots [wheelSlots]timer // list heads
	tick  int64             // the last tick that was run
	count int
}

func (w *wheel) init(now time.Duration) {
	for i := range w.slots {
		h := &w.slots[i]
		h.next, h.prev = h, h
	}
	w.tick = int64(now / wheelTick)
}

// set arms t for at, or moves it there; a past deadline fires at the next tick.
func (w *wheel) set(t *timer, at time.Duration) {
	if t.next != nil && t.at == at {
		return
	}
	w.stop(t)
	if at == never {
		return
	}
	t.at = at
	// Rounded up, so that a timer never fires before its deadline.
	tick := max(int64((at+wheelTick-1)/wheelTick), w.tick+1)
	h := &w.slots[tick%wheelSlots]
	t.next, t.prev = h, h.prev
	h.prev.next = t
	h.prev = t
	w.count++
}

// stop disarms t; a timer that is not armed is left as it is.
func (w *wheel) stop(t *timer) {
	if t.next == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev = nil, nil
	w.count--
}

// run fires what is due by now. A timer is disarmed before it fires and may be armed again by it.
func (w *wheel) run(now time.Duration, sh *shard) {
	target := int64(now / wheelTick)
	if target-w.tick > wheelSlots {
		// After a long sleep one turn visits every slot.
		w.tick = target - wheelSlots
	}
	for w.tick < target {
		w.tick++
		w.runSlot(&w.slots[w.tick%wheelSlots], now, sh)
	}
}

// runSlot takes the slot's list away first, so that what fires may set timers into the same slot.
func (w *wheel) runSlot(h *timer, now time.Duration, sh *shard) {
	if h.next == h {
		return
	}
	var due timer
	due.next, due.prev = h.next, h.prev
	due.next.prev, due.prev.next = &due, &due
	h.next, h.prev = h, h
	for due.next != &due {
		t := due.next
		w.stop(t)
		if t.at > now {
			w.set(t, t.at)
			continue
		}
		t.who.expire(sh)
	}
}
