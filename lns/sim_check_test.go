package lns

import (
	"net/netip"
	"time"

	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// checker looks into the shards after each step of one life.
type checker struct {
	l        *life
	tunnels  map[tunnelID]*tunnel
	sessions map[dataplane.Key]*session
	// ended says, for ids that were used, how many others of their kind had
	// ended when they did.
	endedTunnels  map[tunnelID]int
	endedSessions map[*tunnelFacts]map[uint16]int
	tunnelEnds    int
	serials       map[*tunnelFacts]map[uint32]uint16
	latest        map[*tunnelFacts]uint32
	told          map[string]bool // ends that watchers were told of
}

// soon is how many other ids must have been freed before one comes back, at the
// least. The simulation does not see all that are freed, so it is less than quarantine.
const soon = quarantine / 4

func (c *checker) init(l *life) {
	*c = checker{
		l: l, tunnels: map[tunnelID]*tunnel{}, sessions: map[dataplane.Key]*session{}, endedTunnels: map[tunnelID]int{},
		endedSessions: map[*tunnelFacts]map[uint16]int{}, serials: map[*tunnelFacts]map[uint32]uint16{}, latest: map[*tunnelFacts]uint32{}, told: map[string]bool{},
	}
}

// step checks everything after a step of a shard.
func (c *checker) step(sh *shard) {
	c.ids(sh)
	c.timers(sh)
	c.watchers()
	c.kept()
	if c.quiet() {
		c.books()
		c.addresses()
	}
}

// quiet says whether no message is on its way between shards.
func (c *checker) quiet() bool {
	for _, sh := range c.l.srv.shards {
		if len(sh.inbox.in.msgs) > 0 {
			return false
		}
	}
	return true
}

// ids checks that a shard's ids are its own, and were not used a moment ago.
func (c *checker) ids(sh *shard) {
	w, n := c.l.w, len(c.l.srv.shards)
	for id, t := range sh.tunnels {
		if id.id == 0 || t.facts.id != id.id || dataplane.ShardOf(id.id, n) != sh.idx {
			w.fail("ids are unique", "tunnel %v is %d on shard %d", id, t.facts.id, sh.idx)
		}
		if c.tunnels[id] != t {
			if end, was := c.endedTunnels[id]; was && c.tunnelEnds-end < soon {
				w.fail("ids rest", "tunnel id %v is used again after %d others", id, c.tunnelEnds-end)
			}
			if c.tunnels[id] != nil {
				w.fail("ids are unique", "tunnel %v is two tunnels", id)
			}
			c.tunnels[id] = t
		}
		c.order(t)
		c.repeats(t)
	}
	for id, t := range c.tunnels {
		if t.facts.shard == sh.idx && sh.tunnels[id] == nil {
			c.tunnelEnds++
			c.endedTunnels[id] = c.tunnelEnds
			delete(c.endedSessions, t.facts)
			delete(c.serials, t.facts)
			delete(c.latest, t.facts)
			delete(c.tunnels, id)
		}
	}
	c.sessionIDs(sh)
}

// patience is the longest that a message may wait for its next transmission: the retry interval's
// limit, the longest stall of the journal, and the network.
const patience = 8*time.Second + 5*time.Second

// repeats checks that what the LAC has not acknowledged is sent again.
func (c *checker) repeats(t *tunnel) {
	w := c.l.w
	s := w.net.streams[streamKey{c.l.number, t.facts.listener, t.facts.id}]
	if s == nil || s.una == s.high || t.t.Unacked() == 0 || w.net.corrupted || w.store.failed {
		return
	}
	if d := w.now - s.sentAt; d > patience {
		w.fail("all is sent again", "tunnel %d: message %d is not acknowledged, and was sent last %v ago", t.facts.id, s.una, d)
	}
}

func (c *checker) sessionIDs(sh *shard) {
	w := c.l.w
	for key, s := range sh.sessions {
		if key != s.key || key.Session == 0 || dataplane.ShardOf(key.Session, len(c.l.srv.shards)) != sh.idx {
			w.fail("ids are unique", "session %v is %v on shard %d", key, s.key, sh.idx)
		}
		if c.sessions[key] == s {
			continue
		}
		ends := c.endedSessions[s.facts]
		if end, was := ends[key.Session]; was && len(ends)-end < soon {
			w.fail("ids rest", "session id %v is used again after %d others", key, len(ends)-end)
		}
		if old := w.seen[s.who.AcctSessionID]; old != nil && old != s {
			w.fail("Acct-Session-Id is unique", "%s is session %v in life %d and was %v before", s.who.AcctSessionID, key, c.l.number, old.key)
		}
		w.seen[s.who.AcctSessionID] = s
		c.sessions[key] = s
	}
	for key, s := range c.sessions {
		if dataplane.ShardOf(key.Session, len(c.l.srv.shards)) != sh.idx || sh.sessions[key] == s {
			continue
		}
		if c.endedSessions[s.facts] == nil {
			c.endedSessions[s.facts] = map[uint16]int{}
		}
		c.endedSessions[s.facts][key.Session] = len(c.endedSessions[s.facts]) + 1
		if sh.sessions[key] == nil {
			delete(c.sessions, key)
		}
	}
}

// order checks that a tunnel's calls come in the order in which the LAC places them, each once:
// serial numbers are handed out in that order, so that a call that is new has the greatest.
func (c *checker) order(t *tunnel) {
	if c.l.w.net.corrupted {
		return
	}
	known := c.serials[t.facts]
	if known == nil {
		known = map[uint32]uint16{}
		c.serials[t.facts] = known
	}
	last := c.latest[t.facts]
	for id, ref := range t.calls.ours {
		switch was, ok := known[ref.serial]; {
		case ref.serial == 0: // it was being set up when lnsd died, and is being cleared
		case ok && was != id:
			c.l.w.fail("once and in order", "tunnel %d: call %d has the ids %d and %d", t.facts.id, ref.serial, was, id)
		case !ok && ref.serial < last:
			c.l.w.fail("once and in order", "tunnel %d: call %d came after %d", t.facts.id, ref.serial, last)
		default:
			known[ref.serial] = id
			c.latest[t.facts] = max(c.latest[t.facts], ref.serial)
		}
	}
}

// timers checks that nothing can be forgotten: whatever lives has a timer.
func (c *checker) timers(sh *shard) {
	if n := len(sh.tunnels) + len(sh.sessions); sh.wheel.count != n {
		for _, s := range sh.sessions {
			if s.timer.next == nil {
				c.l.w.fail("all have an end", "session %v, %s, has no timer", s.key, s.stateName())
			}
		}
		c.l.w.fail("all have an end", "%d timers for %d tunnels and %d sessions", sh.wheel.count, len(sh.tunnels), len(sh.sessions))
	}
}

// watchers checks that the end of a session is told once, with the cause that the journal has.
func (c *checker) watchers() {
	for len(c.l.events) > 0 {
		e := <-c.l.events
		if e.Kind != EventSessionDown && e.Kind != EventSessionReject {
			continue
		}
		id := e.Session.ID
		if c.told[id] {
			c.l.w.fail("one cause", "watchers were told twice that %s ended, now by %s", id, e.Cause)
		}
		c.told[id] = true
		if cause, ok := c.l.w.causes[id]; ok && cause != e.Cause {
			c.l.w.fail("one cause", "session %s ended by %s, and watchers were told %s", id, cause, e.Cause)
		}
	}
}

// committed checks that what a shard is about to send says nothing that the journal does not know.
func (c *checker) committed(sh *shard) {
	if len(sh.unkept) > 0 {
		return
	}
	c.acknowledged(sh)
	store, local := c.l.w.store, c.l.srv.listeners
	for key, s := range sh.sessions {
		k := sessiondb.SessionKey{Tunnel: sessiondb.TunnelKey{Local: local[key.Listener], ID: key.Tunnel}, ID: key.Session}
		rec := store.sessions[k]
		if (rec != nil) != (s.state == stateUp) {
			c.l.w.fail("journal first", "session %s is %s when datagrams leave; its record is %+v", s.who.AcctSessionID, s.stateName(), rec)
		}
		if rec != nil && (rec.AcctSessionID != s.who.AcctSessionID || rec.User != s.who.User || rec.Address != s.address || rec.PeerID != s.peerID) {
			c.l.w.fail("journal equals memory", "session %s of %s has the record %+v", s.who.AcctSessionID, s.who.User, rec)
		}
	}
}

// acknowledged checks that the journal knows what a shard's tunnels are about to send and to
// acknowledge: who has an acknowledgement of ours relies on it, whatever becomes of us.
func (c *checker) acknowledged(sh *shard) {
	store := c.l.w.store
	for _, t := range sh.tunnels {
		s, ok := t.t.Save()
		if !ok || !t.up || t.down {
			continue
		}
		rec := store.tunnels[t.facts.key()]
		if rec == nil || rec.Ns != s.Ns || rec.Nr != s.Nr || rec.PeerID != t.facts.peerID {
			c.l.w.fail("journal first", "tunnel %d has Ns %d and Nr %d when datagrams leave; its record is %+v", t.facts.id, s.Ns, s.Nr, rec)
		}
		for id, ref := range t.calls.ours {
			if k := (sessiondb.SessionKey{Tunnel: t.facts.key(), ID: id}); !ref.cleared && !store.calls[k] {
				c.l.w.fail("journal first", "call %d.%d has no record when datagrams leave", t.facts.id, id)
			}
		}
	}
}

// kept checks that the journal has what the shards have, and nothing else.
func (c *checker) kept() {
	sessions, tunnels := 0, 0
	for _, sh := range c.l.srv.shards {
		if len(sh.unkept) > 0 {
			return
		}
		c.committed(sh)
		for _, s := range sh.sessions {
			if s.state == stateUp {
				sessions++
				if p := c.l.plane.sessions[s.key]; p == nil || p.Address != s.address {
					c.l.w.fail("plane equals memory", "session %v is up with %v; the plane has %+v", s.key, s.address, p)
				}
			}
		}
		for _, t := range sh.tunnels {
			if !t.up || t.down {
				continue
			}
			tunnels++
			if rec := c.l.w.store.tunnels[t.facts.key()]; rec == nil || rec.PeerID != t.facts.peerID {
				c.l.w.fail("journal equals memory", "tunnel %d has the record %+v", t.facts.id, rec)
			}
		}
	}
	if n, m := len(c.l.w.store.sessions), len(c.l.w.store.tunnels); n != sessions || m != tunnels {
		c.l.w.fail("journal equals memory", "%d sessions and %d tunnels are up; the journal has %d and %d", sessions, tunnels, n, m)
	}
	if n := len(c.l.plane.sessions); n != sessions {
		c.l.w.fail("plane equals memory", "%d sessions are up, the plane has %d", sessions, n)
	}
}

// books checks that tunnels and sessions know each other, and that all that is counted is right.
func (c *checker) books() {
	w, srv := c.l.w, c.l.srv
	calls, sessions, settingUp, tunnels := 0, 0, 0, 0
	accepted := 0
	for _, sh := range srv.shards {
		for _, t := range sh.tunnels {
			accepted++
			if !t.down {
				tunnels++
			}
			if t.calls.ids.used != len(t.calls.ours) {
				w.fail("nothing is left", "tunnel %d has %d calls, %d ids in use", t.facts.id, len(t.calls.ours), t.calls.ids.used)
			}
			calls += len(t.calls.ours)
		}
		for _, s := range sh.sessions {
			sessions++
			if s.state == stateDialling || s.state == stateLink {
				settingUp++
			}
			if t := c.tunnels[tunnelID{s.key.Listener, s.key.Tunnel}]; t == nil || t.facts != s.facts || t.calls.ours[s.key.Session].peerID != s.peerID {
				w.fail("nothing is left", "session %v, %s, is unknown to its tunnel", s.key, s.stateName())
			}
		}
	}
	used := 0
	for i := range srv.shards[0].accept.ids {
		used += srv.shards[0].accept.ids[i].used
	}
	if calls != sessions || accepted != used || accepted != len(srv.shards[0].accept.known) {
		w.fail("nothing is left", "%d calls are %d sessions; %d tunnels have %d ids, %d are known", calls, sessions, accepted, used, len(srv.shards[0].accept.known))
	}
	if n, m := srv.sessions.Load(), srv.settingUp.Load(); int(n) != sessions || int(m) != settingUp {
		w.fail("nothing is left", "%d sessions are counted as %d, %d setting up as %d", sessions, n, settingUp, m)
	}
}

// addresses checks that every address has one session, which holds it in the pool.
func (c *checker) addresses() {
	w := c.l.w
	by, held := map[netip.Addr]*session{}, 0
	for _, sh := range c.l.srv.shards {
		for _, s := range sh.sessions {
			if !s.address.IsValid() || s.state == stateClosing {
				continue
			}
			held++
			if o := by[s.address]; o != nil {
				w.fail("one session for an address", "%v is %s's and %s's", s.address, s.who.User, o.who.User)
			}
			by[s.address] = s
			if _, owner, ok := c.l.pools.Holder(s.address); !ok || owner != s.owner {
				w.fail("one session for an address", "%v is %s's, number %d; the pool says %d, %v", s.address, s.who.User, s.owner, owner, ok)
			}
		}
	}
	if n := c.l.pools.Usage()[0].Used + c.l.pools.Fixed(); n != held {
		w.fail("nothing is left", "%d addresses are held, %d in the pools", held, n)
	}
}
