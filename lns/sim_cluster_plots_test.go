package lns

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Acts in which more than one thing happens. They come after the others, in plans of their own, so that the seeds of the others stay what they are.

const (
	actLateClaim   actKind = actKinds + iota // the owner is isolated, and back for the nodes, but not for the database, while it is being claimed from
	actLateRenewal                           // it gives its addresses away, and an older answer of the database's comes late
	actReturn                                // who was put out joins again while the owner cannot hear of it
	actOutdated                              // it dies with new sessions whose addresses the database says are those of ended ones
	actUnwritten                             // its machine dies with calls that nobody else knows, and who takes over is restarted at once
	actAnew                                  // addresses change hands twice, then all dial anew
	allActs
)

var plotNames = [...]string{"a late claim from", "a late answer to", "return of another than", "outdated rows of", "unwritten calls of", "all dial anew after the end of"}

// plots says whether a plan has an act of these, and slowly whether the database is slow now and then in it.
func plots(seed uint64) bool  { return seed%8 == 3 || seed%8 == 5 || seed%8 == 7 }
func slowly(seed uint64) bool { return seed%8 == 7 }

// addPlots adds to a plan what it has of this.
func (p *plan) addPlots() {
	if !plots(p.seed) {
		return
	}
	r := rand.New(rand.NewPCG(p.seed, 3))
	kind := actKinds + actKind(r.IntN(int(allActs-actKinds)))
	p.cluster.acts = append(p.cluster.acts, act{kind: kind, address: r.IntN(3), to: r.IntN(3), lasts: 2*p.cluster.lease + 15*time.Second})
	if kind == actAnew { // needs who shares what a third leaves, and what to share
		p.cluster.nodes, p.cluster.remember = 3, 1
		p.listeners = min(3, p.lacs*p.tunnels)
	}
	if !slowly(p.seed) {
		return
	}
	for range 1 + r.IntN(3) {
		text, do := slowing(p, r)
		p.actions = append(p.actions, action{at: time.Duration(r.Int64N(int64(p.chaos))), text: text, do: do})
	}
}

// slowing has transactions take long, some of them longer than their clients wait.
func slowing(_ *plan, r *rand.Rand) (string, func(*world)) {
	d, commits, answers := seconds(r, 40), seconds(r, 6), seconds(r, 3)
	return fmt.Sprintf("the database is slow for %v: a commit takes up to %v, an answer %v", d, commits, answers), func(w *world) {
		c := w.cluster
		c.db.commits, c.db.answers = commits, answers
		c.troubleAll()
		w.after(d, func() { c.db.normal(); c.troubleAll() })
	}
}

// plot does an act of these. Where it lets time pass, the addresses may be elsewhere when the act as such begins.
func (a act) plot(c *simCluster, h *simHost) {
	other := c.nodes[(h.index+1+a.to%(len(c.nodes)-1))%len(c.nodes)]
	switch a.kind {
	case actLateClaim:
		c.lateClaim(h, c.w.plan.cluster.lease/2+c.w.upTo(c.w.plan.cluster.lease/5))
	case actLateRenewal:
		c.lateRenewal(h, other)
	case actReturn:
		c.comesBack(h, other)
	case actOutdated:
		c.outdated(h)
	case actUnwritten:
		c.unwritten(h)
	case actAnew:
		c.anew(h, other)
	}
}

// lateClaim isolates a node until it is claimed from; the claim is made much later.
func (c *simCluster) lateClaim(h *simHost, takes time.Duration) {
	for _, way := range c.around(h, false) {
		c.cut[way] = true
	}
	c.db.claimTakes, c.db.claimed = takes, func() {
		c.w.tell("somebody claims from %s, which the others hear again", h.name)
		for _, o := range c.nodes {
			delete(c.cut, [2]string{h.name, o.name})
			delete(c.cut, [2]string{o.name, h.name})
		}
	}
}

// lateRenewal drains a node just when it has asked the database something whose answer comes late.
func (c *simCluster) lateRenewal(h, to *simHost) {
	c.db.renewals[h.name] = c.w.plan.cluster.lease / 3
	c.db.renewed = func(by *simHost) {
		if by == h {
			c.db.renewed = nil
			c.drain(h, to.name)
		}
	}
}

// comesBack has a node be put out and come back when the owner has no way to it, nor to the database.
func (c *simCluster) comesBack(h, other *simHost) {
	c.kill(other, 0, time.Hour)
	lease := c.w.plan.cluster.lease
	if !c.await(4*lease+20*time.Second, func() bool { return !c.db.nodes[other.name].Member }) {
		c.w.fail("what is promised", "%s is silent, and is not put out", other.name)
	}
	c.rests(lease)
	for _, way := range [][2]string{{h.name, "db"}, {"db", h.name}, {h.name, other.name}, {other.name, h.name}} {
		c.cut[way] = true
	}
	c.trouble(h)
	other.downFor = 0
	c.start(other)
}

// outdated kills a node when it holds a session whose address is an ended one's as far as the database knows.
func (c *simCluster) outdated(h *simHost) {
	c.trouble(h)
	c.db.stuck[h.name] = true
	c.redial(h)
	end := c.w.now + 10*time.Second
	var look func()
	look = func() {
		if !c.holdsOutdated(h) && c.w.now < end {
			c.w.after(5*time.Millisecond, look)
			return
		}
		delete(c.db.stuck, h.name)
		c.kill(h, 0, 0)
	}
	c.w.after(0, look)
}

// holdsOutdated says whether a node holds such a session.
func (c *simCluster) holdsOutdated(h *simHost) bool {
	if h.life == nil || h.life.srv == nil {
		return false
	}
	for _, sh := range h.life.srv.shards {
		for key, s := range sh.sessions {
			if s.state != stateUp || c.w.plan.cluster.confirm && sh.held.byKey[key] == nil {
				continue
			}
			for _, row := range c.db.sessions {
				if row.Address == s.address && row.AcctSessionID != s.who.AcctSessionID {
					return true
				}
			}
		}
	}
	return false
}

// unwritten has a node's machine die with calls that the database does not know, and who takes its addresses die soon after that.
func (c *simCluster) unwritten(h *simHost) {
	c.trouble(h)
	c.db.stuck[h.name] = true
	c.redial(h)
	c.rests(6 * time.Second)
	c.came = func(l *life) {
		c.came = nil
		c.trouble(l.h)
		c.w.on(c.outside, func() { c.w.after(c.w.upTo(20*time.Millisecond), func() { c.kill(l.h, 0, 0) }) })
	}
	c.kill(h, 0, time.Hour)
}

// anew has addresses change hands, so that sessions are not where their addresses come from, and then all users dial twice.
func (c *simCluster) anew(h, to *simHost) {
	c.drain(h, to.name)
	c.rests(5 * time.Second)
	c.w.on(c.outside, func() { c.undrain(h) })
	c.kill(to, 0, 3*c.w.plan.cluster.lease)
	c.rests(3*c.w.plan.cluster.lease + 5*time.Second)
	for range 2 {
		c.redial(nil)
		c.rests(8 * time.Second)
	}
}

// redial has all users of a node, or all, hang up and dial again.
func (c *simCluster) redial(h *simHost) {
	for _, u := range c.w.users {
		if u.call == nil || u.at == nil || h != nil && c.serving(u.at.listener) != h.life {
			continue
		}
		c.redialled[u.index] = true
		u.hangUp(u.call)
	}
}
