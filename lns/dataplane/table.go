package dataplane

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync/atomic"
)

// session is what forwarding needs for one session, in a cache line; what it counts is in another.
type session struct {
	// key never changes.
	key uint64

	// Written by Add, under the plane's lock; read by the forwarding goroutines.
	// Each word is whole; after a replacement a packet may see old and new words
	// together, which is as if it had come a moment earlier or later.
	peer   atomic.Pointer[peer]
	ids    atomic.Uint64 // PeerTunnel, PeerSession, MTU, MSS; 16 bits each, from the top
	host   atomic.Uint64 // Address in the upper half, flags in the lower
	routes atomic.Pointer[[]prefix4]

	sequence atomic.Pointer[Sequence]

	// count never changes; the forwarding goroutines count in it.
	count *counts
	_     [8]byte
}

// Flags in the lower half of session.host.
const (
	flagSequence = 1 << iota
	flagAddress
	flagCompress
	flagIgnoreDF
)

// peer is where one LAC is, shared by all its sessions.
type peer struct {
	peerKey
	refs int // under the plane's lock
}

// peerKey tells peers apart: behind a NAT two may have one address and port.
type peerKey struct {
	addr netip.AddrPort
	mark uint32
}

// prefix4 is an IPv4 prefix.
type prefix4 struct{ addr, mask uint32 }

func (p prefix4) contains(a uint32) bool { return a&p.mask == p.addr }

func addr4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func makePrefix4(p netip.Prefix) prefix4 {
	mask := ^uint32(0) << (32 - p.Bits())
	return prefix4{addr4(p.Addr()) & mask, mask}
}

func (k Key) pack() uint64 {
	return 1<<48 | uint64(k.Listener)<<32 | uint64(k.Tunnel)<<16 | uint64(k.Session)
}

// set writes all of v but its key.
func (s *session) set(v *Session, p *peer) {
	s.peer.Store(p)
	s.ids.Store(uint64(v.PeerTunnel)<<48 | uint64(v.PeerSession)<<32 | uint64(v.MTU)<<16 | uint64(v.MSS))
	host := uint64(addr4(v.Address)) << 32
	s.sequence.Store(v.Sequence)
	if v.Sequence != nil {
		host |= flagSequence
	}
	if v.SendAddress {
		host |= flagAddress
	}
	if v.CompressProtocol {
		host |= flagCompress
	}
	if v.IgnoreDF {
		host |= flagIgnoreDF
	}
	var routes *[]prefix4
	if len(v.Routes) > 0 {
		list := make([]prefix4, len(v.Routes))
		for i, r := range v.Routes {
			list[i] = makePrefix4(r)
		}
		routes = &list
	}
	s.routes.Store(routes)
	s.host.Store(host)
}

func (s *session) address() uint32 { return uint32(s.host.Load() >> 32) }

// mss is the clamp, 0 for none.
func (s *session) mss() uint16 { return uint16(s.ids.Load()) }

// owns says whether a packet from the address is the subscriber's own.
func (s *session) owns(a uint32) bool {
	if a == s.address() {
		return true
	}
	if routes := s.routes.Load(); routes != nil {
		for _, r := range *routes {
			if r.contains(a) {
				return true
			}
		}
	}
	return false
}

// table finds sessions by key: open addressing with linear probing, at most
// three quarters used. get takes no lock and, but for collisions, touches one
// cache line of the table; an array over tunnel and session ids would touch two
// and be tens of megabytes where many tunnels have one session each.
type table struct {
	slots atomic.Pointer[[]slot]

	// Under the plane's lock.
	live int // sessions
	used int // slots that are not empty: live ones and dead ones
}

// slot is empty while key is 0, and dead while session is nil.
type slot struct {
	key     atomic.Uint64
	session atomic.Pointer[session]
}

const minSlots = 64

func newTable() *table {
	t := new(table)
	slots := make([]slot, minSlots)
	t.slots.Store(&slots)
	return t
}

// start is where probing for key begins among n slots, a power of two.
func start(key uint64, n int) int {
	return int(key*0x9e3779b97f4a7c15>>20) & (n - 1)
}

// get returns the session, or nil. Anybody may call it.
func (t *table) get(key uint64) *session {
	slots := *t.slots.Load()
	for i := start(key, len(slots)); ; i = (i + 1) & (len(slots) - 1) {
		switch slots[i].key.Load() {
		case key:
			// The slot may have been given to another session just now.
			if s := slots[i].session.Load(); s != nil && s.key == key {
				return s
			}
			return nil
		case 0:
			return nil
		}
	}
}

// put adds a session whose key is not there. Under the plane's lock.
func (t *table) put(s *session) {
	if slots := *t.slots.Load(); (t.used+1)*4 > len(slots)*3 {
		t.rebuild(max(minSlots, ceilPow2(2*(t.live+1))))
	}
	if insert(*t.slots.Load(), s) {
		t.used++
	}
	t.live++
}

// insert puts s into the first slot that is empty or dead, and says whether it was empty.
func insert(slots []slot, s *session) bool {
	i := start(s.key, len(slots))
	for slots[i].session.Load() != nil {
		i = (i + 1) & (len(slots) - 1)
	}
	empty := slots[i].key.Load() == 0
	slots[i].key.Store(s.key)
	slots[i].session.Store(s)
	return empty
}

// remove takes out the session and returns it, or nil. Under the plane's lock.
func (t *table) remove(key uint64) *session {
	slots := *t.slots.Load()
	for i := start(key, len(slots)); slots[i].key.Load() != 0; i = (i + 1) & (len(slots) - 1) {
		if s := slots[i].session.Load(); s != nil && s.key == key {
			slots[i].session.Store(nil)
			t.live--
			return s
		}
	}
	return nil
}

// rebuild moves the sessions to n fresh slots.
func (t *table) rebuild(n int) {
	fresh := make([]slot, n)
	old := *t.slots.Load()
	for i := range old {
		if s := old[i].session.Load(); s != nil {
			insert(fresh, s)
		}
	}
	t.used = t.live
	t.slots.Store(&fresh)
}

func ceilPow2(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

// prefixRoom holds the prefixes of all but a few sessions.
type prefixRoom [4]netip.Prefix

// prefixes are the session's address and routes, in room if they fit.
func (s *session) prefixes(room *prefixRoom) []netip.Prefix {
	list := append(room[:0], netip.PrefixFrom(netipAddr(s.address()), 32))
	if routes := s.routes.Load(); routes != nil {
		for _, r := range *routes {
			list = append(list, netip.PrefixFrom(netipAddr(r.addr), bits.OnesCount32(r.mask)))
		}
	}
	return list
}
