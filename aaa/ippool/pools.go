// Package ippool hands out subscribers' IPv4 addresses from pools in memory.
// A subscriber gets the address it had last for as long as nobody else has
// it, and an address is taken by someone else only after all those that have
// been free for longer.
package ippool

import (
	"fmt"
	"net/netip"
	"sort"
	"sync"

	"culvert/aaa"
)

// Pools implements aaa.Addresses. It is safe for concurrent use.
type Pools struct {
	// Immutable.
	spans  []span
	pools  []*pool
	byName map[string]*pool

	// fixed are addresses in use that are in no pool.
	mu    sync.Mutex
	fixed map[netip.Addr]holder
}

type holder struct {
	owner uint64
	user  string
}

var _ aaa.Addresses = (*Pools)(nil)

// New makes pools in which every address is free. Errors are those of Validate.
func New(c Config) (*Pools, error) {
	spans, err := c.compile()
	if err != nil {
		return nil, err
	}
	if c.Remember == 0 {
		c.Remember = DefaultRemember
	}
	p := &Pools{spans: spans, byName: map[string]*pool{}, fixed: map[netip.Addr]holder{}}
	own := make([][]span, len(c.Pools))
	for _, s := range spans {
		own[s.pool] = append(own[s.pool], s)
	}
	for i := range c.Pools {
		pl := newPool(c.Pools[i].Name, own[i], uint32(min(c.Remember, maxPool)))
		p.pools = append(p.pools, pl)
		p.byName[pl.name] = pl
	}
	if c.Default != "" {
		p.byName[""] = p.byName[c.Default]
	} else if len(p.pools) > 0 {
		p.byName[""] = p.pools[0]
	}
	return p, nil
}

// Acquire is that of aaa.Addresses. An owner that holds the wanted address
// already gets it again.
func (p *Pools) Acquire(pool string, want netip.Addr, user string, owner uint64) (netip.Addr, error) {
	if want.IsValid() {
		want = want.Unmap()
		return want, p.Reserve(want, user, owner)
	}
	pl := p.byName[pool]
	if pl == nil {
		return netip.Addr{}, fmt.Errorf("%w: %q", aaa.ErrNoPool, pool)
	}
	a, ok := pl.take(user, owner)
	if !ok {
		return netip.Addr{}, fmt.Errorf("%w: all %d addresses of %q are in use", aaa.ErrPoolFull, pl.size, pl.name)
	}
	return a, nil
}

// Reserve takes one address, in a pool or outside of all, as when sessions
// come back from the journal. The error is an *aaa.AddressInUseError when
// another owner holds it.
func (p *Pools) Reserve(addr netip.Addr, user string, owner uint64) error {
	addr = addr.Unmap()
	h, ok := holder{}, true
	if pl, i := p.find(addr); pl != nil {
		h, ok = pl.want(i, user, owner)
	} else {
		h, ok = p.wantFixed(addr, user, owner)
	}
	if !ok {
		return &aaa.AddressInUseError{Address: addr, Owner: h.owner, User: h.user}
	}
	return nil
}

func (p *Pools) wantFixed(addr netip.Addr, user string, owner uint64) (holder, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := p.fixed[addr]; ok && h.owner != owner {
		return h, false
	}
	p.fixed[addr] = holder{owner, user}
	return holder{}, true
}

// Release is that of aaa.Addresses.
func (p *Pools) Release(addr netip.Addr, owner uint64) {
	addr = addr.Unmap()
	if pl, i := p.find(addr); pl != nil {
		pl.release(i, owner)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := p.fixed[addr]; ok && h.owner == owner {
		delete(p.fixed, addr)
	}
}

// Holder tells who holds an address, if anybody does.
func (p *Pools) Holder(addr netip.Addr) (user string, owner uint64, ok bool) {
	addr = addr.Unmap()
	if pl, i := p.find(addr); pl != nil {
		pl.mu.Lock()
		defer pl.mu.Unlock()
		s := pl.peek(i)
		if s == nil || !s.used {
			return "", 0, false
		}
		return s.user, s.owner, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.fixed[addr]
	return h.user, h.owner, ok
}

// find gives the pool that an address is in, and its index there.
func (p *Pools) find(addr netip.Addr) (*pool, uint32) {
	if !addr.Is4() {
		return nil, 0
	}
	n := number(addr)
	i := sort.Search(len(p.spans), func(i int) bool { return p.spans[i].last >= n })
	if i == len(p.spans) || n < p.spans[i].first {
		return nil, 0
	}
	s := p.spans[i]
	return p.pools[s.pool], s.base + n - s.first
}

// Usage is one pool's state, for metrics and operators.
type Usage struct {
	Name string
	// Size is how many addresses the pool can hand out, Used how many it has.
	Size, Used int
	// Acquired counts addresses given, Full refusals for want of a free
	// address, Conflicts wanted addresses that another session held.
	Acquired, Full, Conflicts uint64
}

// Usage gives every pool's state, in the configuration's order.
func (p *Pools) Usage() []Usage {
	out := make([]Usage, len(p.pools))
	for i, pl := range p.pools {
		pl.mu.Lock()
		out[i] = Usage{Name: pl.name, Size: int(pl.size), Used: int(pl.used),
			Acquired: pl.acquired, Full: pl.full, Conflicts: pl.conflicts}
		pl.mu.Unlock()
	}
	return out
}

// Fixed tells how many addresses outside of all pools are in use.
func (p *Pools) Fixed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.fixed)
}
