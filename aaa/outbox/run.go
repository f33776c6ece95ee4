package outbox

import (
	"container/heap"
	"context"
	"time"

	"culvert/aaa"
	"culvert/sessiondb"
)

// refill is how many stubs are read back from the journal at a time, and
// dropBatch how many entries are dropped from it at a time.
const (
	refill    = 8192
	dropBatch = 1024
)

// run hands records to the Accountant until Close.
func (o *Outbox) run() {
	defer o.wg.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for o.stopped.Err() == nil {
		wait, err := o.handOut()
		if err != nil {
			o.journalError("cannot read accounting records back", err)
			o.pause()
			continue
		}
		timer.Reset(wait)
		select {
		case <-o.wake:
		case <-timer.C:
		case <-o.stopped.Done():
		}
	}
}

// Step does all that is due now, for an Outbox made by NewManual: it hands
// records out and drops acknowledged ones from the journal. It tells after how
// long to call it again, unless a record is submitted or acknowledged before.
func (o *Outbox) Step() time.Duration {
	o.Woken()
	wait, err := o.handOut()
	if err != nil {
		o.journalError("cannot read accounting records back", err)
		wait = min(wait, o.cfg.RetryFirst)
	}
	if err := o.flush(o.stopped); err != nil {
		o.journalError("cannot drop acknowledged accounting records from the journal", err)
		wait = min(wait, o.cfg.RetryFirst)
	}
	return wait
}

// Woken says, once, that a record was submitted or answered since the last
// Step, so that it is time for another one.
func (o *Outbox) Woken() bool {
	select {
	case <-o.wake:
		return true
	default:
		return false
	}
}

// handOut gives the Accountant every record that may go now, and tells how
// long nothing is due. On an error records have to be read back later.
func (o *Outbox) handOut() (time.Duration, error) {
	for o.stopped.Err() == nil {
		s, u, wait := o.next(o.cfg.Now())
		switch {
		case u != nil:
			seq := u.Seq
			o.accountant.Account(u, func(err error) { o.done(s, seq, err) })
		case s != nil:
			if err := o.readBack(); err != nil {
				return time.Hour, err
			}
		default:
			return wait, nil
		}
	}
	return time.Hour, nil
}

// next gives the session whose first record is to go now, with the record; a
// session without a record if that is a stub; or else how long to wait.
func (o *Outbox) next(now time.Time) (*session, *aaa.Usage, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Before(o.pace.until) {
		return nil, nil, o.pace.until.Sub(now)
	}
	for len(o.waiting) > 0 && !o.waiting[0].due.After(now) {
		o.ready.push(heap.Pop(&o.waiting).(*session))
	}
	if o.stats.InFlight >= o.pace.window {
		return nil, nil, time.Hour
	}
	if o.ready.first == nil {
		if len(o.waiting) > 0 {
			return nil, nil, o.waiting[0].due.Sub(now)
		}
		return nil, nil, time.Hour
	}
	if o.ready.first.first.usage == nil {
		return o.ready.first, nil, 0
	}
	s := o.ready.pop()
	s.inFlight = true
	o.stats.InFlight++
	return s, s.first.usage, 0
}

// done takes the Accountant's word on the first record of s.
func (o *Outbox) done(s *session, seq uint64, err error) {
	now := o.cfg.Now()
	o.mu.Lock()
	if !s.inFlight || s.first.seq != seq {
		o.mu.Unlock()
		return // The Accountant has said so before.
	}
	s.inFlight = false
	o.stats.InFlight--
	if err == nil {
		o.acknowledged(s)
	} else {
		o.failed(s, now, err)
	}
	o.mu.Unlock()
	o.poke()
}

// acknowledged takes the first record of s away. The caller holds mu.
func (o *Outbox) acknowledged(s *session) {
	r := s.first
	s.first, s.tries = r.next, 0
	o.forget(r)
	o.stats.Acknowledged++
	if s.first == nil {
		s.last = nil
		delete(o.sessions, s.key)
	} else {
		o.ready.push(s)
	}
	if o.pace.succeed() {
		o.cfg.Log.Info("accounting server is back", "pending", o.stats.Pending)
		for len(o.waiting) > 0 {
			o.ready.push(heap.Pop(&o.waiting).(*session))
		}
	}
	if len(o.drops) >= dropBatch {
		o.pokeDrop()
	}
	o.checkIdle()
}

// failed has the first record of s tried again later. The caller holds mu.
func (o *Outbox) failed(s *session, now time.Time, err error) {
	o.stats.Retried++
	s.due = now.Add(backoff(o.cfg.RetryFirst, o.cfg.RetryCap, s.tries, o.cfg.Rand))
	s.tries++
	if s.first.kind == aaa.UsageInterim && s.first.next != nil {
		// What came in the meantime says more.
		r := s.first
		s.first = r.next
		o.forget(r)
		o.stats.Coalesced++
	}
	if o.whole > o.cfg.MemoryRecords && s.first.usage != nil {
		s.first.usage = nil
		o.whole--
	}
	heap.Push(&o.waiting, s)
	if o.pace.fail(now) {
		o.cfg.Log.Warn("accounting server is away; records are kept", "pending", o.stats.Pending, "err", err)
	}
}

// readBack gives the stubs that are next in line their records back.
func (o *Outbox) readBack() error {
	wanted := o.wanted()
	for e, err := range o.journal.Entries(o.stopped) {
		if err != nil {
			return err
		}
		r := wanted[e.Seq]
		if r == nil {
			continue
		}
		u, err := aaa.ParseUsage(e.Payload)
		if err != nil {
			o.corrupt(e, err)
			continue
		}
		delete(wanted, e.Seq)
		o.mu.Lock()
		if r.usage == nil && !r.gone {
			r.usage = &u
			o.whole++
		}
		o.mu.Unlock()
		if len(wanted) == 0 {
			return nil
		}
	}
	o.giveUp(wanted)
	return nil
}

// wanted collects stubs of ready sessions, by Seq.
func (o *Outbox) wanted() map[uint64]*record {
	o.mu.Lock()
	defer o.mu.Unlock()
	wanted := map[uint64]*record{}
	for s := o.ready.first; s != nil && len(wanted) < refill; s = s.next {
		for r := s.first; r != nil; r = r.next {
			if r.usage == nil {
				wanted[r.seq] = r
			}
		}
	}
	return wanted
}

// giveUp takes records off the books that the journal does not have or that
// cannot be read: they can never be sent, and would keep those behind them.
func (o *Outbox) giveUp(wanted map[uint64]*record) {
	if len(wanted) == 0 || o.stopped.Err() != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats.JournalErrors += uint64(len(wanted))
	o.cfg.Log.Error("accounting records cannot be read back from the journal; they are given up", "records", len(wanted))
	var keep list
	for o.ready.first != nil {
		s := o.ready.pop()
		o.remove(s, wanted)
		if s.first != nil {
			keep.push(s)
		} else {
			delete(o.sessions, s.key)
		}
	}
	o.ready = keep
	o.checkIdle()
}

// remove takes records out of a session. The caller holds mu.
func (o *Outbox) remove(s *session, gone map[uint64]*record) {
	s.last = nil
	for at := &s.first; *at != nil; {
		if r := *at; gone[r.seq] == r && r.usage == nil {
			*at = r.next
			o.stats.Pending--
		} else {
			s.last = r
			at = &r.next
		}
	}
}

func (o *Outbox) journalError(msg string, err error) {
	if o.stopped.Err() != nil {
		return
	}
	o.mu.Lock()
	o.stats.JournalErrors++
	o.mu.Unlock()
	o.cfg.Log.Error(msg, "err", err)
}

// pause waits before the journal is tried again.
func (o *Outbox) pause() {
	select {
	case <-time.After(o.cfg.RetryFirst):
	case <-o.stopped.Done():
	}
}

func (o *Outbox) pokeDrop() {
	select {
	case o.dropWake <- struct{}{}:
	default:
	}
}

// drop takes acknowledged records out of the journal until Close.
func (o *Outbox) drop() {
	defer o.wg.Done()
	tick := time.NewTicker(o.cfg.DropEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-o.dropWake:
		case <-o.stopped.Done():
			return
		}
		if err := o.flush(o.stopped); err != nil {
			o.journalError("cannot drop acknowledged accounting records from the journal", err)
			o.pause()
		}
	}
}

// flush drops what is to be dropped from the journal. Only one goroutine at a
// time may call it.
func (o *Outbox) flush(ctx context.Context) error {
	for {
		o.mu.Lock()
		n := min(len(o.drops), dropBatch)
		batch := o.drops[:n:n]
		o.mu.Unlock()
		if n == 0 {
			return nil
		}
		entries := make([]sessiondb.Entry, n)
		changes := make([]sessiondb.Change, n)
		for i, seq := range batch {
			entries[i] = sessiondb.Entry{Seq: seq, Node: o.cfg.Node}
			changes[i] = sessiondb.Change{Op: sessiondb.DropEntry, Entry: &entries[i]}
		}
		if err := o.journal.Apply(ctx, changes); err != nil {
			return err
		}
		o.mu.Lock()
		if o.drops = o.drops[n:]; len(o.drops) == 0 {
			o.drops = nil
		}
		o.mu.Unlock()
	}
}
