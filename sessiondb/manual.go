package sessiondb

import (
	"context"
	"time"
)

// Step does, in a simulation, what the Writer's goroutine does when it has
// waited for what the last Step gave: it writes what is pending, and makes a resync
// when one is due. The first Step makes one. Only one Step may run at a time;
// the other methods may be called meanwhile, where the store lets others run.
func (w *Writer) Step(ctx context.Context) (pause time.Duration) {
	w.mu.Lock()
	first := !w.started
	w.started = true
	w.mu.Unlock()
	if first {
		w.resyncAt = w.opts.Now()
	}
	w.result(w.cycle(ctx))
	return w.pause()
}

// Woken says, once, that something is pending; the next Step is then due after
// Pause, and at once where full is true.
func (w *Writer) Woken() (some, full bool) {
	if w.failures > 0 {
		return false, false
	}
	select {
	case <-w.some:
		some = true
	default:
	}
	select {
	case <-w.full:
		full = true
	default:
	}
	return some, full
}

// Pause is how long to wait before the next Step.
func (w *Writer) Pause() time.Duration { return w.pause() }
