package lns

import (
	"errors"
	"time"
)

// slowness is what makes transactions of the simulated database take long.
type slowness struct {
	// commits is for how long a transaction at most has what it has locked before it is made, and answers how
	// late an answer is at most.
	commits, answers time.Duration
	// claimTakes is how long the next claim from another node takes, 0 is as any; claimed is called when it comes.
	claimTakes time.Duration
	claimed    func()
	// renewals is how late the answers to a node's renewals are, renewed is called when one has been made.
	renewals map[string]time.Duration
	renewed  func(by *simHost)
	// stuck are nodes whose rows are not written: they wait for a lock until their client gives up.
	stuck map[string]bool
	// locked says that a transaction has the lock of what nodes there are and whose the addresses are; behind wait for it.
	locked bool
	behind []*request
}

// normal has the database be as fast as it is.
func (s *slowness) normal() {
	s.commits, s.answers, s.claimTakes = 0, 0, 0
	s.claimed, s.renewed = nil, nil
	clear(s.renewals)
	clear(s.stuck)
}

// request is a transaction that has come to the database.
type request struct {
	kind   requestKind
	from   *simHost
	of     string // a claim: whose the address is
	do     func() error
	answer func(error)
}

type requestKind int

const (
	asksRows    requestKind = iota // reads
	asksWrite                      // writes rows of addresses
	asksRenewal                    // waits for the lock of nodes and addresses
	asksClaim                      // takes it, as does the next
	asksChange
)

// simConn is a node's way to the database.
type simConn struct {
	h *simHost
	d *simDB
}

var (
	errNoAnswer = errors.New("simulated: the database does not answer")
	errRefused  = errors.New("simulated: connection refused")
)

// clientTime is how long a client waits for the database, but for claims.
const clientTime = 4 * time.Second

// patience is how long a node waits for an answer, as lns/cluster does.
func (s simConn) patience(kind requestKind) time.Duration {
	if kind == asksClaim {
		return max(clientTime, s.h.config.Lease*3/4)
	}
	return clientTime
}

// transact has f done in the database, for a coroutine of the node. With an
// error, f may have been done, and may be yet; certainly not with errRefused.
func (s simConn) transact(kind requestKind, of string, f func() error) error {
	c, w := s.d.c, s.d.c.w
	end := w.now + s.patience(kind)
	if s.d.away {
		w.sleep(w.upTo(10 * time.Millisecond))
		return errRefused
	}
	var failed error
	answered := false
	p := w.cur
	q := &request{kind, s.h, of, f, func(err error) { failed, answered = err, true; p.poke() }}
	if !c.isCut(s.h.name, "db") {
		w.on(c.outside, func() { w.after(c.latency(), func() { s.d.take(q) }) })
	}
	w.wait(end, func() bool { return answered })
	if !answered {
		return errNoAnswer
	}
	return failed
}

// take does what has arrived; a server that is stalled does it later, if the client's last word was there by
// then. What takes long has locked what it is about, and so looks at it as it will be when it is made.
func (d *simDB) take(q *request) {
	w := d.c.w
	switch {
	case d.away || q.kind == asksWrite && d.stuck[q.from.name]:
		return
	case d.stalled:
		if w.chance(0.5) {
			d.waiting = append(d.waiting, func() { d.take(q) })
		}
		return
	case q.kind >= asksRenewal && d.locked:
		d.behind = append(d.behind, q)
		return
	}
	takes := w.upTo(d.commits)
	if q.kind == asksClaim && q.of != "" && d.claimTakes > 0 {
		takes, d.claimTakes = d.claimTakes, 0
		d.claimed()
	}
	if takes == 0 || q.kind < asksClaim {
		d.make(q)
		return
	}
	d.locked = true
	w.on(d.c.outside, func() { w.after(takes, func() { d.commit(q) }) })
}

// commit ends a transaction that took long.
func (d *simDB) commit(q *request) {
	if d.stalled {
		d.waiting = append(d.waiting, func() { d.commit(q) })
		return
	}
	d.locked = false
	list := d.behind
	d.behind = nil
	if !d.away {
		d.make(q)
	}
	for _, q := range list {
		d.take(q)
	}
}

// make does a transaction and answers.
func (d *simDB) make(q *request) {
	c, w := d.c, d.c.w
	err := q.do()
	late := w.upTo(d.answers)
	if q.kind == asksRenewal {
		late += d.renewals[q.from.name]
		if d.renewed != nil {
			d.renewed(q.from)
		}
	}
	if c.isCut("db", q.from.name) {
		return
	}
	life := q.from.life
	w.on(q.from, func() {
		w.after(c.latency()+late, func() {
			if q.from.life == life && life != nil {
				q.answer(err)
			}
		})
	})
}

// goOn ends a stall: what waits is done in its order.
func (d *simDB) goOn() {
	d.stalled = false
	list := d.waiting
	d.waiting = nil
	for _, f := range list {
		f()
	}
}
