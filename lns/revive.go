package lns

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
	"culvert/sessiondb"
)

// reviver reads what is left of an earlier life and sorts it: what lives on, what is
// to be closed here, what is to be cleared at the LAC. Everything is read before anything is changed.
type reviver struct {
	srv       *Server
	adopt     bool
	local     netip.AddrPort // that the other node had
	now       time.Duration
	wall      time.Time
	listeners map[netip.AddrPort]uint16
	profiles  map[string]*profile
	tunnels   map[sessiondb.TunnelKey]*revivedTunnel
	// byShard are those of tunnels, in the order of their keys, and sessions the sessions, by shard.
	byShard  [][]*revivedTunnel
	sessions [][]revivedSession
	// lastPort is the highest NAS-Port of a session.
	lastPort uint32
	// newest is when the newest of the sessions' records was made, on the clock of now.
	newest time.Duration

	changes []sessiondb.Change
	usages  []aaa.Usage
	done    Recovery
}

// revivedTunnel is a tunnel to be brought to life.
type revivedTunnel struct {
	*tunnel
	saved l2tp.SavedTunnel
	fresh uint16
	// held are the calls that the LAC holds, by our session id; up of them have a session.
	held map[uint16]heldCall
	up   int
	// drifted says that the LAC may have seen newer numbers than those that were saved.
	drifted bool
	// heldFrom is since when it was held, if it was; see reviver.unsure.
	heldFrom time.Duration
}

// ids are those of held, in order.
func (t *revivedTunnel) ids() []uint16 { return slices.Sorted(maps.Keys(t.held)) }

// revivedSession is a session to be brought to life, and what it had counted.
type revivedSession struct {
	*session
	counted  dataplane.Counters
	heldFrom time.Duration // as in revivedTunnel
}

// heldCall is a call that the LAC holds; up that there is a session for it.
type heldCall struct {
	peerID uint16
	up     bool
	serial uint32
}

func newReviver(s *Server, adopt bool) *reviver {
	r := &reviver{
		srv: s, adopt: adopt, now: s.clock.Mono(), wall: s.clock.Wall(),
		listeners: map[netip.AddrPort]uint16{}, profiles: map[string]*profile{},
		tunnels: map[sessiondb.TunnelKey]*revivedTunnel{},
		byShard: make([][]*revivedTunnel, len(s.shards)), sessions: make([][]revivedSession, len(s.shards)),
		newest: math.MinInt64 / 2,
	}
	for i, a := range s.listeners {
		r.listeners[a] = uint16(i)
	}
	return r
}

// settleBatch is how many changes are journaled in one piece.
const settleBatch = 2000

// settle carries out what needs no session: Stops and forgotten records.
func (r *reviver) settle(ctx context.Context) error {
	for list := r.changes; len(list) > 0; {
		// A session's end and its Stop are next to each other and must stay together.
		n := min(settleBatch, len(list))
		if n < len(list) && list[n].Op == sessiondb.PutEntry {
			n++
		}
		if err := r.srv.cfg.Journal.Apply(ctx, list[:n]); err != nil {
			return fmt.Errorf("cannot settle what an earlier life has left: %w", err)
		}
		if r.srv.cfg.Sink != nil {
			r.srv.cfg.Sink.Submit(list[:n]) // before the ledger, as in commit
		}
		list = list[n:]
	}
	if len(r.usages) > 0 {
		r.srv.cfg.Ledger.Submit(r.usages)
	}
	if r.done.Closed > 0 {
		r.srv.log.Warn("sessions of an earlier life were closed", "sessions", r.done.Closed)
	}
	r.changes, r.usages = nil, nil
	return nil
}

// checkFree refuses tunnels that the server has already.
func (r *reviver) checkFree() error {
	var taken atomic.Pointer[sessiondb.TunnelKey]
	r.srv.onShards(func(sh *shard) {
		for _, t := range r.byShard[sh.idx] {
			if sh.tunnels[tunnelID{t.facts.listener, t.facts.id}] != nil {
				k := t.facts.key()
				taken.Store(&k)
			}
		}
	})
	if k := taken.Load(); k != nil {
		return fmt.Errorf("tunnel %v is to be recovered, and is here already", *k)
	}
	return nil
}

// revive brings to life what is left to live, tunnels first. What it leads to on the wire
// comes with the shards' next steps.
func (r *reviver) revive() {
	s := r.srv
	if !s.running {
		// New calls must not get a NAS-Port that a session has.
		s.lastOwner.Store(uint64(r.lastPort))
	}
	for _, list := range r.byShard {
		for _, t := range list {
			r.done.Cleared += len(t.held) - t.up
		}
	}
	s.onShards(func(sh *shard) {
		list := r.byShard[sh.idx]
		for i, t := range list {
			// Over some time, so that the LACs' answers do not come at once.
			sh.reviveTunnel(t, sh.now+probeWithin*time.Duration(i)/time.Duration(len(list)), r)
		}
		if sh.accept != nil {
			r.accepted(sh.accept)
		}
		sh.flush()
	})
	// One after the other on all shards: the plane sends what is for an address to the session that came last.
	early, late := r.number()
	r.reviveSessions(early)
	r.reviveSessions(late)
	for i, list := range r.byShard {
		s.shards[i].inbox.put(funcMessage(func(sh *shard) { sh.clearLeftCalls(list) }))
	}
}

// reviveSessions brings sessions to life, which are given by shard.
func (r *reviver) reviveSessions(list [][]revivedSession) {
	r.srv.onShards(func(sh *shard) {
		for _, x := range list[sh.idx] {
			sh.reviveSession(x, r)
		}
		sh.inbox.put(sh.local...) // ends of sessions come with the next step
		clear(sh.local)
		sh.local = sh.local[:0]
		sh.flush()
	})
}

// probeWithin is the time in which every revived tunnel asks its LAC whether it is there.
const probeWithin = time.Second

// reviveTunnel puts a tunnel into its shard.
func (sh *shard) reviveTunnel(v *revivedTunnel, probe time.Duration, r *reviver) {
	t, adopt := v.tunnel, r.adopt
	unsure := r.unsure(v.heldFrom)
	if unsure {
		sh.holdFrom(dataplane.Key{Listener: t.facts.listener, Tunnel: t.facts.id}, len(sh.out))
	}
	t.t.Restore(sh.now, probe, v.saved)
	t.kept = keptNumbers{v.saved.Ns, v.saved.Nr, v.saved.Una}
	ids := v.ids()
	for _, id := range ids {
		c := v.held[id]
		t.calls.add(id, callRef{peerID: c.peerID, serial: c.serial})
		if adopt {
			sh.keepCall(t, id, c.peerID)
		}
	}
	t.calls.ids.restore(ids, v.fresh)
	if adopt {
		t.calls.ids.leap(sh.srv.leap(callLeap))
	}
	sh.mayHaveStrays(t, adopt)
	sh.traceTunnel(t)
	sh.tunnelNote(t, trace.SourceLNS, fmt.Sprintf("goes on after a restart, with %s", plural(v.up, "session")))
	sh.failedOver(v, probe)
	sh.tunnels[tunnelID{t.facts.listener, t.facts.id}] = t
	sh.reviveSA(t)
	t.facts.profile.use.tunnels.Add(1)
	sh.stats.tunnelsRecovered++
	if !t.waits {
		sh.wheel.set(&t.timer, min(t.t.Deadline(), t.fail.due()))
	}
	if adopt || unsure {
		t.stale = true
		sh.touch(t)
	}
}

// reviveSA binds a protected tunnel to its SA where that has outlived the LNS. Else the
// tunnel waits for its LAC to come back through another, as long as its profile
// says, and nothing leaves in clear meanwhile.
func (sh *shard) reviveSA(t *tunnel) {
	at := t.facts.peer.Load()
	if at.sa == nil {
		return
	}
	sh.bind(t, at.sa)
	if sh.srv.cfg.IPsec == nil || !sh.srv.live(at) {
		sh.saLost(t, at, SAEnd{Cause: SAEndRestart, Detail: "the LNS was restarted", Patience: t.facts.profile.patience()})
	}
}

// reviveSession puts a session into its shard, the pool and the plane.
func (sh *shard) reviveSession(v revivedSession, r *reviver) {
	s, t, adopt := v.session, v.session.facts, r.adopt
	sh.sessions[s.key] = s
	sh.srv.sessions.Add(1)
	t.profile.use.sessions.Add(1)
	sh.established++
	sh.stats.sessionsRecovered++
	sh.traceRecovered(s, adopt)
	p := sh.planeSession(s)
	p.Counted = v.counted
	sh.adds = append(sh.adds, p)
	sh.setTimer(s)
	// Two of one subscriber can have the same here, when the earlier was about to end.
	if _, err := sh.acquire(s, "", s.address); err != nil {
		sh.log.Error("a session that lives on has an address that is another's; it is ended", sh.logKeys(s, "address", s.address, "err", err)...)
		sh.inbox.put(funcMessage(func(sh *shard) { sh.end(s, refused(err), err.Error()) }))
	}
	if err := sh.route(s, s.routes()); err != nil {
		sh.log.Error("a session that lives on has a network that is another's; it is ended", sh.logKeys(s, "err", err)...)
		sh.inbox.put(funcMessage(func(sh *shard) { sh.end(s, refused(err), err.Error()) }))
	}
	unsure := r.unsure(v.heldFrom)
	if unsure {
		sh.holdFrom(s.key, len(sh.out))
	}
	if adopt || unsure {
		now := sh.srv.clock.Wall()
		u := sh.usage(s, aaa.UsageInterim, now, v.counted)
		sh.keepSession(s, sh.encode(s, &u), now, v.counted)
	}
	if len(sh.adds) >= reviveBatch {
		sh.flush()
	}
}

// reviveBatch is how many sessions go to the plane in one piece.
const reviveBatch = 1000

// clearLeftCalls has LACs forget the calls that nobody here knows any more.
func (sh *shard) clearLeftCalls(list []*revivedTunnel) {
	for _, t := range list {
		result := CauseNodeRestart.result(&t.facts.profile.LACProfile, CauseNodeRestart.String())
		for _, id := range t.ids() {
			if c := t.held[id]; !c.up {
				callGone{t.facts, id, c.peerID, newCDN(id, result)}.deliver(sh)
			}
		}
		t.held = nil
	}
}

// plural is a number of things.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
