package lns

import (
	"net/netip"
	"slices"
	"time"

	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
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
	endedSessions map[*tunnelFacts]*endedIDs
	tunnelEnds    int
	serials       map[*tunnelFacts]map[uint32]uint16
	latest        map[*tunnelFacts]uint32
	told          map[string]bool // ends that watchers were told of
	// heirs are who had an address last, letIn the sessions whose grant was looked at.
	heirs  map[netip.Addr]uint64
	letIn  map[*session]bool
	steps  int
	begun  bool // the life has begun: tunnels that come now are new
	looked bool // at what a step sends, so that there is no need to look once more after it
	moved  bool // an address was taken or given back since the last look
	rivals rivals
}

// endedIDs are those of a tunnel's sessions that have ended: how many, and when each.
type endedIDs struct {
	n  int
	at map[uint16]endedID
}

// endedID is when an id was freed: after how many sessions of its tunnel, and how many calls, those
// that were refused included.
type endedID struct{ n, cleared int }

// soon is how many other ids must have been freed before one comes back, at the
// least. The simulation does not see all that are freed, so it is less than quarantine.
const soon = quarantine / 4

func (c *checker) init(l *life) {
	*c = checker{
		l: l, tunnels: map[tunnelID]*tunnel{}, sessions: map[dataplane.Key]*session{}, endedTunnels: map[tunnelID]int{},
		endedSessions: map[*tunnelFacts]*endedIDs{}, serials: map[*tunnelFacts]map[uint32]uint16{}, latest: map[*tunnelFacts]uint32{}, told: map[string]bool{},
		heirs: map[netip.Addr]uint64{}, letIn: map[*session]bool{},
	}
}

// sampled is after how many steps all of a big world is looked at. In between only what the step sends
// is looked at: everything after every step would take time with the square of the number of users.
const sampled = 300

// step checks everything after a step of a shard.
func (c *checker) step(sh *shard) {
	c.watchers()
	if c.steps++; c.begun && c.l.w.plan.big && c.steps%sampled != 0 {
		return
	}
	for _, s := range c.l.srv.shards {
		// A step changes its own shard, and nothing of the others.
		if s == sh || c.l.w.plan.big || !c.begun {
			c.ids(s)
			c.timers(s)
			c.kept(s)
		}
	}
	c.looked = false
	c.totals()
	c.rivals.networks(c)
	if c.quiet() {
		c.rivals.look(c)
		c.books()
		if c.moved || c.steps%8 == 0 {
			c.moved = false
			c.addresses()
			c.networks()
		}
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
			c.rested(id)
			c.rivals.single(c, t)
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
			delete(c.rivals.at, t)
		}
	}
	c.sessionIDs(sh)
}

// rested checks that a tunnel's id was not another's in the lives before: a LAC that has not noticed
// their end sends to it still. Tunnels that live on have theirs from the beginning of this life.
func (c *checker) rested(id tunnelID) {
	w, n := c.l.w, c.l.number
	if w.cluster != nil {
		return // a tunnel comes from another node with its id
	}
	if was, ok := w.tunnelIDs[id]; ok && c.begun && was < n && n-was <= restLives {
		w.fail("ids rest", "tunnel id %v is used again in life %d, and was used in life %d", id, n, was)
	}
	w.tunnelIDs[id] = n
}

// restLives is for how many lives, at the least, a tunnel's id is not used anew.
const restLives = lifes / 2

// patience is the longest that a message may wait for its next transmission: the retry interval's
// limit, the longest stall of the journal, and the network.
func (w *world) patience() time.Duration {
	return 8*time.Second + 2*time.Second + max(3*time.Second, w.plan.stall)
}

// repeats checks that what the LAC has not acknowledged is sent again.
func (c *checker) repeats(t *tunnel) {
	w := c.l.w
	s := w.net.streams[streamKey{c.l.number, t.facts.listener, t.facts.id}]
	if s == nil || w.cluster != nil || s.blind || s.una == s.high || t.t.Unacked() == 0 || w.net.corrupted || w.store.failed {
		return
	}
	if d := w.now - s.sentAt; d > w.patience() {
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
		if e := c.endedSessions[s.facts]; e != nil {
			end, was := e.at[key.Session]
			if n := max(e.n-end.n, w.store.cleared[s.facts.key()]-end.cleared); was && n < soon && !w.store.failed { // what a failing store is told is not counted
				w.fail("ids rest", "session id %v is used again after %d others", key, n)
			}
		}
		if old := w.seen[s.who.AcctSessionID]; old != nil && old != s && w.cluster == nil {
			w.fail("Acct-Session-Id is unique", "%s is session %v in life %d and was %v before", s.who.AcctSessionID, key, c.l.number, old.key)
		}
		w.seen[s.who.AcctSessionID] = s
		c.sessions[key] = s
	}
	for key, s := range c.sessions {
		if dataplane.ShardOf(key.Session, len(c.l.srv.shards)) != sh.idx || sh.sessions[key] == s {
			continue
		}
		e := c.endedSessions[s.facts]
		if e == nil {
			e = &endedIDs{at: map[uint16]endedID{}}
			c.endedSessions[s.facts] = e
		}
		e.n++
		e.at[key.Session] = endedID{e.n, w.store.cleared[s.facts.key()]}
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
		case ref.serial < firstSerial: // it was being set up when lnsd died, and is being cleared; or lnsd has asked for it
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
	for _, t := range sh.tunnels {
		c.acknowledged(t)
	}
	for key, s := range sh.sessions {
		c.recorded(key, s)
	}
}

// leaves checks the same, in a big world, of the tunnels that datagrams are of.
func (c *checker) leaves(sh *shard, batch []dataplane.Datagram) {
	if len(sh.unkept) > 0 {
		return
	}
	for i := range batch {
		h, payload, err := l2tp.ParseHeader(batch[i].B)
		if err != nil || !h.Control || len(payload) == 0 {
			continue
		}
		if id, ok := c.l.w.net.speaker(&batch[i], &h); ok {
			if t := sh.tunnels[tunnelID{batch[i].Listener, id}]; t != nil {
				c.acknowledged(t)
			}
		}
	}
}

// recorded checks a session's record.
func (c *checker) recorded(key dataplane.Key, s *session) {
	k := sessiondb.SessionKey{Tunnel: sessiondb.TunnelKey{Local: c.l.srv.listeners[key.Listener], ID: key.Tunnel}, ID: key.Session}
	rec := c.l.w.store.sessions[k]
	if (rec != nil) != (s.state == stateUp) {
		c.l.w.fail("journal first", "session %s is %s when datagrams leave; its record is %+v", s.who.AcctSessionID, s.stateName(), rec)
	}
	if rec != nil && (rec.AcctSessionID != s.who.AcctSessionID || rec.User != s.who.User || rec.Address != s.address || rec.PeerID != s.peerID) {
		c.l.w.fail("journal equals memory", "session %s of %s has the record %+v", s.who.AcctSessionID, s.who.User, rec)
	}
}

// acknowledged checks that the journal knows what a tunnel is about to send and to
// acknowledge: who has an acknowledgement of ours relies on it, whatever becomes of us.
func (c *checker) acknowledged(t *tunnel) {
	store := c.l.w.store
	s, ok := t.t.Save()
	if !ok || !t.up || t.down {
		return
	}
	rec := store.tunnels[t.facts.key()]
	told := t.t.Told()
	if rec == nil || rec.Ns != s.Ns || int16(rec.Nr-told) < 0 || int16(s.Nr-rec.Nr) < 0 || rec.PeerID != t.facts.peerID || told == s.Nr && len(t.placed) > 0 {
		c.l.w.fail("journal first", "tunnel %d has Ns %d and Nr %d when datagrams leave; its record is %+v", t.facts.id, s.Ns, s.Nr, rec)
	}
	for id, ref := range t.calls.ours {
		if k := (sessiondb.SessionKey{Tunnel: t.facts.key(), ID: id}); !ref.cleared && !store.calls[k] && !slices.Contains(t.placed, placedCall{id, ref.peerID}) {
			c.l.w.fail("journal first", "call %d.%d has no record when datagrams leave", t.facts.id, id)
		}
	}
}

// kept checks that the journal and the plane have what a shard has.
func (c *checker) kept(sh *shard) {
	if len(sh.unkept) > 0 {
		return
	}
	if !c.looked {
		c.committed(sh)
	}
	up := 0
	for _, s := range sh.sessions {
		c.reported(s)
		if s.state != stateUp {
			continue
		}
		up++
		c.granted(s)
		if p := c.l.plane.sessions[s.key]; p == nil || p.Address != s.address {
			c.l.w.fail("plane equals memory", "session %v is up with %v; the plane has %+v", s.key, s.address, p)
		}
	}
	if up != sh.established {
		c.l.w.fail("nothing is left", "shard %d has %d sessions that are up, and counts %d", sh.idx, up, sh.established)
	}
	for _, t := range sh.tunnels {
		if rec := c.l.w.store.tunnels[t.facts.key()]; t.up && !t.down && (rec == nil || rec.PeerID != t.facts.peerID) {
			c.l.w.fail("journal equals memory", "tunnel %d has the record %+v", t.facts.id, rec)
		}
	}
}

// totals checks that journal and plane have nothing else.
func (c *checker) totals() {
	sessions, tunnels := 0, 0
	for _, sh := range c.l.srv.shards {
		if len(sh.unkept) > 0 {
			return
		}
		sessions += sh.established
		for _, t := range sh.tunnels {
			if t.up && !t.down {
				tunnels++
			}
		}
	}
	if n, m := c.l.w.store.counts(); n != sessions || m != tunnels {
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
	if calls != sessions || accepted != used || accepted < len(srv.shards[0].accept.known) || accepted > len(srv.shards[0].accept.known) && !w.plan.profile.FloatPeer {
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
	if c.l.clusterLife != nil {
		held += c.l.withheld.Len()
	}
	if n := c.l.pools.Usage()[0].Used + c.l.pools.Fixed(); n != held {
		w.fail("nothing is left", "%d addresses are held, %d in the pools", held, n)
	}
}

// networks checks the same of the networks behind subscribers.
func (c *checker) networks() {
	by := map[netip.Prefix]*session{}
	for _, sh := range c.l.srv.shards {
		for _, s := range sh.sessions {
			if s.state == stateClosing {
				continue
			}
			for _, n := range s.routes() {
				if o := by[n]; o != nil {
					c.l.w.fail("one session for a prefix", "%v is %s's and %s's", n, s.who.AcctSessionID, o.who.AcctSessionID)
				}
				by[n] = s
				if h := c.l.srv.prefixes.held[n]; h.owner != s.owner {
					c.l.w.fail("one session for a prefix", "%v is that of session number %d, and held by %d", n, s.owner, h.owner)
				}
			}
		}
	}
	if n := c.l.srv.prefixes.len(); n != len(by) {
		c.l.w.fail("nothing is left", "%d networks are held, %d of them by sessions", n, len(by))
	}
}

// granted checks that who is in was let in, under the name that it gave.
func (c *checker) granted(s *session) {
	if c.letIn[s] {
		return
	}
	c.letIn[s] = true
	if !slices.Contains(c.l.w.radius.letIn[s.who.AcctSessionID], s.said()) {
		c.l.w.fail("who is in was let in", "session %s is up for %q; RADIUS has let in %q", s.who.AcctSessionID, s.said(), c.l.w.radius.letIn[s.who.AcctSessionID])
	}
}

// reported checks that what LACs tell of lines is taken once and in order: they count.
func (c *checker) reported(s *session) {
	if s.rare == nil || c.l.w.net.corrupted {
		return
	}
	if n := uint64(s.rare.errors.CRC); n < s.rare.wens {
		c.l.w.fail("once and in order", "session %v took %d WENs, the latest was the %d.", s.key, s.rare.wens, n)
	}
}

// simAddresses are a life's pools. An address that changes hands while its session lives goes to a later
// call of the subscriber: the other way round, who dialled last would be thrown out by its own past.
type simAddresses struct{ l *life }

// Acquire implements aaa.Addresses, as does Release.
func (a simAddresses) Acquire(pool string, want netip.Addr, user string, owner uint64) (netip.Addr, error) {
	addr, err := a.l.pools.Acquire(pool, want, user, owner)
	if err != nil {
		return addr, err
	}
	a.l.check.moved = true
	if was := a.l.check.heirs[addr]; was > owner {
		for _, sh := range a.l.srv.shards {
			for _, s := range sh.sessions {
				if s.owner == was && s.state != stateClosing && s.address == addr {
					a.l.w.fail("the latest call wins", "%v was taken from %s, session number %d, for number %d", addr, s.who.User, was, owner)
				}
			}
		}
	}
	a.l.check.heirs[addr] = owner
	return addr, nil
}

// Release: see Acquire.
func (a simAddresses) Release(addr netip.Addr, owner uint64) {
	a.l.check.moved = true
	a.l.pools.Release(addr, owner)
}
