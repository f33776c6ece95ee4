package dataplane

import (
	"net/netip"
	"sync"
	"unsafe"
)

// NewTUN makes the TUN device as a Core, for tests that want one on the far side too.
var NewTUN = newTUN

// NewUDP opens the UDP sockets as a Transport, for tests that want them in another namespace.
var NewUDP = newUDP

// Receive is what the transport calls, and Forward what a reader of the core does
// with each batch.
func Receive(p Plane, shard int, batch []Datagram) { p.(*userspace).receive(shard, batch) }
func Forward(p Plane, queue int, batch []Packet)   { p.(*userspace).down[queue].forward(batch) }

// Peers is how many peers the plane keeps.
func Peers(p Plane) int { return len(p.(*userspace).peers) }

// NotSegmenting says from how many octets on the plane believes that the kernel would not
// segment datagrams.
func NotSegmenting(p Plane) int { return p.(*userspace).transport.(*udp).gso.limit() }

// Table finds sessions by key, for tests against a map.
type Table struct {
	t    *table
	made sync.Map
}

func NewTable() *Table { return &Table{t: newTable()} }

func (t *Table) Put(k Key) {
	s := &session{key: k.pack()}
	t.made.Store(s.key, s)
	t.t.put(s)
}

func (t *Table) Remove(k Key) bool { return t.t.remove(k.pack()) != nil }
func (t *Table) Slots() int        { return len(*t.t.slots.Load()) }

// Has says whether the key is found, and panics if another session is.
func (t *Table) Has(k Key) bool {
	s := t.t.get(k.pack())
	if s == nil {
		return false
	}
	if made, _ := t.made.Load(k.pack()); made != s {
		panic("found another session")
	}
	return true
}

// Routes is the table of destinations, with numbers for sessions.
type Routes struct {
	t       *routeTable
	numbers []*session
}

func NewRoutes(n int) *Routes {
	r := &Routes{t: newRouteTable()}
	for range n {
		r.numbers = append(r.numbers, new(session))
	}
	return r
}

func (r *Routes) Put(p netip.Prefix, n int)    { r.t.put(p, r.numbers[n]) }
func (r *Routes) Remove(p netip.Prefix, n int) { r.t.remove(p, r.numbers[n]) }

// Find returns the number, or -1.
func (r *Routes) Find(a netip.Addr) int {
	s := r.t.find(addr4(a))
	for i, x := range r.numbers {
		if x == s {
			return i
		}
	}
	return -1
}

// Nodes is how many inner nodes there are.
func (r *Routes) Nodes() (n int) {
	for i := range r.t.root {
		if r.t.root[i].next.Load() != nil {
			n++
		}
	}
	return n
}

// ParseAncillary is what the receiver reads of control messages.
func ParseAncillary(b []byte) (segment int, mark uint32) {
	// The kernel's are aligned, as the receiver's room for them is.
	room := make([]uint64, len(b)/8+1)
	aligned := unsafe.Slice((*byte)(unsafe.Pointer(&room[0])), len(room)*8)[:copy(unsafe.Slice((*byte)(unsafe.Pointer(&room[0])), len(room)*8), b)]
	a := parseAncillary(aligned)
	return a.segment, a.mark
}

// MarkSet is the set of marks that may be used.
type MarkSet struct{ s markSet }

func NewMarkSet() *MarkSet                    { return new(MarkSet) }
func (m *MarkSet) Set(mark uint32, live bool) { m.s.set(mark, live) }
func (m *MarkSet) Has(mark uint32) bool       { return m.s.has(mark) }

// Held is how many buffers of the reorder queues were ever made, and how many are free.
func Held(p Plane) (made, free int) {
	r := &p.(*userspace).reorder
	return r.made, len(r.free)
}
