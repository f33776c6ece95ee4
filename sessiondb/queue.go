package sessiondb

import "time"

// queue holds changes in their order, and of the changes to one key only those
// that still matter. A change replaces an earlier one to its key in the
// earlier one's place, with these exceptions:
//   - the end of a session stays between the session that ended and the next
//     one with its key, for the sake of the history;
//   - a session that gives up an address stays where it does so, because
//     another session may be given the address right behind it.
//
// It has no lock of its own.
type queue struct {
	slots []slot
	// base is the number of slots[0]; the maps hold numbers of slots, which
	// stay when slots are removed at the front.
	base  int
	bytes int64

	// The last slot of each key.
	tunnels  map[TunnelKey]int
	sessions map[SessionKey]int
	entries  map[uint64]int
	objects  map[objectKey]int
}

// slot is a change and the time of the oldest one that it replaced.
type slot struct {
	change Change
	at     time.Time
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

// emptied gives an empty queue whose slots are numbered on from q's.
func (q *queue) emptied() *queue {
	n := newQueue()
	n.base = q.end()
	return n
}

func (q *queue) len() int { return len(q.slots) }

// end is the number that the next slot gets.
func (q *queue) end() int { return q.base + len(q.slots) }

// add takes a valid change.
func (q *queue) add(c Change, now time.Time) {
	if i, ok := q.tail(&c); ok {
		old := &q.slots[i-q.base]
		if c.Op == DropSession && old.change.Op == DropSession {
			return // there is nothing left to end
		}
		if replaces(&c, &old.change) {
			q.bytes += c.size() - old.change.size()
			old.change = c
			return
		}
	}
	q.setTail(&c, q.base+len(q.slots))
	q.slots = append(q.slots, slot{change: c, at: now})
	q.bytes += c.size()
}

// replaces tells whether a change makes an earlier one to its key superfluous.
func replaces(c, old *Change) bool {
	switch {
	case c.Op == DropSession || old.Op == DropSession:
		return false
	case c.Op == PutSession:
		return c.Session.Address == old.Session.Address && c.Session.AcctSessionID == old.Session.AcctSessionID
	}
	return true
}

// take removes up to n changes from the front, and gives the time of the first.
func (q *queue) take(n int) (changes []Change, since time.Time) {
	since = q.oldest()
	n = min(n, len(q.slots))
	for i := range n {
		s := &q.slots[i]
		q.clearTail(&s.change, q.base+i)
		q.bytes -= s.change.size()
		changes = append(changes, s.change)
		*s = slot{}
	}
	q.slots, q.base = q.slots[n:], q.base+n
	if len(q.slots) == 0 {
		q.slots = nil
	}
	return changes, since
}

// oldest gives the time of the oldest change, or zero.
func (q *queue) oldest() time.Time {
	if len(q.slots) == 0 {
		return time.Time{}
	}
	return q.slots[0].at
}

// tail finds the last slot of c's key.
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
		return each + 200 + int64(len(c.Tunnel.PeerName)+len(c.Tunnel.State))
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
