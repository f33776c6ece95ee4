package lns

import (
	"maps"
	"slices"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
)

// ending is how a simulation comes to its end.
type ending int

const (
	endSilence  ending = iota // the LACs are gone
	endShutdown               // SIGTERM
	endGoodbye                // the LACs say so
	endings
)

func (e ending) String() string { return [...]string{"silence", "shutdown", "goodbye"}[e] }

// heal makes everything work, and checks that everybody comes online.
func (w *world) heal() {
	w.tell("the chaos is over")
	w.calm = true
	w.radius.mode, w.books.mode, w.plan.acctLoss = radiusWell, radiusWell, 0
	w.store.failing, w.store.stall = false, 0
	for _, l := range w.lacs {
		l.weather = fair
	}
	if w.life != nil {
		w.life.dieIn = 0
	}
	if !w.await(time.Minute, func() bool { return w.life != nil }) {
		w.fail("starts again", "lnsd is still dead a minute after the chaos")
	}
	w.operator(func(s *Server) {
		s.Drain(s.draining.Load() && w.life.stopped)
		if len(s.LACs()) == 0 {
			_ = s.PutLAC(w.plan.profile)
		}
		for _, id := range w.radius.lies { // they have what is others'
			_, _ = s.Disconnect(Selector{ID: id}, aaa.CauseAdminReset, "simulated")
		}
	})
	want := w.plan.users
	if w.plan.maxSessions > 0 {
		want = min(want, w.plan.maxSessions)
	}
	want = min(want, w.fewest())
	if !w.await(5*time.Minute, func() bool { return len(w.online(true)) >= want }) {
		w.fail("all come online", "after 5 minutes of calm %v are online, %v are not", w.online(true), w.online(false))
	}
	w.traffic()
}

// fewest is how many users are sure to find an address: those with one of their own, and the pool's.
func (w *world) fewest() int {
	n := w.plan.pool
	for i := range w.plan.contracts {
		if w.plan.contracts[i].fixed {
			n++
		}
	}
	return n
}

// traffic checks that packets go both ways for who is online, and that nobody
// who is gets lost while nothing is wrong.
func (w *world) traffic() {
	lacking := -1
	if !w.await(5*time.Minute, func() bool { lacking = w.lacking(); return lacking < 0 }) {
		w.fail("all come online", "user %d is online and has no traffic: %+v", lacking, w.users[lacking].session())
	}
	w.run(w.now + 30*time.Second) // what the chaos has begun comes to its end
	stays := map[int]*session{}
	for _, i := range w.online(true) {
		if s := w.users[i].session(); s.times.end == never && s.times.idle == never && !w.net.twin(w.users[i].at) {
			stays[i] = s
		}
	}
	w.run(w.now + 30*time.Second)
	for i, s := range stays {
		if w.users[i].session() != s {
			w.fail("all stay online", "user %d has lost session %s of %s: %v", i, s.who.AcctSessionID, s.who.User, s.cause)
		}
	}
}

// lacking gives a user who is online and has not sent or not got a packet, or -1.
func (w *world) lacking() int {
	for _, i := range w.online(true) {
		u := w.users[i]
		keys, n := [1]dataplane.Key{u.session().key}, [1]dataplane.Counters{}
		if w.life.plane.Counters(keys[:], n[:]); n[0].InPackets == 0 || n[0].OutPackets == 0 || len(u.call.packets) == 0 {
			return i
		}
	}
	return -1
}

// close ends the simulation and checks that nothing is left.
func (w *world) close() {
	w.tell("the end: %v", w.plan.ending)
	switch l := w.life; w.plan.ending {
	case endShutdown:
		l.guard(func() {
			l.srv.Drain(true)
			l.srv.each(func(sh *shard) { sh.shutdown() })
		})
		for _, l := range w.lacs {
			l.gone = true // it does not dial again
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
	w.await(4*time.Minute, w.over)
	w.run(w.now + time.Second)
	w.empty()
}

// over says whether lnsd has nothing left to do.
func (w *world) over() bool {
	for _, sh := range w.life.srv.shards {
		if len(sh.tunnels)+len(sh.sessions)+sh.wheel.count > 0 {
			return false
		}
	}
	return w.life.outbox.Stats().Pending == 0
}

// empty checks that nothing is left of anything.
func (w *world) empty() {
	l := w.life
	tunnels, sessions, timers := 0, 0, 0
	for _, sh := range l.srv.shards {
		tunnels, sessions, timers = tunnels+len(sh.tunnels), sessions+len(sh.sessions), timers+sh.wheel.count
		if n := len(sh.local) + len(sh.changes) + len(sh.usages) + len(sh.adds) + len(sh.asks) + len(sh.out) + len(sh.unkept); n > 0 {
			w.fail("nothing is left", "shard %d has %d effects left", sh.idx, n)
		}
	}
	if tunnels+sessions+timers > 0 {
		w.fail("all have an end", "left: %d tunnels, %d sessions, %d timers", tunnels, sessions, timers)
	}
	srv := l.srv
	if n := len(srv.shards[0].accept.known); n > 0 || srv.sessions.Load() != 0 || srv.settingUp.Load() != 0 {
		w.fail("nothing is left", "%d known tunnels, %d sessions, %d setting up", n, srv.sessions.Load(), srv.settingUp.Load())
	}
	for _, p := range *srv.profiles.cur.Load() {
		if p.use.tunnels.Load() != 0 || p.use.sessions.Load() != 0 {
			w.fail("nothing is left", "profile %s counts %d tunnels, %d sessions", p.Name, p.use.tunnels.Load(), p.use.sessions.Load())
		}
	}
	if n := l.pools.Usage()[0].Used + l.pools.Fixed(); n > 0 || len(l.plane.sessions) > 0 {
		w.fail("nothing is left", "%d addresses, %d sessions on the plane", n, len(l.plane.sessions))
	}
	if s := l.outbox.Stats(); s.Pending+s.InFlight+s.Stubs > 0 || s.Corrupt+s.JournalErrors > 0 && !w.store.failed {
		w.fail("no record is lost", "the outbox has %+v", s)
	}
	st := w.store
	if n := len(st.sessions) + len(st.tunnels) + len(st.calls) + len(st.entries); n > 0 && !st.failed {
		w.fail("nothing is left", "in the journal: %d sessions, %d tunnels, %d records, the calls %v",
			len(st.sessions), len(st.tunnels), len(st.entries), slices.Collect(maps.Keys(st.calls)))
	}
	w.statistics()
	w.books.closed()
}

// statistics checks that what was counted adds up.
func (w *world) statistics() {
	st := Stats{Downs: map[string]uint64{}, Rejects: map[string]uint64{}, Dropped: map[string]uint64{}}
	for _, sh := range w.life.srv.shards {
		sh.stats.addTo(&st)
	}
	sum := uint64(0)
	for _, n := range st.Downs {
		sum += n
	}
	if st.SessionsUp+st.SessionsRecovered != st.SessionsDown || sum != st.SessionsDown+st.CallsFailed || st.Downs[CauseNone.String()] > 0 {
		w.fail("one cause", "%d sessions up, %d down, %d failed; by cause %v", st.SessionsUp, st.SessionsDown, st.CallsFailed, st.Downs)
	}
}
