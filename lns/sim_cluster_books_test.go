package lns

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"culvert/aaa"
	"culvert/sessiondb"
)

// clusterBooks are the accounts of all nodes' sessions: what the journals
// have had, and what has reached the accounting server.
type clusterBooks struct {
	c        *simCluster
	accounts map[string]*clusterAccount // by Acct-Session-Id
}

// clusterAccount is one session's records over all nodes.
type clusterAccount struct {
	local   netip.AddrPort // valid once it is known
	records []accountRecord
	stops   int // distinct ones that were journaled
	// lastAt is when the last of records was journaled, by whom.
	lastAt time.Duration
	lastBy *simHost
	// behind says that a node went on with less than the last record: the last one was lost with its node.
	behind bool
	// revived says that a node went on with a session whose Stop was lost with its node, lost that
	// nobody went on with it, since its beginning was lost.
	revived, lost bool
}

type accountRecord struct {
	aaa.Usage
	served bool // the server has it
}

func newClusterBooks(c *simCluster) *clusterBooks {
	return &clusterBooks{c: c, accounts: map[string]*clusterAccount{}}
}

func (b *clusterBooks) account(id string) *clusterAccount {
	a := b.accounts[id]
	if a == nil {
		a = &clusterAccount{}
		b.accounts[id] = a
	}
	return a
}

// bound notes which address a session is on, for good.
func (b *clusterBooks) bound(s *sessiondb.Session) {
	a := b.account(s.AcctSessionID)
	if a.local.IsValid() && a.local != s.Key.Tunnel.Local {
		b.c.w.fail("same session everywhere", "session %s is on %v and on %v", s.AcctSessionID, a.local, s.Key.Tunnel.Local)
	}
	a.local = s.Key.Tunnel.Local
}

// same tells whether two records are one that was copied.
func same(a, b *aaa.Usage) bool {
	return a.Kind == b.Kind && a.Duration == b.Duration && a.At.Equal(b.At) && a.InOctets == b.InOctets && a.OutOctets == b.OutOctets
}

func (a *clusterAccount) find(u *aaa.Usage) *accountRecord {
	for i := range a.records {
		if same(&a.records[i].Usage, u) {
			return &a.records[i]
		}
	}
	return nil
}

// journaled takes a record that a node has journaled.
func (b *clusterBooks) journaled(h *simHost, u *aaa.Usage) {
	w, id := b.c.w, u.Identity.AcctSessionID
	a := b.account(id)
	if a.find(u) != nil {
		return
	}
	if a.local.IsValid() && b.c.db.owner(a.local) != h.name {
		w.fail("fenced nodes are quiet", "%s accounts a %v of %s, which is on %v, %s's", h.name, u.Kind, id, a.local, b.c.db.owner(a.local))
	}
	if n := len(a.records); n == 0 && u.Kind != aaa.UsageStart {
		w.fail("one Start, one Stop", "the first record of %s is a %v", id, u.Kind)
	} else if n > 0 {
		b.follows(h, a, u)
	}
	if u.Kind == aaa.UsageStop {
		a.stops++
	}
	a.records = append(a.records, accountRecord{Usage: *u})
	a.lastAt, a.lastBy, a.behind = w.now, h, false
}

// follows checks that a record may come after the last one.
func (b *clusterBooks) follows(h *simHost, a *clusterAccount, u *aaa.Usage) {
	w, id, last := b.c.w, u.Identity.AcctSessionID, &a.records[len(a.records)-1]
	switch {
	case u.Kind == aaa.UsageStart:
		w.fail("one Start, one Stop", "%s has two Starts, the second on %s", id, h.name)
	case a.stops > 0 && !a.revived:
		w.fail("one Start, one Stop", "%s has a %v on %s after its Stop", id, u.Kind, h.name)
	case a.behind || a.revived:
	case u.InOctets < last.InOctets || u.OutOctets < last.OutOctets || u.InPackets < last.InPackets || u.OutPackets < last.OutPackets:
		w.fail("counters grow", "%s on %s: %+v after %+v", id, h.name, u, last.Usage)
	case u.Duration < last.Duration-slack:
		w.fail("counters grow", "%s on %s: a duration of %v after %v", id, h.name, u.Duration, last.Duration)
	}
}

// slack is what moves in a session's duration when it moves between machines: its beginning is told by the wall clock.
const slack = time.Second

// adopted compares what a node goes on with with what was accounted before. What
// was accounted later than that must have been lost with its node.
func (b *clusterBooks) adopted(h *simHost, rows []sessiondb.Session) {
	for i := range rows {
		s := &rows[i]
		b.bound(s)
		if n := b.c.given[s.AcctSessionID]; s.InOctets < n {
			b.c.w.fail("counters grow", "%s goes on with %s as of %d octets; it was moved with %d", h.name, s.AcctSessionID, s.InOctets, n)
		}
		a := b.account(s.AcctSessionID)
		if len(a.records) == 0 {
			continue
		}
		last := &a.records[len(a.records)-1]
		old := s.InOctets < last.InOctets || s.OutOctets < last.OutOctets
		if last.Kind != aaa.UsageStop && !old {
			continue
		}
		if !b.c.wasTroubled(a.lastBy, a.lastAt) {
			b.c.w.fail("nothing is forgotten", "%s goes on with %s as of %d octets; %s had accounted %+v %v ago, when its database was well",
				h.name, s.AcctSessionID, s.InOctets, a.lastBy.name, last.Usage, b.c.w.now-a.lastAt)
		}
		if last.Kind == aaa.UsageStop {
			a.revived = true
		}
		a.behind = true
	}
}

// receive takes what has reached the accounting server.
func (b *clusterBooks) receive(h *simHost, u *aaa.Usage) {
	r := b.account(u.Identity.AcctSessionID).find(u)
	if r == nil {
		b.c.w.fail("journal first", "%s sends a %v of %s that was never journaled", h.name, u.Kind, u.Identity.AcctSessionID)
	}
	r.served = true
}

// closed checks, in the end, that the server has a Start and a Stop of every session.
func (b *clusterBooks) closed() {
	for _, id := range slices.Sorted(maps.Keys(b.accounts)) {
		a := b.accounts[id]
		starts, stops := 0, 0
		for i := range a.records {
			r := &a.records[i]
			switch {
			case r.Kind == aaa.UsageInterim:
				continue
			case !r.served:
				b.c.w.fail("no record is lost", "the server never got the %v of %s", r.Kind, id)
			case r.Kind == aaa.UsageStart:
				starts++
			default:
				stops++
			}
		}
		if len(a.records) > 0 && (starts != 1 || stops > 1 && !a.revived || stops == 0 && !a.lost) {
			b.c.w.fail("one Start, one Stop", "%s has %d Starts and %d Stops", id, starts, stops)
		}
	}
}
