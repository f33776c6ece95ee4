package lns

import (
	"net/netip"
	"slices"
)

// rivals is the checker's look at what two cannot have at the same time, to whom it goes.
type rivals struct {
	// held are the holders of networks after the last step.
	held map[netip.Prefix]prefixHolder
	// at is where tunnels of LACs are, by which shard 0 has to know them: at the last time that no message
	// was on its way. twin says of a tunnel that another of the LAC's is known there.
	at map[*tunnel]place
}

type place struct {
	acceptKey
	twin bool
}

// networks checks that what a session that lives had to give up went to a later call of the same
// subscriber. It is called after each step, before which a session that has ended since was there.
func (r *rivals) networks(c *checker) {
	held := c.l.srv.prefixes.held
	if c.l.w.cluster != nil || c.l.w.plan.big || len(held)+len(r.held) == 0 {
		return
	}
	if r.held == nil {
		r.held = map[netip.Prefix]prefixHolder{}
	}
	for n, was := range r.held {
		now, ok := held[n]
		switch {
		case !ok:
			delete(r.held, n)
		case now.owner != was.owner && c.begun && (now.user != was.user || now.owner < was.owner) && c.lives(was.owner, n):
			c.l.w.fail("the latest call wins", "%v was taken from %s, session number %d, for %s, number %d", n, was.user, was.owner, now.user, now.owner)
		}
	}
	for n, h := range held {
		r.held[n] = h
	}
}

// lives says whether a session that was granted a network, and not another since, has not ended, or was
// ended only since another took its place.
func (c *checker) lives(owner uint64, n netip.Prefix) bool {
	for _, sh := range c.l.srv.shards {
		for _, s := range sh.sessions {
			if s.owner == owner {
				return slices.Contains(s.routes(), n) && (s.state != stateClosing || s.cause == CauseReplaced)
			}
		}
	}
	return false
}

// look notes where tunnels are.
func (r *rivals) look(c *checker) {
	if c.l.w.cluster != nil || c.l.w.plan.big || !c.l.w.plan.profile.FloatPeer {
		return
	}
	if r.at == nil {
		r.at = map[*tunnel]place{}
	}
	by := map[acceptKey]*tunnel{}
	for _, t := range c.tunnels {
		if t.accept.peerID == 0 {
			continue // shard 0 does not know those that lnsd has opened by where they are
		}
		p := place{acceptKey{t.facts.listener, t.facts.peer.Load().source, t.accept.peerID}, r.at[t].twin}
		if o := by[p.acceptKey]; o != nil {
			p.twin = true
			r.at[o] = place{p.acceptKey, true}
		}
		by[p.acceptKey] = t
		r.at[t] = p
	}
}

// single checks that a tunnel that is new is not the LAC's second of that id: to the LAC both were one.
func (r *rivals) single(c *checker, t *tunnel) {
	if !c.begun || t.accept.peerID == 0 {
		return
	}
	for o, p := range r.at {
		if o != t && o.up && !o.down && !p.twin && p.acceptKey == t.accept {
			c.l.w.fail("one tunnel for one of a LAC's", "tunnel %d is the LAC's %d at %v, which is tunnel %d", t.facts.id, p.peerID, p.peer, o.facts.id)
		}
	}
}
