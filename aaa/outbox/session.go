package outbox

import (
	"time"

	"culvert/aaa"
)

// record is one record that is not acknowledged. A stub has no usage: the
// journal has it.
type record struct {
	seq   uint64
	next  *record
	usage *aaa.Usage
	kind  aaa.UsageKind
	gone  bool // off the books
}

// session is the records of one session, or, which does no harm, of several
// whose ids have the same hash. It exists while it has records.
type session struct {
	key         uint64
	first, last *record
	next        *session // in the ready list
	inFlight    bool     // first is with the Accountant
	tries       int      // failures of first
	due         time.Time
	timer       int // index in waiting; -1 when not there
}

// list is a FIFO of sessions.
type list struct{ first, last *session }

func (l *list) push(s *session) {
	s.next = nil
	if l.first == nil {
		l.first = s
	} else {
		l.last.next = s
	}
	l.last = s
}

func (l *list) pop() *session {
	s := l.first
	l.first, s.next = s.next, nil
	return s
}

// add queues one record. The caller holds mu.
func (o *Outbox) add(u *aaa.Usage) {
	key := o.key(u.Identity.AcctSessionID)
	s := o.sessions[key]
	if s == nil {
		s = &session{key: key, timer: -1}
		o.sessions[key] = s
		o.ready.push(s)
	}
	o.supersede(s, u)
	r := &record{seq: u.Seq, kind: u.Kind}
	if o.whole < o.cfg.MemoryRecords {
		c := *u
		r.usage = &c
		o.whole++
	}
	if s.first == nil {
		s.first = r
	} else {
		s.last.next = r
	}
	s.last = r
	o.stats.Pending++
}

func (o *Outbox) key(session string) uint64 { return hashString(o.seed, session) }

// supersede drops the session's last record if it is an interim that has not
// gone out yet: what comes now says more. The caller holds mu.
func (o *Outbox) supersede(s *session, u *aaa.Usage) {
	old := s.last
	if old == nil || old.kind != aaa.UsageInterim || u.Kind == aaa.UsageStart || s.inFlight && s.first == old {
		return
	}
	if s.first == old {
		s.first, s.last = nil, nil
	} else {
		before := s.first
		for before.next != old {
			before = before.next
		}
		before.next, s.last = nil, before
	}
	o.forget(old)
	o.stats.Coalesced++
}

// forget takes a record that is out of its session's list off the books. The
// caller holds mu.
func (o *Outbox) forget(r *record) {
	r.gone = true
	o.stats.Pending--
	if r.usage != nil {
		o.whole--
	}
	o.drops = append(o.drops, r.seq)
}

// waiting is a heap of sessions by due.
type waiting []*session

func (h waiting) Len() int           { return len(h) }
func (h waiting) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h waiting) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer, h[j].timer = i, j
}

// Push is that of heap.Interface.
func (h *waiting) Push(x any) {
	s := x.(*session)
	s.timer = len(*h)
	*h = append(*h, s)
}

// Pop is that of heap.Interface.
func (h *waiting) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.timer = -1
	return s
}
