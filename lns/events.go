package lns

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// EventLost tells a watcher that it was too slow and events were dropped before this one.
const EventLost EventKind = "lost"

// watcherBuffer is how many events a watcher may be behind.
const watcherBuffer = 4096

// hub hands events to those who watch. Publishing never blocks: a watcher
// whose buffer is full loses events and is told so.
type hub struct {
	active atomic.Int32 // watchers, read without the lock so that nobody watching costs nothing

	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

type watcher struct {
	ch   chan Event
	lost bool
}

// watch gives a channel that is closed when ctx is done.
func (h *hub) watch(ctx context.Context) <-chan Event {
	w := &watcher{ch: make(chan Event, watcherBuffer)}
	h.mu.Lock()
	if h.watchers == nil {
		h.watchers = make(map[*watcher]struct{})
	}
	h.watchers[w] = struct{}{}
	h.active.Add(1)
	h.mu.Unlock()
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
		h.active.Add(-1)
		close(w.ch)
	})
	return w.ch
}

// watched says whether it is worth making an event.
func (h *hub) watched() bool { return h.active.Load() > 0 }

func (h *hub) publish(list []Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		for i := range list {
			w.offer(list[i])
		}
	}
}

func (w *watcher) offer(e Event) {
	if w.lost {
		select {
		case w.ch <- Event{At: time.Now(), Kind: EventLost, Detail: "this watcher was too slow; events before this one were dropped"}:
			w.lost = false
		default:
			return
		}
	}
	select {
	case w.ch <- e:
	default:
		w.lost = true
	}
}
