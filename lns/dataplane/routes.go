package dataplane

import (
	"net/netip"
	"sync/atomic"
)

// routeTable finds the session of a destination by the longest prefix: a
// trie over 16, 8 and 8 bits whose every slot holds its answer, so that
// a subscriber's own address costs three dependent loads and no comparison.
// find takes no lock; the other methods are called under the plane's.
type routeTable struct {
	root [1 << 16]rootSlot
	// owners has every prefix but /32s. A prefix that two sessions claim belongs
	// to the later one.
	owners map[netip.Prefix]*session
}

// rootSlot has the session of the longest prefix of up to 16 bits that covers it.
type rootSlot struct {
	cover atomic.Pointer[session]
	next  atomic.Pointer[midNode]
}

// midNode is a /16; covers have 17 to 24 bits.
type midNode struct {
	slots [256]midSlot
	used  int // prefixes in here and below
}

type midSlot struct {
	cover atomic.Pointer[session]
	next  atomic.Pointer[leafNode]
}

// leafNode is a /24.
type leafNode struct {
	slots [256]leafSlot
	used  int
}

// leafSlot is one address: the session that has it, and the one of the longest
// prefix of 25 to 31 bits that covers it.
type leafSlot struct{ host, cover atomic.Pointer[session] }

func newRouteTable() *routeTable {
	return &routeTable{owners: make(map[netip.Prefix]*session)}
}

// find returns the session that packets for the address go to, or nil.
func (t *routeTable) find(a uint32) *session {
	r := &t.root[a>>16]
	if mid := r.next.Load(); mid != nil {
		m := &mid.slots[a>>8&0xff]
		if leaf := m.next.Load(); leaf != nil {
			l := &leaf.slots[a&0xff]
			if s := l.host.Load(); s != nil {
				return s
			}
			if s := l.cover.Load(); s != nil {
				return s
			}
		}
		if s := m.cover.Load(); s != nil {
			return s
		}
	}
	return r.cover.Load()
}

// put gives the prefix, which is masked, to s.
func (t *routeTable) put(p netip.Prefix, s *session) {
	if p.Bits() == 32 {
		slot, leaf, mid := t.leaf(addr4(p.Addr()))
		if slot.host.Swap(s) == nil {
			leaf.used++
			mid.used++
		}
		return
	}
	_, had := t.owners[p]
	t.owners[p] = s
	t.spread(p, had, 1)
}

// remove takes the prefix from s; if another has it by now, nothing happens.
func (t *routeTable) remove(p netip.Prefix, s *session) {
	a := addr4(p.Addr())
	if p.Bits() < 32 {
		if t.owners[p] == s {
			delete(t.owners, p)
			t.spread(p, false, -1)
		}
		return
	}
	mid := t.root[a>>16].next.Load()
	if mid == nil {
		return
	}
	leaf := mid.slots[a>>8&0xff].next.Load()
	if leaf != nil && leaf.slots[a&0xff].host.CompareAndSwap(s, nil) {
		leaf.used--
		mid.used--
		t.prune(a)
	}
}

// leaf returns the address' slot, and makes the nodes to it.
func (t *routeTable) leaf(a uint32) (*leafSlot, *leafNode, *midNode) {
	mid := t.mid(a)
	m := &mid.slots[a>>8&0xff]
	leaf := m.next.Load()
	if leaf == nil {
		leaf = new(leafNode)
		m.next.Store(leaf)
	}
	return &leaf.slots[a&0xff], leaf, mid
}

func (t *routeTable) mid(a uint32) *midNode {
	r := &t.root[a>>16]
	mid := r.next.Load()
	if mid == nil {
		mid = new(midNode)
		r.next.Store(mid)
	}
	return mid
}

// prune drops the nodes to the address that hold nothing any more.
func (t *routeTable) prune(a uint32) {
	r := &t.root[a>>16]
	mid := r.next.Load()
	m := &mid.slots[a>>8&0xff]
	if leaf := m.next.Load(); leaf != nil && leaf.used == 0 {
		m.next.Store(nil)
	}
	if mid.used == 0 {
		r.next.Store(nil)
	}
}

// spread writes the answers of all slots that the prefix covers; change is by how
// many prefixes its nodes hold more, unless the prefix had been there.
func (t *routeTable) spread(p netip.Prefix, had bool, change int) {
	if had {
		change = 0
	}
	a, bits := addr4(p.Addr()), p.Bits()
	switch {
	case bits <= 16:
		for i := range uint32(1) << (16 - bits) {
			x := a + i<<16
			t.root[x>>16].cover.Store(t.longest(x, 0, 16))
		}
	case bits <= 24:
		mid := t.mid(a)
		for i := range uint32(1) << (24 - bits) {
			x := a + i<<8
			mid.slots[x>>8&0xff].cover.Store(t.longest(x, 17, 24))
		}
		mid.used += change
		t.prune(a)
	default:
		_, leaf, mid := t.leaf(a)
		for i := range uint32(1) << (32 - bits) {
			x := a + i
			leaf.slots[x&0xff].cover.Store(t.longest(x, 25, 31))
		}
		leaf.used += change
		mid.used += change
		t.prune(a)
	}
}

// longest returns the owner of the longest prefix of from to to bits that
// covers the address.
func (t *routeTable) longest(a uint32, from, to int) *session {
	for bits := to; bits >= from; bits-- {
		mask := uint32(uint64(0xffffffff) << (32 - bits))
		if s := t.owners[netip.PrefixFrom(netipAddr(a&mask), bits)]; s != nil {
			return s
		}
	}
	return nil
}

func netipAddr(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}
