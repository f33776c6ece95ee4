package dataplane

import (
	"math/bits"
	"sync"
	"time"

	"culvert/proto/l2tp"
)

const (
	// reorderTick is how often those that wait are looked at, while any do.
	reorderTick = 2 * time.Millisecond
	// maxHeld bounds the packets that wait in all sessions together, and heldSize their
	// length with headers, in octets. What is beyond is let through at once.
	maxHeld  = 8192
	heldSize = 2048
)

// held is a copy of a data message that waits.
type held struct {
	d   Datagram
	buf [heldSize]byte
}

// reorder is what the sessions' reorder queues share: the buffers, and the list of
// those in which packets wait.
type reorder struct {
	now  func() time.Duration
	wake chan struct{}

	mu     sync.Mutex
	free   []*held
	made   int
	listed []*session
}

func newReorder(now func() time.Duration) reorder {
	if now == nil {
		start := time.Now()
		now = func() time.Duration { return time.Since(start) }
	}
	return reorder{now: now, wake: make(chan struct{}, 1)}
}

// take gives a buffer, or nil where there are too many.
func (r *reorder) take() *held {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.free); n > 0 {
		h := r.free[n-1]
		r.free = r.free[:n-1]
		return h
	}
	if r.made == maxHeld {
		return nil
	}
	r.made++
	return new(held)
}

func (r *reorder) put(list []*held) {
	r.mu.Lock()
	r.free = append(r.free, list...)
	r.mu.Unlock()
}

// list puts a session under the timer's eyes.
func (r *reorder) list(s *session) {
	r.mu.Lock()
	r.listed = append(r.listed, s)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// sequenced sorts a data message with a number, of a session that minds them.
func (p *userspace) sequenced(u *upstream, s *session, q *Sequence, d *Datagram, h *l2tp.Header, payload []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	due := q.in.Next()
	ahead := q.in.Ahead(h.Ns)
	if q.in.Next() != due && q.ring != nil {
		p.flush(u, s, q, due) // the LAC counts anew
	}
	switch {
	case ahead < 0 || ahead > 0 && ahead < len(q.ring) && q.slot(h.Ns).taken():
		q.late.Add(1)
	case ahead == 0:
		if q.waiting > 0 {
			q.reordered.Add(1)
		}
		q.in.Take(h.Ns)
		p.forward(u, s, d, h, payload)
		p.release(u, s, q, 0)
	case q.config.Packets == 0:
		q.lost.Add(uint64(ahead))
		q.in.Take(h.Ns)
		p.forward(u, s, d, h, payload)
	default:
		p.ahead(u, s, q, d, h, payload, ahead)
	}
}

// ahead keeps a message whose turn has not come, or lets it through where it cannot wait.
func (p *userspace) ahead(u *upstream, s *session, q *Sequence, d *Datagram, h *l2tp.Header, payload []byte, ahead int) {
	if q.ring == nil {
		// A power of two, as 65,536 is: the numbers of a ring stay apart when they wrap.
		q.ring = make([]slotAhead, 1<<bits.Len(uint(q.config.Packets)))
	}
	if over := ahead - q.config.Packets; over > 0 {
		// The oldest gaps are given up, until this number has a place.
		p.release(u, s, q, over)
	}
	if h.Ns == q.in.Next() {
		// Nothing is missing before it any more.
		q.in.Take(h.Ns)
		p.forward(u, s, d, h, payload)
		p.release(u, s, q, 0)
		return
	}
	slot := q.slot(h.Ns)
	if protocol, _, ok := pppProtocol(payload); !ok || protocol != pppIPv4 {
		slot.gone = true
		p.forward(u, s, d, h, payload)
		return
	}
	c := (*held)(nil)
	if len(d.B) <= heldSize && !q.closed {
		c = p.reorder.take()
	}
	if c == nil {
		p.release(u, s, q, int(h.Ns-q.in.Next()))
		q.in.Take(h.Ns)
		p.forward(u, s, d, h, payload)
		p.release(u, s, q, 0)
		return
	}
	c.d = *d
	c.d.B = c.buf[:copy(c.buf[:], d.B)]
	*slot = slotAhead{held: c, at: p.reorder.now()}
	q.waiting++
	if !q.listed {
		q.listed = true
		p.reorder.list(s)
	}
}

func (q *Sequence) slot(ns uint16) *slotAhead { return &q.ring[int(ns)%len(q.ring)] }

func (s *slotAhead) taken() bool { return s.held != nil || s.gone }

// release gives the turn to the next numbers: to at least n of them, whether they have come or
// not, and then to all that have without a gap. Under q.mu.
func (p *userspace) release(u *upstream, s *session, q *Sequence, n int) {
	if len(q.ring) == 0 {
		return
	}
	for left := len(q.ring); left > 0; left-- {
		ns := q.in.Next()
		slot := q.slot(ns)
		if n <= 0 && !slot.taken() {
			return
		}
		if n--; !slot.taken() {
			q.lost.Add(1)
		}
		if c := slot.held; c != nil {
			q.waiting--
			p.forwardHeld(u, s, c)
		}
		*slot = slotAhead{}
		q.in.Take(ns)
	}
	if n > 0 {
		// Numbers beyond the ring: none of them has come.
		q.lost.Add(uint64(n))
		q.in.Take(q.in.Next() + uint16(n) - 1)
	}
}

// flush gives on all that waits from number due on, and leaves the ring empty.
func (p *userspace) flush(u *upstream, s *session, q *Sequence, due uint16) {
	for i := range q.ring {
		slot := q.slot(due + uint16(i))
		if c := slot.held; c != nil {
			p.forwardHeld(u, s, c)
		}
		*slot = slotAhead{}
	}
	q.waiting = 0
}

// forwardHeld gives on a message that waited. Its buffer is in use until the batch is written.
func (p *userspace) forwardHeld(u *upstream, s *session, c *held) {
	u.spent = append(u.spent, c)
	if h, payload, err := l2tp.ParseHeader(c.d.B); err == nil {
		p.forward(u, s, &c.d, &h, payload)
	}
}

// follow lets go what waits under the numbering that s had, if q, which it is about to
// have, is another.
func (p *userspace) follow(s *session, q *Sequence) {
	if q != nil {
		q.mu.Lock()
		q.closed = false
		q.mu.Unlock()
	}
	if old := s.sequence.Load(); old != nil && old != q {
		p.forget(old)
	}
}

// forget lets go what waits of a session that has ended.
func (p *userspace) forget(q *Sequence) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for i := range q.ring {
		if c := q.ring[i].held; c != nil {
			p.reorder.put([]*held{c})
		}
		q.ring[i] = slotAhead{}
	}
	q.waiting = 0
}

// runReorder is the timer of the reorder queues. It sleeps while nothing waits.
func (p *userspace) runReorder() {
	tick := time.NewTicker(reorderTick)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-p.reorder.wake:
		}
		tick.Reset(reorderTick)
		for p.Tick() {
			select {
			case <-p.done:
				return
			case <-tick.C:
			}
		}
	}
}

// Tick gives on what has waited long enough, and says whether anything waits still.
// The plane calls it by itself unless Config.Now is set.
func (p *userspace) Tick() bool { return p.tick(p.reorder.now()) }

// forever is a time at which nothing waits any more.
const forever = time.Duration(1<<63 - 1)

func (p *userspace) tick(now time.Duration) bool {
	r := &p.reorder
	r.mu.Lock()
	list := append(p.due[:0], r.listed...)
	r.mu.Unlock()
	u := &p.overdue
	u.packets, u.rest = u.packets[:0], u.rest[:0]
	idle := 0
	for i, s := range list {
		if !p.expire(u, s, now) {
			list[i] = nil
			idle++
		}
	}
	p.write(0, u)
	p.shards[0].add(&u.counts)
	r.mu.Lock()
	defer r.mu.Unlock()
	// What was listed meanwhile stands behind those that were looked at.
	keep := r.listed[:0]
	for i, s := range r.listed {
		if i >= len(list) || list[i] != nil {
			keep = append(keep, s)
		}
	}
	clear(r.listed[len(keep):])
	clear(list)
	r.listed, p.due = keep, list[:0]
	return len(keep) > 0
}

// expire gives on what of a session has waited long enough; false takes it off the list.
func (p *userspace) expire(u *upstream, s *session, now time.Duration) bool {
	q := s.sequence.Load()
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	over := 0
	for i := range q.ring {
		c := q.slot(q.in.Next() + uint16(i))
		if c.held != nil && now-c.at >= q.config.Time {
			over = i + 1
		}
	}
	if over > 0 {
		p.release(u, s, q, over)
	}
	q.listed = q.waiting > 0
	return q.listed
}
