package lns

import (
	"maps"
	"slices"
	"time"

	"culvert/aaa"
	"culvert/sessiondb"
)

// books is RADIUS accounting's server. It knows every record that was
// journaled, and checks what arrives.
type books struct {
	w    *world
	mode radiusMode
	// accounts are what the server has, promised what the journal has had, both by Acct-Session-Id.
	accounts map[string]*account
	promised map[string]*account
	// excused are the sessions of which the journal has refused something: lnsd may
	// die before it takes it.
	excused map[string]bool
}

// account is one session's records.
type account struct {
	records []aaa.Usage
	bySeq   map[uint64]int
}

func newBooks(w *world) *books {
	return &books{w: w, accounts: map[string]*account{}, promised: map[string]*account{}, excused: map[string]bool{}}
}

// forgotten excuses the sessions of changes that the journal refuses.
func (b *books) forgotten(list []sessiondb.Change) {
	for i := range list {
		switch c := &list[i]; {
		case c.Session != nil:
			b.excused[c.Session.AcctSessionID] = true
		case c.Entry != nil:
			b.excused[c.Entry.Session] = true
		}
	}
}

// accountant is a life's client of it.
type accountant struct {
	b *books
	l *life
}

// Account implements aaa.Accountant. The record, or its acknowledgement, may be lost.
func (a accountant) Account(u *aaa.Usage, done func(error)) {
	a.l.effect()
	w := a.b.w
	delay, lost, unheard := w.upTo(20*time.Millisecond), w.chance(w.plan.acctLoss), w.chance(w.plan.acctLoss)
	switch a.b.mode {
	case radiusSlow:
		delay = w.upTo(15 * time.Second)
	case radiusDead:
		delay, lost = 5*time.Second, true
	}
	switch {
	case lost:
	case w.cluster != nil:
		w.cluster.books.receive(w.simHost, u)
	default:
		a.b.receive(u)
	}
	w.after(delay, func() {
		switch {
		case w.life != a.l:
		case lost || unheard:
			done(aaa.ErrUnavailable)
		default:
			done(nil)
		}
	})
}

// journaled notes a record that was promised, once.
func (b *books) journaled(u *aaa.Usage) {
	a := b.promised[u.Identity.AcctSessionID]
	if a == nil {
		a = &account{bySeq: map[uint64]int{}}
		b.promised[u.Identity.AcctSessionID] = a
	}
	if _, again := a.bySeq[u.Seq]; !again { // a journal may be given the same change again
		a.add(b.w, u, true)
	}
}

// receive takes a record; the same one may come more than once.
func (b *books) receive(u *aaa.Usage) {
	a := b.accounts[u.Identity.AcctSessionID]
	if a == nil {
		a = &account{bySeq: map[uint64]int{}}
		b.accounts[u.Identity.AcctSessionID] = a
	}
	if i, ok := a.bySeq[u.Seq]; ok && !b.excused[u.Identity.AcctSessionID] {
		if r := &a.records[i]; r.Kind != u.Kind || r.InOctets != u.InOctets || r.OutOctets != u.OutOctets || r.Duration != u.Duration {
			b.w.fail("one Stop for each Start", "record %d came as %+v and as %+v", u.Seq, r, u)
		}
		return
	}
	a.add(b.w, u, false)
}

// add checks that a record may follow those before it. A session whose Start is not yet there, or
// not first, is as wrong as one with two Stops.
func (a *account) add(w *world, u *aaa.Usage, promised bool) {
	id := u.Identity.AcctSessionID
	if w.books.excused[id] || w.store.failed {
		return
	}
	if len(a.records) == 0 {
		if u.Kind != aaa.UsageStart {
			w.fail("one Stop for each Start", "the first record of %s is a %v (seq %d)", id, u.Kind, u.Seq)
		}
	} else {
		last := &a.records[len(a.records)-1]
		switch {
		case u.Kind == aaa.UsageStart:
			w.fail("Acct-Session-Id is unique", "%s has two Starts, for %s and %s", id, last.Identity.User, u.Identity.User)
		case u.Identity.User != last.Identity.User:
			w.fail("one name", "%s is accounted to %q after %q", id, u.Identity.User, last.Identity.User)
		case last.Kind == aaa.UsageStop:
			w.fail("one Stop for each Start", "%s has a %v (seq %d) after its Stop (seq %d)", id, u.Kind, u.Seq, last.Seq)
		case u.Seq <= last.Seq, u.InOctets < last.InOctets, u.OutOctets < last.OutOctets,
			u.InPackets < last.InPackets, u.OutPackets < last.OutPackets, u.Duration < last.Duration:
			w.fail("counters grow", "%s: %+v after %+v (in the journal: %v)", id, u, last, promised)
		}
	}
	a.bySeq[u.Seq] = len(a.records)
	a.records = append(a.records, *u)
}

// closed checks, in the end, that the server has every Start and Stop that was promised.
func (b *books) closed() {
	for _, id := range slices.Sorted(maps.Keys(b.promised)) {
		if b.excused[id] || b.w.store.failed {
			continue
		}
		a, p := b.accounts[id], b.promised[id]
		if p.records[len(p.records)-1].Kind != aaa.UsageStop {
			b.w.fail("one Stop for each Start", "%s was never stopped: %d records", id, len(p.records))
		}
		for _, u := range p.records {
			if u.Kind == aaa.UsageInterim {
				continue
			}
			if a == nil || !a.has(u.Seq) {
				b.w.fail("no record is lost", "the server never got the %v of %s (seq %d)", u.Kind, id, u.Seq)
			}
		}
	}
	for id := range b.accounts {
		if b.promised[id] == nil && !b.w.store.failed {
			b.w.fail("journal first", "%s was accounted and never journaled", id)
		}
	}
}

func (a *account) has(seq uint64) bool {
	_, ok := a.bySeq[seq]
	return ok
}
