package ippool

import (
	"encoding/binary"
	"net/netip"
	"sync"
)

const (
	// maxPool bounds a pool, so that indices and their lists fit 32 bits.
	maxPool = 1 << 24
	// blockSize addresses get their memory together, when the first of them
	// is used: a large pool that is little used costs little.
	blockSize = 1024
	// none ends a list of slots.
	none = ^uint32(0)
)

// slot is the state of one address. It is 40 octets.
type slot struct {
	// user had or has the address; owner has it while used is set.
	user  string
	owner uint64
	// next and prev link free slots.
	next, prev uint32
	used       bool
}

// pool is one pool's addresses, by index.
type pool struct {
	// Immutable.
	name     string
	size     uint32
	spans    []span
	remember uint32

	mu     sync.Mutex
	blocks []*[blockSize]slot
	// fresh is the lowest index that never was in the free list: those from
	// there on are free unless their slot says otherwise.
	fresh uint32
	// head and tail are the list of released addresses, the one that has been free longest first.
	head, tail uint32
	// used counts addresses in use, freed the length of the list.
	used, freed uint32
	// last is where each user's latest address is. Every slot stands for at
	// most one entry, so slots bound its size.
	last map[string]uint32
	// counters
	acquired, full, conflicts uint64
}

func newPool(name string, spans []span, remember uint32) *pool {
	p := &pool{name: name, spans: spans, remember: remember, head: none, tail: none, last: map[string]uint32{}}
	for _, s := range spans {
		p.size += s.last - s.first + 1
	}
	p.blocks = make([]*[blockSize]slot, (p.size+blockSize-1)/blockSize)
	return p
}

// slot gives the slot of an index and makes its memory where there is none.
func (p *pool) slot(i uint32) *slot {
	b := p.blocks[i/blockSize]
	if b == nil {
		b = new([blockSize]slot)
		p.blocks[i/blockSize] = b
	}
	return &b[i%blockSize]
}

// peek gives the slot of an index, or nil where nothing was kept yet.
func (p *pool) peek(i uint32) *slot {
	if b := p.blocks[i/blockSize]; b != nil {
		return &b[i%blockSize]
	}
	return nil
}

// take gives the user's last address if it is free, else one that nobody had,
// else the one that has been free longest.
func (p *pool) take(user string, owner uint64) (netip.Addr, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.choose(user)
	if !ok {
		p.full++
		return netip.Addr{}, false
	}
	p.occupy(i, user, owner)
	return p.address(i), true
}

func (p *pool) choose(user string) (uint32, bool) {
	if i, ok := p.last[user]; ok && user != "" && !p.slot(i).used {
		return i, true
	}
	p.skipTaken()
	if p.fresh < p.size && (p.head == none || p.freed < p.remember) {
		return p.fresh, true
	}
	return p.head, p.head != none
}

// skipTaken moves fresh past addresses that were asked for by value.
func (p *pool) skipTaken() {
	for p.fresh < p.size {
		if s := p.peek(p.fresh); s == nil || !s.used {
			return
		}
		p.fresh++
	}
}

// want takes one address if it is free or the owner's already; else it
// tells whose it is.
func (p *pool) want(i uint32, user string, owner uint64) (holder, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slot(i)
	if s.used {
		if s.owner == owner {
			return holder{}, true
		}
		p.conflicts++
		return holder{owner: s.owner, user: s.user}, false
	}
	p.occupy(i, user, owner)
	return holder{}, true
}

func (p *pool) occupy(i uint32, user string, owner uint64) {
	s := p.slot(i)
	p.unlink(i, s)
	if s.user != user {
		p.forget(i, s)
	}
	s.user, s.owner, s.used = user, owner, true
	if user != "" {
		p.last[user] = i
	}
	if i == p.fresh {
		p.fresh++
	}
	p.used++
	p.acquired++
}

// forget ends the claim of a slot's last user.
func (p *pool) forget(i uint32, s *slot) {
	if at, ok := p.last[s.user]; ok && at == i {
		delete(p.last, s.user)
	}
}

func (p *pool) release(i uint32, owner uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.peek(i)
	if s == nil || !s.used || s.owner != owner {
		return
	}
	s.used = false
	p.used--
	if i >= p.fresh {
		// It was asked for by value, and fresh has not come by yet: it
		// stays among the fresh ones.
		return
	}
	p.link(i, s)
}

func (p *pool) link(i uint32, s *slot) {
	s.prev, s.next = p.tail, none
	if p.tail == none {
		p.head = i
	} else {
		p.slot(p.tail).next = i
	}
	p.tail = i
	p.freed++
}

// unlink takes a free slot out of the list, if it is in it.
func (p *pool) unlink(i uint32, s *slot) {
	if i >= p.fresh {
		return
	}
	if s.prev == none {
		p.head = s.next
	} else {
		p.slot(s.prev).next = s.next
	}
	if s.next == none {
		p.tail = s.prev
	} else {
		p.slot(s.next).prev = s.prev
	}
	p.freed--
}

// address gives the address of an index.
func (p *pool) address(i uint32) netip.Addr {
	lo, hi := 0, len(p.spans)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; p.spans[mid].base <= i {
			lo = mid
		} else {
			hi = mid
		}
	}
	return address(p.spans[lo].first + i - p.spans[lo].base)
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}
