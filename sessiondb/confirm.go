package sessiondb

import "context"

// waiters are those who want to know when the store has what was submitted
// before them. The Writer's lock guards them.
type waiters struct {
	// queued wait for the slots below their number, in their order.
	queued []waiter
	// resync wait for a resync that begins after them, since what they wait
	// for was dropped.
	resync []func()
}

type waiter struct {
	end  int
	done func()
}

// Confirm calls done once, when the store has all that was submitted before:
// written, or refused for good, or made good by a resync. What is refused when a resync is due, as after Start, is not refused
// for good before that has gone through. A store that is
// away makes that late, and done is never called after Close. done runs on
// the Writer's goroutine, or on the caller's where nothing is pending, and
// must not block.
func (w *Writer) Confirm(done func()) {
	w.mu.Lock()
	switch {
	case w.closing:
		w.mu.Unlock()
		return
	case w.discarding:
		w.waiters.resync = append(w.waiters.resync, done)
	case w.queue.len() == 0 && len(w.inflight) == 0 && !w.lostSince.IsZero():
		w.waiters.resync = append(w.waiters.resync, done)
	case w.queue.len() == 0 && len(w.inflight) == 0:
		w.mu.Unlock()
		done()
		return
	default:
		w.waiters.queued = append(w.waiters.queued, waiter{w.queue.end(), done})
	}
	w.mu.Unlock()
}

// Flush waits until the store has all that was submitted before, or for ctx's end.
func (w *Writer) Flush(ctx context.Context) error {
	done := make(chan struct{})
	w.Confirm(func() { close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// written takes out those whose slots, all below base, have been written.
func (l *waiters) written(base int) []func() {
	n := 0
	var list []func()
	for n < len(l.queued) && l.queued[n].end <= base {
		list = append(list, l.queued[n].done)
		n++
	}
	if l.queued = l.queued[n:]; len(l.queued) == 0 {
		l.queued = nil
	}
	return list
}

// lost makes all wait for a resync.
func (l *waiters) lost() {
	for _, w := range l.queued {
		l.resync = append(l.resync, w.done)
	}
	l.queued = nil
}

// resynced takes out the first n of those who wait for a resync.
func (l *waiters) resynced(n int) []func() {
	list := l.resync[:n:n]
	if l.resync = l.resync[n:]; len(l.resync) == 0 {
		l.resync = nil
	}
	return list
}

func call(list []func()) {
	for _, f := range list {
		f()
	}
}
