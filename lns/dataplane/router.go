package dataplane

import (
	"log/slog"
	"net/netip"
	"sync"
)

// router keeps the core's routes for prefixes of sessions that lie outside the
// configured ones. Changes are gathered, and made by one goroutine, so that
// nobody waits for the kernel.
type router struct {
	// Constant.
	core   Core
	pools  []netip.Prefix
	log    *slog.Logger
	signal chan struct{}

	// Belongs to run.
	routed map[netip.Prefix]bool

	mu      sync.Mutex
	wanted  map[netip.Prefix]int // by how many sessions
	changed map[netip.Prefix]bool
}

func newRouter(core Core, pools []netip.Prefix, log *slog.Logger) *router {
	return &router{
		core: core, pools: pools, log: log, signal: make(chan struct{}, 1),
		routed: make(map[netip.Prefix]bool), wanted: make(map[netip.Prefix]int), changed: make(map[netip.Prefix]bool),
	}
}

// add and remove say that one session more, or less, has the prefix; wake
// makes what was said so.
func (r *router) add(p netip.Prefix)    { r.change(p, 1) }
func (r *router) remove(p netip.Prefix) { r.change(p, -1) }

func (r *router) change(p netip.Prefix, by int) {
	for _, pool := range r.pools {
		if pool.Bits() <= p.Bits() && pool.Contains(p.Addr()) {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted[p] += by; r.wanted[p] == 0 {
		delete(r.wanted, p)
	}
	r.changed[p] = true
}

func (r *router) wake() {
	select {
	case r.signal <- struct{}{}:
	default:
	}
}

// run makes the changes until done.
func (r *router) run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-r.signal:
		}
		add, remove := r.take()
		if len(add)+len(remove) == 0 {
			continue
		}
		if err := r.core.Route(add, remove); err != nil && !isDone(done) {
			r.log.Warn("cannot route subscribers' addresses to the plane", "err", err)
		}
	}
}

func isDone(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// take returns what differs between what is wanted and what is routed, and
// counts it as done.
func (r *router) take() (add, remove []netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.changed {
		switch want := r.wanted[p] > 0; {
		case want && !r.routed[p]:
			add = append(add, p)
			r.routed[p] = true
		case !want && r.routed[p]:
			remove = append(remove, p)
			delete(r.routed, p)
		}
	}
	clear(r.changed)
	return add, remove
}
