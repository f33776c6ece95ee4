package sessiondb

import "time"

// queue holds changes in their order, and of the changes to one key only those
// that still matter: the last one, except that the end of a session stays
// between the session that ended and the next one with its key, for the sake
// of the history. It has no lock of its own.
type queue struct {
	slots []slot
	// base is the number of slots[0]; the maps hold numbers of slots, which
	// stay when slots are removed at the front.
	base  int
	live  int
	bytes int64

	// The last live slot of each key.
	tunnels  map[TunnelKey]int
	sessions map[SessionKey]int
	entries  map[uint64]int
	objects  map[objectKey]int
}

// slot is a change, or the place of one that a later change made superfluous:
// the place stays, so that the front tells how old the oldest news is.
type slot struct {
	change Change
	at     time.Time
	live   bool
}

type objectKey struct{ kind, name string }

func newQueue() *queue {
	return &queue{
		tunnels:  make(map[TunnelKey]int),
		sessions: make(map[SessionKey]int),
		entries:  make(map[uint64]int),
		objects:  make(map[objectKey]int),
	}
}

// add takes a valid change.
func (q *queue) add(c Change, now time.Time) {
	if i, ok := q.tail(&c); ok {
		old := &q.slots[i-q.base]
		switch {
		case c.Op == DropSession && old.change.Op == DropSession:
			return // there is nothing left to end
		case c.Op == DropSession && old.change.Op == PutSession, c.Op == PutSession && old.change.Op == DropSession:
			// Both matter.
		default:
			q.bytes -= old.change.size()
			q.live--
			old.live, old.change = false, Change{}
		}
	}
	q.setTail(&c, q.base+len(q.slots))
	q.slots = append(q.slots, slot{change: c, at: now, live: true})
	q.live++
	q.bytes += c.size()
	if len(q.slots) > 2*q.live+1024 {
		q.squeeze()
	}
}

// squeeze removes the dead slots behind the front.
func (q *queue) squeeze() {
	front := q.slots[0].at
	kept := q.slots[:0]
	for _, s := range q.slots {
		if s.live {
			kept = append(kept, s)
		}
	}
	clear(q.slots[len(kept):])
	q.slots = kept
	for i := range q.slots {
		q.setTail(&q.slots[i].change, q.base+i)
	}
	if len(q.slots) > 0 {
		q.slots[0].at = front
	}
}

// take removes up to n changes from the front, and gives the age of the oldest news.
func (q *queue) take(n int) (changes []Change, since time.Time) {
	since = q.oldest()
	taken := 0
	for taken < len(q.slots) && len(changes) < n {
		s := &q.slots[taken]
		if s.live {
			q.clearTail(&s.change, q.base+taken)
			q.bytes -= s.change.size()
			q.live--
			changes = append(changes, s.change)
		}
		*s = slot{}
		taken++
	}
	q.slots, q.base = q.slots[taken:], q.base+taken
	if q.live == 0 {
		q.slots, q.base = nil, q.base+len(q.slots)
	}
	return changes, since
}

// oldest gives the time of the oldest change, or zero.
func (q *queue) oldest() time.Time {
	if q.live == 0 {
		return time.Time{}
	}
	return q.slots[0].at
}

// tail finds the last live slot of c's key.
func (q *queue) tail(c *Change) (i int, ok bool) {
	switch c.Op {
	case PutTunnel, DropTunnel:
		i, ok = q.tunnels[c.Tunnel.Key]
	case PutSession, DropSession:
		i, ok = q.sessions[c.Session.Key]
	case PutEntry, DropEntry:
		i, ok = q.entries[c.Entry.Seq]
	case PutObject, DropObject:
		i, ok = q.objects[objectKey{c.Object.Kind, c.Object.Name}]
	}
	return i, ok
}

func (q *queue) setTail(c *Change, i int) {
	switch c.Op {
	case PutTunnel, DropTunnel:
		q.tunnels[c.Tunnel.Key] = i
	case PutSession, DropSession:
		q.sessions[c.Session.Key] = i
	case PutEntry, DropEntry:
		q.entries[c.Entry.Seq] = i
	case PutObject, DropObject:
		q.objects[objectKey{c.Object.Kind, c.Object.Name}] = i
	}
}

// clearTail forgets slot i, unless its key has a later one.
func (q *queue) clearTail(c *Change, i int) {
	if j, _ := q.tail(c); j != i {
		return
	}
	switch c.Op {
	case PutTunnel, DropTunnel:
		delete(q.tunnels, c.Tunnel.Key)
	case PutSession, DropSession:
		delete(q.sessions, c.Session.Key)
	case PutEntry, DropEntry:
		delete(q.entries, c.Entry.Seq)
	case PutObject, DropObject:
		delete(q.objects, objectKey{c.Object.Kind, c.Object.Name})
	}
}

// size estimates the memory that c holds, the queue's own included.
func (c *Change) size() int64 {
	const each = 256
	switch c.Op {
	case PutTunnel:
		return each + 200 + int64(len(c.Tunnel.PeerName))
	case PutSession:
		s := c.Session
		return each + 450 + int64(len(s.AcctSessionID)+len(s.User)+len(s.CallingStation)+len(s.CalledStation)+32*len(s.Routes)+len(s.State))
	case PutEntry:
		return each + 100 + int64(len(c.Entry.Session)+len(c.Entry.Payload))
	case PutObject:
		return each + 100 + int64(len(c.Object.Kind)+len(c.Object.Name)+len(c.Object.Payload))
	}
	return each + 100
}
