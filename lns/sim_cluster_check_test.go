package lns

import (
	"fmt"
	"net/netip"
	"time"

	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
	"culvert/sessiondb"
	machine "culvert/sessiondb/cluster"
)

// lag is how far the database is behind a node at the most while all is well, and catchUp how
// long a node takes to bring it up to date when it was not.
const (
	lag     = 6 * time.Second
	catchUp = 45 * time.Second
)

// trouble notes that a node's way to the database is bad, or that the node is, now or until now.
func (c *simCluster) trouble(h *simHost) {
	c.troubled[h.name] = max(c.troubled[h.name], c.w.now+catchUp)
}

// troubleAll is trouble for all nodes.
func (c *simCluster) troubleAll() {
	for _, h := range c.nodes {
		c.trouble(h)
	}
}

// bad says whether a node has no good way to the database at the moment.
func (c *simCluster) bad(h *simHost) bool {
	return c.db.away || c.db.stalled || h.frozen || h.life == nil || c.isCut(h.name, "db") || c.isCut("db", h.name)
}

// wasTroubled says whether what a node did at a time may be unknown to the database for good reasons.
func (c *simCluster) wasTroubled(h *simHost, at time.Duration) bool {
	return c.bad(h) || c.troubled[h.name] >= at-lag
}

// answers checks that who sends for an address has it.
func (c *simCluster) answers(l *life, listener uint16) bool {
	a := c.listen()[listener]
	if owner := c.db.owner(a); owner != l.h.name {
		c.w.fail("one node for an address", "%s sends for %v, which is %s's", l.h.name, a, owner)
	}
	return !c.isCut(l.h.name, "lacs")
}

// idUse is the last use of a session's key, by whatever node.
type idUse struct {
	id string
	at time.Duration
}

// rest is how long an id must not come back, over all nodes.
const rest = time.Minute

// step checks what is true of all nodes together, after a step of a shard.
func (c *simCluster) step(l *life, sh *shard) {
	for key, s := range sh.sessions {
		if !l.open(key.Listener) {
			continue
		}
		id := s.who.AcctSessionID
		if was, ok := c.uses[key]; ok && was.id != id && c.w.now-was.at < rest {
			c.w.fail("ids rest", "%s gives the id %v to %s; it was %s's until %v ago", l.h.name, key, id, was.id, c.w.now-was.at)
		}
		// Before its call is in the journal nobody has been told of an id: a node that dies then has not used it.
		k := sessiondb.SessionKey{Tunnel: s.facts.key(), ID: key.Session}
		_, call := l.h.store.calls[k]
		_, up := l.h.store.sessions[k]
		if call || up || c.uses[key].id == id {
			c.uses[key] = idUse{id, c.w.now}
		}
		if s.state == stateUp {
			c.alone(l, s)
		}
	}
}

// addressUse is the last session that was seen with an address, by whatever node.
type addressUse struct {
	l *life
	s *session
}

// alone checks that no session of another node has a session's address, where both nodes can know it.
func (c *simCluster) alone(l *life, s *session) {
	was := c.has[s.address]
	if was.s == s {
		return
	}
	c.has[s.address] = addressUse{l, s}
	if was.l == nil || was.l == l || was.l.h.life != was.l || !was.l.open(was.s.key.Listener) || c.wasTroubled(l.h, c.w.now) || c.wasTroubled(was.l.h, c.w.now) {
		return
	}
	for _, sh := range was.l.srv.shards {
		if sh.sessions[was.s.key] == was.s && was.s.state == stateUp && was.s.address == s.address {
			c.w.fail("one session for an address", "%v is %s's on %s and %s's on %s", s.address, was.s.who.AcctSessionID, was.l.h.name, s.who.AcctSessionID, l.h.name)
		}
	}
}

// confirmed checks, with durability: cluster, that nobody is told of a tunnel
// or session that the database does not know, unless it was waited for in vain: by this life, or by one before.
func (c *simCluster) confirmed(l *life, sh *shard) {
	if !c.w.plan.cluster.confirm {
		return
	}
	for key, s := range sh.sessions {
		if s.state == stateUp && sh.held.byKey[key] == nil && l.open(key.Listener) {
			row := c.db.sessions[sessiondb.SessionKey{Tunnel: s.facts.key(), ID: key.Session}]
			has := row != nil && row.AcctSessionID == s.who.AcctSessionID
			c.told(l, s.who.AcctSessionID, s.facts.local, s.sinceMono, has)
		}
	}
	for id, t := range sh.tunnels {
		if t.up && !t.down && t.recovers == nil && sh.held.byKey[dataplane.Key{Listener: id.listener, Tunnel: id.id}] == nil && l.open(id.listener) {
			row := c.db.tunnels[t.facts.key()]
			has := row != nil && row.Since.UnixMicro() == t.since.UnixMicro()
			c.told(l, nameOfTunnel(t), t.facts.local, c.w.now-l.srv.clock.Wall().Sub(t.since), has)
		}
	}
}

// behindHeld checks that nothing leaves for what is held. What is held since this step may have been said something before.
func (c *simCluster) behindHeld(sh *shard, batch []dataplane.Datagram) {
	for key, hold := range sh.held.byKey {
		if hold.since == sh.now {
			continue
		}
		t, s := sh.tunnels[tunnelID{key.Listener, key.Tunnel}], sh.sessions[key]
		for _, d := range batch {
			h, _, err := l2tp.ParseHeader(d.B)
			if err != nil || d.Listener != key.Listener {
				continue
			}
			switch {
			case s != nil && !h.Control && d.Peer == s.facts.peer.Load().AddrPort && h.TunnelID == s.facts.peerID && h.SessionID == s.peerID,
				key.Session == 0 && t != nil && h.Control && d.Peer == t.facts.peer.Load().AddrPort && h.TunnelID == t.facts.peerID:
				c.w.fail("database first", "something leaves for %v, which is held: %x", key, d.B)
			}
		}
	}
}

// letGo notes, of a life that is over, what it held no more, even if it had nothing to say of it.
func (c *simCluster) letGo(l *life) {
	if l.srv == nil {
		return
	}
	inVain := func(local netip.AddrPort, since time.Duration) bool {
		return c.w.now-max(since, l.here[local]) >= l.srv.cfg.ConfirmWait
	}
	for _, sh := range l.srv.shards {
		for key, s := range sh.sessions {
			if s.state == stateUp && sh.held.byKey[key] == nil && inVain(s.facts.local, s.sinceMono) {
				c.informed[s.who.AcctSessionID] = true
			}
		}
		for id, t := range sh.tunnels {
			if t.up && sh.held.byKey[dataplane.Key{Listener: id.listener, Tunnel: id.id}] == nil && inVain(t.facts.local, c.w.now-l.srv.clock.Wall().Sub(t.since)) {
				c.informed[nameOfTunnel(t)] = true
			}
		}
	}
}

// nameOfTunnel tells tunnels apart over all lives, as stores keep them.
func nameOfTunnel(t *tunnel) string { return fmt.Sprint(t.facts.key(), t.since.UnixMicro()) }

// told checks that something may be told of, that began at since, and that the database has or has not.
func (c *simCluster) told(l *life, what string, local netip.AddrPort, since time.Duration, has bool) {
	waited := c.w.now - max(since, l.here[local])
	if !has && !c.informed[what] && waited < l.srv.cfg.ConfirmWait {
		c.w.fail("database first", "%s tells of %s, which began %v ago and was waited for for %v; the database does not have it", l.h.name, what, c.w.now-since, waited)
	}
	c.informed[what] = true
}

// moved checks what an address loses as it changes hands: nothing that the database should have.
func (c *simCluster) moved(a *machine.Address, to string) {
	old := c.node(a.Owner)
	if old == nil || to == old.name {
		return
	}
	for k, s := range old.store.sessions {
		if k.Tunnel.Local != a.Local {
			continue
		}
		if row := c.db.sessions[k]; row != nil && row.AcctSessionID == s.AcctSessionID {
			continue
		}
		acct := c.books.account(s.AcctSessionID)
		if c.strict && s.Since.Before(c.acted) || !c.wasTroubled(old, acct.lastAt) {
			c.w.fail("nothing is forgotten", "%v goes from %s to %s without session %s of %s", a.Local, old.name, to, s.AcctSessionID, s.User)
		}
		acct.lost = true
	}
}

// took checks that a node goes on with just what the database, or its journal, has of an address.
func (c *simCluster) took(l *life, local netip.AddrPort) {
	if c.db.owner(local) != l.h.name {
		return // it has lost it again meanwhile
	}
	listener := uint16(0)
	for i, a := range c.listen() {
		if a == local {
			listener = uint16(i)
		}
	}
	alive := map[dataplane.Key]*session{}
	for _, sh := range l.srv.shards {
		for k, s := range sh.sessions {
			if k.Listener == listener && s.state == stateUp {
				alive[k] = s
			}
		}
	}
	for k, rec := range l.h.store.sessions {
		if k.Tunnel.Local != local {
			continue
		}
		s := alive[planeKey(listener, k)]
		if s == nil || s.who.AcctSessionID != rec.AcctSessionID || s.address != rec.Address || s.peerID != rec.PeerID || s.who.User != rec.User {
			c.w.fail("same session everywhere", "%s goes on with %v as %+v", l.h.name, brief(rec), s)
		}
		c.books.bound(rec)
	}
	for k, row := range c.db.sessions {
		if s := alive[planeKey(listener, k)]; k.Tunnel.Local == local && s != nil && s.who.AcctSessionID != row.AcctSessionID && !c.wasTroubled(l.h, c.w.now) {
			c.w.fail("same session everywhere", "%s goes on with %s; the database has %s", l.h.name, s.who.AcctSessionID, row.AcctSessionID)
		}
	}
}

// came forgets what was noted of an address whose sessions have come back to a life.
func (c *checker) came(local netip.AddrPort) {
	is := func(listener uint16) bool { return c.l.srv.listeners[listener] == local }
	for id := range c.endedTunnels {
		if is(id.listener) {
			delete(c.endedTunnels, id)
		}
	}
	for id, t := range c.tunnels {
		if is(id.listener) {
			delete(c.tunnels, id)
			delete(c.endedSessions, t.facts)
		}
	}
	for k := range c.sessions {
		if is(k.Listener) {
			delete(c.sessions, k)
		}
	}
	for _, sh := range c.l.srv.shards {
		for k, s := range sh.sessions {
			if is(k.Listener) { // another node may not have heard of its end here
				delete(c.told, s.who.AcctSessionID)
			}
		}
	}
}

// tables checks that the database comes to have what the nodes have, as soon as nothing is on its way.
func (c *simCluster) tables() {
	differ := "something is always on its way"
	same := func() bool {
		for _, h := range c.nodes {
			if h.life == nil || h.life.writer.Stats().Pending > 0 {
				return false
			}
		}
		differ = c.differ()
		return differ == ""
	}
	if !c.await(30*time.Second, same) {
		c.w.fail("tables equal memory", "%s", differ)
	}
}

// differ says in what the database differs from what the nodes have.
func (c *simCluster) differ() string {
	sessions, tunnels, entries := 0, 0, 0
	for _, h := range c.nodes {
		for k, rec := range h.store.sessions {
			row := c.db.sessions[k]
			if row == nil || !sameSession(row, rec) {
				return fmt.Sprintf("%s has the session %v, the database %v", h.name, brief(rec), brief(row))
			}
			sessions++
		}
		for k, rec := range h.store.tunnels {
			row := c.db.tunnels[k]
			if row == nil {
				return fmt.Sprintf("%s has the tunnel %+v, the database none", h.name, rec)
			}
			x := *rec
			if x.Node = row.Node; !x.Equal(row) {
				return fmt.Sprintf("%s has the tunnel %+v, the database %+v", h.name, rec, row)
			}
			tunnels++
		}
		for seq := range h.store.entries {
			if c.db.entries[entryKey{h.name, seq}] == nil {
				return fmt.Sprintf("%s has the record %d, the database has not", h.name, seq)
			}
			entries++
		}
	}
	if sessions != len(c.db.sessions) || tunnels != len(c.db.tunnels) || entries != len(c.db.entries) {
		return fmt.Sprintf("the nodes have %d sessions, %d tunnels and %d records, the database %d, %d and %d",
			sessions, tunnels, entries, len(c.db.sessions), len(c.db.tunnels), len(c.db.entries))
	}
	return ""
}

// brief is what a failure tells of a record.
func brief(s *sessiondb.Session) string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("%v of %s (%s), %v, on %s, counted %d and %d at %v", s.Key, s.User, s.AcctSessionID, s.Address, s.Node, s.InOctets, s.OutOctets, s.Updated)
}

// sameSession compares records but for their node.
func sameSession(a, b *sessiondb.Session) bool {
	x := *a
	x.Node = b.Node
	return x.Equal(b)
}
