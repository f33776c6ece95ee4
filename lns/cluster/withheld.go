package cluster

import (
	"context"
	"math"
	"net/netip"
	"sync"
	"time"
)

// Pools are a node's address pools (ippool.Pools), as Withheld uses them.
type Pools interface {
	Reserve(a netip.Addr, user string, owner uint64) error
	Release(a netip.Addr, owner uint64)
	Holder(a netip.Addr) (user string, owner uint64, ok bool)
}

// Withheld are addresses of this node's pools that sessions on other nodes
// have, since their service address has moved there. Its methods may be
// called from any goroutine.
type Withheld struct {
	pools func() Pools
	now   func() time.Time
	ready chan struct{} // closed when the database has been asked once
	once  sync.Once

	mu sync.Mutex
	// since is from when on; what the database said before is too old to release it. Zero is that of those
	// whose sessions come to life here, whatever the database says.
	since map[netip.Addr]time.Time
}

// The holder of a withheld address: no session's number, and what tells operators.
const (
	WithheldOwner = math.MaxUint64
	withheldUser  = "(a session on another node)"
)

// NewWithheld makes an empty set. pools gives the pools once they are needed; now is the time.
func NewWithheld(pools func() Pools, now func() time.Time) *Withheld {
	return &Withheld{pools: pools, now: now, ready: make(chan struct{}), since: map[netip.Addr]time.Time{}}
}

// firstList is how long taking an address waits for the first list.
const firstList = time.Second

// wait waits until the database has been asked once, or is known not to answer.
func (w *Withheld) wait(ctx context.Context) {
	select {
	case <-w.ready:
	case <-ctx.Done():
	case <-time.After(firstList):
	}
}

func (w *Withheld) take(a netip.Addr) { w.takeFrom(a, w.now()) }

// keep withholds the address of a session that comes to life here soon.
func (w *Withheld) keep(a netip.Addr) { w.takeFrom(a, time.Time{}) }

func (w *Withheld) takeFrom(a netip.Addr, since time.Time) {
	if !a.IsValid() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pools().Reserve(a, withheldUser, WithheldOwner) == nil {
		w.since[a] = since
	}
}

// elsewhere says that sessions do not come to life here whose addresses were kept.
func (w *Withheld) elsewhere(list []netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range list {
		if since, ok := w.since[a]; ok && since.IsZero() {
			w.since[a] = w.now()
		}
	}
}

func (w *Withheld) release(a netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.since[a]; ok {
		delete(w.since, a)
		w.pools().Release(a, WithheldOwner)
	}
}

// withheldFor is how long an address is withheld at the least: the database
// may not have heard yet of the session that has it.
const withheldFor = 30 * time.Second

// Set compares with what the database says: list is all that is in use elsewhere.
func (w *Withheld) Set(list []netip.Addr) {
	elsewhere := make(map[netip.Addr]bool, len(list))
	for _, a := range list {
		elsewhere[a] = true
		if _, _, held := w.pools().Holder(a); !held {
			w.take(a)
		}
	}
	w.mu.Lock()
	var gone []netip.Addr
	for a, since := range w.since {
		if !elsewhere[a] && !since.IsZero() && w.now().Sub(since) > withheldFor {
			gone = append(gone, a)
		}
	}
	w.mu.Unlock()
	for _, a := range gone {
		w.release(a)
	}
}

// Asked says that the database has been asked, or does not answer.
func (w *Withheld) Asked() { w.once.Do(func() { close(w.ready) }) }

// Len is how many addresses are withheld.
func (w *Withheld) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.since)
}
