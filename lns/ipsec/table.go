package ipsec

import (
	"fmt"
	"net/netip"
	"sync"

	"culvert/lns"
)

// peer is one protected peer: a CHILD_SA and those that have replaced it by
// rekeying. Its fields belong to the manager's goroutine, but what the table
// has copied of sa.
type peer struct {
	key  string
	conn string // the connection's name in charon
	sa   lns.SA
	// children are the CHILD_SAs by charon's number, with their inbound SPIs:
	// the only names that are not given twice when charon begins to count anew.
	children map[uint32]spis
}

// spis are the numbers of a pair of ESP SAs, as charon writes them.
type spis struct{ in, out string }

// table holds the peers. Anybody looks up, only the manager's goroutine changes.
type table struct {
	mu     sync.RWMutex
	byMark map[uint32]*lns.SA
	byAddr map[netip.Addr][]*lns.SA
	// dead are marks whose SA has ended: charon need not be asked for them again.
	dead map[uint32]bool

	// Of the manager's goroutine:
	peers   map[string]*peer
	byChild map[uint32]*peer
}

func newTable() *table {
	return &table{
		byMark: map[uint32]*lns.SA{}, dead: map[uint32]bool{}, byAddr: map[netip.Addr][]*lns.SA{},
		peers: map[string]*peer{}, byChild: map[uint32]*peer{},
	}
}

func (t *table) lookup(mark uint32) (lns.SA, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if sa := t.byMark[mark]; sa != nil && mark != 0 {
		return *sa, true
	}
	return lns.SA{}, false
}

// unknown says whether charon could know of a mark that we do not.
func (t *table) unknown(mark uint32) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return mark != 0 && t.byMark[mark] == nil && !t.dead[mark]
}

// maxDead bounds the dead marks that are remembered.
const maxDead = 65536

// bury remembers a mark as dead. charon does not use a mark again before it is restarted.
func (t *table) bury(mark uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.dead) >= maxDead {
		clear(t.dead)
	}
	t.dead[mark] = true
}

// exhume forgets the dead: charon may have begun to count anew.
func (t *table) exhume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.dead)
}

// lookupPeer finds the one SA of an address. Several SAs of one identity are the same peer's.
func (t *table) lookupPeer(a netip.Addr) (lns.SA, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := t.byAddr[a]
	if len(list) == 0 {
		return lns.SA{}, false
	}
	last := list[len(list)-1]
	for _, sa := range list {
		if !lns.SamePeer(*sa, *last) {
			return lns.SA{}, false
		}
	}
	return *last, true
}

// all are the SAs of all peers.
func (t *table) all() []lns.SA {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var list []lns.SA
	for _, of := range t.byAddr {
		for _, sa := range of {
			list = append(list, *sa)
		}
	}
	return list
}

// count is how many peers each profile has.
func (t *table) count() map[string]int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := map[string]int{}
	for _, list := range t.byAddr {
		for _, sa := range list {
			n[sa.Profile]++
		}
	}
	return n
}

// peerKey tells peers apart: by mark, or without marks by what IKE knows of them.
func peerKey(c *child) string { return keyOf(&c.sa) }

func keyOf(sa *lns.SA) string {
	if sa.Mark != 0 {
		return fmt.Sprintf("mark %d", sa.Mark)
	}
	return fmt.Sprintf("%s %s %v", sa.Profile, sa.Identity, sa.Remote)
}

// rename follows a peer that has moved to the name that the next message of charon
// gives it. Where another has that name already, the old one stays, until charon's list says who is there.
func (t *table) rename(p *peer) {
	key := keyOf(&p.sa)
	if t.peers[key] != nil {
		return
	}
	delete(t.peers, p.key)
	t.peers[key], p.key = p, key
}

// put makes a CHILD_SA known, or what has changed of it. News says whether the
// LNS should hear of it.
func (t *table) put(conn string, c *child) (p *peer, news bool) {
	key := peerKey(c)
	p = t.peers[key]
	if p == nil {
		p = &peer{key: key, conn: conn, sa: c.sa, children: map[uint32]spis{}}
		t.peers[key] = p
		news = true
	} else {
		c.sa.Since = p.sa.Since // the peer's, not that of its newest keys
		news = c.sa != p.sa
		t.hide(p)
		p.sa, p.conn = c.sa, conn
	}
	p.children[c.sa.ChildID] = spis{c.spiIn, c.spiOut}
	t.byChild[c.sa.ChildID] = p
	t.show(p)
	return p, news
}

// drop forgets a CHILD_SA. Gone is its peer when that was the last one.
func (t *table) drop(id uint32) (gone *peer) {
	p := t.byChild[id]
	if p == nil {
		return nil
	}
	delete(t.byChild, id)
	delete(p.children, id)
	if len(p.children) > 0 {
		return nil
	}
	t.remove(p)
	return p
}

// remove forgets a peer.
func (t *table) remove(p *peer) {
	t.hide(p)
	t.bury(p.sa.Mark)
	delete(t.peers, p.key)
	for id := range p.children {
		if t.byChild[id] == p {
			delete(t.byChild, id)
		}
	}
}

// heir is another live SA of the same peer at the same address.
func (t *table) heir(p *peer) uint32 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, sa := range t.byAddr[p.sa.Remote.Addr()] {
		if sa.Mark != p.sa.Mark && lns.SamePeer(*sa, p.sa) {
			return sa.Mark
		}
	}
	return 0
}

// show lets others see a peer.
func (t *table) show(p *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sa := p.sa
	if sa.Mark != 0 {
		t.byMark[sa.Mark] = &sa
	}
	a := sa.Remote.Addr()
	t.byAddr[a] = append(t.byAddr[a], &sa)
}

// hide takes a peer from sight.
func (t *table) hide(p *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byMark, p.sa.Mark)
	a := p.sa.Remote.Addr()
	list := t.byAddr[a]
	for i, sa := range list {
		if *sa == p.sa {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(t.byAddr, a)
		return
	}
	t.byAddr[a] = list
}
