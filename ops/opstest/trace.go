package opstest

import (
	"context"
	"sync/atomic"

	"culvert/lns"
)

// AddTrace adds sessions that have done something.
func (n *Node) AddTrace(list ...lns.TracedSession) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.traced = append(n.traced, list...)
}

// Trace implements ops.Node; Limit counts from the end.
func (n *Node) Trace(ctx context.Context, q lns.TraceQuery) *lns.Trace {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := &lns.Trace{Dropped: &atomic.Uint64{}}
	for _, x := range n.traced {
		if selects(&q.Selector, &x.Info) {
			t.Past = append(t.Past, x)
		}
	}
	if q.Limit > 0 {
		t.Past = t.Past[max(0, len(t.Past)-q.Limit):]
	}
	if q.Follow {
		live := make(chan lns.TraceItem, 16)
		n.tracers[live], t.Live = t.Dropped, live
		context.AfterFunc(ctx, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.tracers, live)
		})
	}
	return t
}

// PublishTrace gives an item to all who follow, tells them that lost others were dropped
// before it, and says how many they are.
func (n *Node) PublishTrace(i lns.TraceItem, lost uint64) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for live, dropped := range n.tracers {
		dropped.Add(lost)
		live <- i
	}
	return len(n.tracers)
}

// Traced says whether anybody follows.
func (n *Node) Traced() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.tracers) > 0
}
