package lns

import (
	"maps"
	"slices"
	"time"

	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
)

// heal makes everything work, and waits until everybody is online.
func (c *simCluster) heal() {
	w := c.w
	w.on(c.outside, func() {
		w.tell("the chaos is over")
		w.calm = true
		w.radius.mode, w.books.mode, w.plan.acctLoss = radiusWell, radiusWell, 0
		for _, l := range w.lacs {
			l.weather = fair
		}
		c.mend()
	})
	w.simHost = c.outside
	c.online("after 5 minutes of calm")
	c.rests(time.Minute)
}

// mend repairs nodes, network and database.
func (c *simCluster) mend() {
	clear(c.cut)
	c.troubleAll()
	c.db.away = false
	c.db.goOn()
	c.db.normal()
	c.came = nil
	for _, h := range c.nodes {
		h.downFor = 0
		c.thaw(h)
		switch l := h.life; {
		case l == nil:
			c.start(h)
		default:
			l.dieIn = 0
			c.undrain(h)
		}
	}
}

// undrain lets a node take addresses again.
func (c *simCluster) undrain(h *simHost) {
	c.w.on(h, func() {
		if l := h.life; l != nil && l.runner != nil {
			l.spawn(func() { _ = l.runner.SetDraining(background, false) })
		}
	})
}

// online waits until all users are.
func (c *simCluster) online(when string) {
	w := c.w
	all := func() bool {
		for i := range c.listen() {
			if c.serving(uint16(i)) == nil {
				return false
			}
		}
		return len(w.online(true)) >= w.plan.users
	}
	if !c.await(5*time.Minute, all) {
		w.fail("all come online", "%s %v are online, %v are not", when, w.online(true), w.online(false))
	}
}

// await is that of world, outside of all nodes.
func (c *simCluster) await(d time.Duration, ok func() bool) bool {
	is := c.w.await(d, ok)
	c.w.simHost = c.outside
	return is
}

// rests lets time pass.
func (c *simCluster) rests(d time.Duration) {
	c.w.run(c.w.now + d)
	c.w.simHost = c.outside
}

// standing is a user's session as it has to stay.
type standing struct {
	call *rigCall
	key  dataplane.Key
	id   string
}

// acts has happen, one by one, what the design promises that nobody notices.
func (c *simCluster) acts() {
	for i, a := range c.w.plan.cluster.acts {
		if c.w.plan.cluster.skipActs {
			break
		}
		c.w.tell("act %d: %v", i, a)
		c.act(a)
	}
	c.rests(catchUp)
	c.tables()
}

func (c *simCluster) act(a act) {
	w := c.w
	c.online("before an act")
	before := map[int]standing{}
	for _, i := range w.online(true) {
		if s := w.users[i].session(); s.times.end == never && s.times.idle == never {
			before[i] = standing{w.users[i].call, s.key, s.who.AcctSessionID}
		}
	}
	owners := c.owners()
	h := c.node(owners[a.address%len(owners)])
	c.strict, c.acted = true, w.Wall()
	clear(c.redialled)
	began := w.now
	if a.do(c, h); w.now > began {
		owners = c.owners()
	}
	for i := range c.redialled {
		delete(before, i)
	}
	c.rests(a.lasts)
	moved := !slices.Equal(owners, c.owners())
	if moved != a.kind.moves() {
		w.fail("what is promised", "%v: %v became %v", a, owners, c.owners())
	}
	c.stay(a, before, a.kind.moves() || !a.kind.dark())
	w.on(c.outside, c.mend)
	c.strict = false
	c.rests(catchUp)
	c.stay(a, before, true)
	c.online("after an act")
}

// stay checks that everybody is still there, with the same session.
func (c *simCluster) stay(a act, before map[int]standing, serving bool) {
	for _, i := range slices.Sorted(maps.Keys(before)) {
		u, b := c.w.users[i], before[i]
		if u.call != b.call {
			c.w.fail("all stay online", "%v: user %d has lost its call", a, i)
		}
		if !serving {
			continue
		}
		s := u.session()
		if s == nil || s.key != b.key || s.who.AcctSessionID != b.id || !u.works() {
			c.w.fail("all stay online", "%v: user %d had %v as %s, and has now %+v", a, i, b.key, b.id, s)
		}
	}
}

func (c *simCluster) owners() (list []string) {
	for _, a := range c.listen() {
		list = append(list, c.db.owner(a))
	}
	return list
}

// close ends the simulation and checks that nothing is left.
func (c *simCluster) close() {
	w := c.w
	w.tell("the end: %v", w.plan.ending)
	switch w.plan.ending {
	case endShutdown:
		for _, l := range w.lacs {
			l.gone = true // it does not dial again
		}
		for _, h := range c.nodes {
			w.on(h, func() {
				h.life.guard(func() {
					h.life.srv.Drain(true)
					h.life.srv.each(func(sh *shard) { sh.shutdown() })
				})
			})
		}
	case endGoodbye:
		for _, l := range w.lacs {
			for _, t := range l.tunnels {
				if t.rigLAC != nil {
					t.rigLAC.t.Stop(w.now, l2tp.Result{Code: l2tp.StopShutdown}, &t.rigLAC.fx)
					t.touched()
				}
			}
			l.gone = true
		}
	default:
		for _, l := range w.lacs {
			l.leave()
		}
	}
	c.await(4*time.Minute, func() bool {
		for _, h := range c.nodes {
			if !c.over(h) {
				return false
			}
		}
		return true
	})
	c.rests(catchUp)
	for _, h := range c.nodes {
		c.empty(h)
	}
	if n := len(c.db.sessions) + len(c.db.tunnels) + len(c.db.entries); n > 0 {
		w.fail("nothing is left", "in the database: %d sessions, %d tunnels, %d records", len(c.db.sessions), len(c.db.tunnels), len(c.db.entries))
	}
	c.books.closed()
}

// over says whether a node has nothing left to do.
func (c *simCluster) over(h *simHost) bool {
	if h.life == nil || h.life.outbox.Stats().Pending > 0 {
		return false
	}
	for _, sh := range h.life.srv.shards {
		if len(sh.tunnels)+len(sh.sessions)+sh.wheel.count > 0 {
			return false
		}
	}
	return true
}

// empty checks that nothing is left on a node.
func (c *simCluster) empty(h *simHost) {
	w, l, st := c.w, h.life, h.store
	if l == nil {
		w.fail("starts again", "%s is dead in the end", h.name)
	}
	for _, sh := range l.srv.shards {
		if n := len(sh.tunnels) + len(sh.sessions) + sh.wheel.count; n > 0 {
			w.fail("all have an end", "%s: left %d tunnels, %d sessions, %d timers", h.name, len(sh.tunnels), len(sh.sessions), sh.wheel.count)
		}
		if n := len(sh.held.byKey) + len(sh.held.line) + len(sh.unkept); n > 0 {
			w.fail("nothing is left", "%s: shard %d holds %d", h.name, sh.idx, n)
		}
	}
	if n := len(st.sessions) + len(st.tunnels) + len(st.calls) + len(st.entries); n > 0 {
		w.fail("nothing is left", "in the journal of %s: %d sessions, %d tunnels, %d calls, %d records", h.name,
			len(st.sessions), len(st.tunnels), len(st.calls), len(st.entries))
	}
	if n := l.pools.Usage()[0].Used + l.pools.Fixed(); n > 0 || len(l.plane.sessions) > 0 {
		w.fail("nothing is left", "%s: %d addresses, %d of them withheld, %d sessions on the plane", h.name, n, l.withheld.Len(), len(l.plane.sessions))
	}
	srv := l.srv
	if n := len(srv.shards[0].accept.known); n > 0 || srv.sessions.Load() != 0 || srv.settingUp.Load() != 0 {
		w.fail("nothing is left", "%s: %d known tunnels, %d sessions, %d setting up", h.name, n, srv.sessions.Load(), srv.settingUp.Load())
	}
	for _, p := range *srv.profiles.cur.Load() {
		if p.use.tunnels.Load() != 0 || p.use.sessions.Load() != 0 {
			w.fail("nothing is left", "%s: profile %s counts %d tunnels, %d sessions", h.name, p.Name, p.use.tunnels.Load(), p.use.sessions.Load())
		}
	}
	if s := l.outbox.Stats(); s.Pending+s.InFlight+s.Stubs > 0 || s.Corrupt+s.JournalErrors > 0 {
		w.fail("no record is lost", "%s: the outbox has %+v", h.name, s)
	}
}
