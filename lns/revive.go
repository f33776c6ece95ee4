package lns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
}

// ids are those of held, in order.
func (t *revivedTunnel) ids() []uint16 { return slices.Sorted(maps.Keys(t.held)) }

// revivedSession is a session to be brought to life, and what it had counted.
type revivedSession struct {
	*session
	counted dataplane.Counters
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
	}
	for i, a := range s.listeners {
		r.listeners[a] = uint16(i)
	}
	return r
}

func (r *reviver) read(ctx context.Context, from *Recovered) error {
	for rec, err := range from.Tunnels {
		if err = orEnd(ctx, err); err == nil {
			err = r.readTunnel(&rec)
		}
		if err != nil {
			return fmt.Errorf("tunnels: %w", err)
		}
	}
	if from.Calls != nil {
		for rec, err := range from.Calls {
			if err = orEnd(ctx, err); err != nil {
				return fmt.Errorf("calls: %w", err)
			}
			r.readCall(&rec)
		}
	}
	for rec, err := range from.Sessions {
		if err = orEnd(ctx, err); err == nil {
			err = r.readSession(&rec, from.Calls != nil)
		}
		if err != nil {
			return fmt.Errorf("sessions: %w", err)
		}
	}
	return nil
}

func orEnd(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	return ctx.Err()
}

// readTunnel makes a tunnel of its record, or has the record dropped.
func (r *reviver) readTunnel(rec *sessiondb.Tunnel) error {
	listener, ok := r.listenerOf(rec.Key)
	if !ok || len(rec.State) == 0 {
		// Without a State it is of a version that did not keep what is needed.
		why := "its address is not configured any more"
		if ok {
			why = "it was kept by a version of lnsd that could not go on with tunnels"
		}
		r.srv.log.Warn("a tunnel of an earlier life is given up", "tunnel", rec.Key, "lac", rec.Peer, "why", why)
		r.done.Dropped++
		r.drop(sessiondb.Change{Op: sessiondb.DropTunnel, Tunnel: &sessiondb.Tunnel{Key: rec.Key, Node: rec.Node}})
		return nil
	}
	kept, err := parseKeptTunnel(rec.State)
	if err != nil {
		return unreadable("tunnel", rec.Key, err)
	}
	p, err := r.stoodIn(rec.Profile)
	if err != nil {
		return err
	}
	f := &tunnelFacts{
		listener: listener, id: rec.Key.ID, shard: dataplane.ShardOf(rec.Key.ID, len(r.srv.shards)), local: rec.Key.Local, profile: p,
		peerID: rec.PeerID, peerName: rec.PeerName, assignment: assignmentOf(p, rec.Key.ID),
	}
	at := &lacPeer{source: source{AddrPort: rec.Peer}, sa: kept.sa}
	if at.sa != nil {
		at.mark = at.sa.Mark
	}
	f.peer.Store(at)
	t := &tunnel{
		facts: f, accept: acceptKey{listener, at.source, rec.PeerID}, since: rec.Since, up: true,
		t: l2tp.NewTunnel(l2tp.RoleLNS, rec.Key.ID, &p.tunnel),
	}
	t.calls.init()
	t.timer.who = t
	v := &revivedTunnel{
		tunnel: t, held: map[uint16]heldCall{}, fresh: kept.fresh,
		saved: l2tp.SavedTunnel{
			PeerID: rec.PeerID, PeerWindow: rec.PeerWindow, Ns: rec.Ns, Una: kept.una, Nr: rec.Nr,
			PeerName: rec.PeerName, PeerVendor: kept.vendor, Failover: kept.failover, Behind: r.adopt || kept.behind,
		},
		drifted: r.adopt && !kept.last || kept.behind,
	}
	r.tunnels[rec.Key] = v
	r.byShard[f.shard] = append(r.byShard[f.shard], v)
	r.done.Tunnels++
	return nil
}

// readCall notes that the LAC holds a call, or has the record of one without a tunnel dropped.
func (r *reviver) readCall(rec *sessiondb.Call) {
	t := r.tunnels[rec.Key.Tunnel]
	if t == nil {
		r.drop(sessiondb.Change{Op: sessiondb.DropCall, Call: &sessiondb.Call{Key: rec.Key, Node: rec.Node}})
		return
	}
	t.held[rec.Key.ID] = heldCall{peerID: rec.PeerID}
}

// drop has a record of this node's forgotten; another's is its own matter.
func (r *reviver) drop(c sessiondb.Change) {
	if !r.adopt {
		r.changes = append(r.changes, c)
	}
}

// readSession makes a session of its record, or has it closed.
func (r *reviver) readSession(rec *sessiondb.Session, callsKnown bool) error {
	kept, err := parseKeptSession(rec.State)
	closable := errors.Is(err, errClosable)
	if err != nil && !closable {
		return unreadable("session", rec.Key, err)
	}
	u, err := aaa.ParseUsage(kept.usage)
	if err != nil {
		return unreadable("session", rec.Key, err)
	}
	t := r.tunnels[rec.Key.Tunnel]
	if t == nil || closable {
		return r.close(rec, &u, CauseNodeRestart)
	}
	if _, held := t.held[rec.Key.ID]; !held && callsKnown {
		return r.close(rec, &u, CauseLACDisconnect) // its CDN is acknowledged already
	}
	t.held[rec.Key.ID] = heldCall{peerID: rec.PeerID, up: true, serial: rec.CallSerial}
	t.up++
	sh := dataplane.ShardOf(rec.Key.ID, len(r.srv.shards))
	// After a reboot the journal may lack its last seconds.
	t.drifted = t.drifted || !r.adopt && kept.clock.boot != r.srv.boot
	r.sessions[sh] = append(r.sessions[sh], r.session(rec, &kept, &u, t))
	r.lastPort = max(r.lastPort, u.Identity.NASPort)
	r.done.Sessions++
	return nil
}

// session makes a session that is up, as it was. It has no owner number yet.
func (r *reviver) session(rec *sessiondb.Session, kept *keptSession, u *aaa.Usage, t *revivedTunnel) revivedSession {
	who, f := u.Identity, t.facts
	s := &session{
		key: planeKey(f.listener, rec.Key), facts: f, peerID: rec.PeerID, serial: rec.CallSerial, state: stateUp,
		who: &who, terms: kept.terms(u), address: rec.Address, method: u.Method, sinceWall: rec.Since.UnixNano(),
	}
	s.timer.who = s
	s.rare = revivedFacts(kept.facts)
	p := &f.profile.LACProfile
	if s.sequence = newSequencing(p, &l2tp.Message{SequencingRequired: kept.sequenced}); s.sequence != nil && !(t.recoverable() && t.saved.Failover.Data) {
		s.sequence.Resume(uint16(rec.OutPackets) + sequenceLeap)
	}
	shift := kept.clock.shift(r.now, r.srv.boot, rec.Updated, r.wall)
	s.sinceMono = kept.clock.since + shift
	s.times = sessionTimes{end: never, interim: never, idle: never, octets: kept.idleOctets}
	if d := orElse(s.terms.session, r.srv.cfg.Subscriber.SessionTimeout); d > 0 {
		s.times.end = s.sinceMono + d
	}
	if orElse(s.terms.interim, r.srv.cfg.Subscriber.Interim) > 0 {
		s.times.interim = orElse(kept.clock.nextInterim+shift, r.now)
	}
	if idle := orElse(s.terms.idle, r.srv.cfg.Subscriber.IdleTimeout); idle > 0 {
		// What came while nobody was there is not counted yet.
		s.times.idle = max(kept.clock.check+shift, r.now+min(idle, idleGrace))
	}
	cfg := f.linkConfig(s.sequence != nil)
	// The keepalives of all sessions must not come at once.
	mixed := (uint64(f.id)<<16 + uint64(s.key.Session)) * 0x9e3779b97f4a7c15
	phase := time.Duration(mixed % uint64(max(cfg.EchoInterval, 1)))
	s.link.Restore(r.now-phase, cfg, r.srv.cfg.Rand, kept.link)
	s.number()
	return revivedSession{s, dataplane.Counters{
		InOctets: rec.InOctets, OutOctets: rec.OutOctets, InPackets: rec.InPackets, OutPackets: rec.OutPackets,
	}}
}

// idleGrace is how long a revived session has, at least, to show that it is not idle.
const idleGrace = 30 * time.Second

// sequenceLeap is how far ahead of what was counted the Ns of data messages go on:
// a LAC takes a leap for loss, but drops for half of the numbers what falls behind.
const sequenceLeap = 1 << 13

// close makes the Stop and the end of a session that does not live on.
func (r *reviver) close(rec *sessiondb.Session, u *aaa.Usage, cause Cause) error {
	if r.adopt {
		return nil
	}
	// It lived at least until its record was last written; nothing later is known.
	end := &sessiondb.End{
		At: rec.Updated, Cause: cause.String(),
		InOctets: rec.InOctets, OutOctets: rec.OutOctets, InPackets: rec.InPackets, OutPackets: rec.OutPackets,
	}
	u.Kind, u.Cause = aaa.UsageStop, cause.Acct()
	// At and Duration stay what they were then: from the wall clock, which may have
	// jumped, Acct-Session-Time could come out less than an interim has told.
	u.InOctets, u.OutOctets, u.InPackets, u.OutPackets = rec.InOctets, rec.OutOctets, rec.InPackets, rec.OutPackets
	u.Seq = r.srv.lastSeq.Add(1)
	payload, err := aaa.AppendUsage(nil, u)
	if err != nil {
		return unreadable("session", rec.Key, err)
	}
	key := &sessiondb.Session{Key: rec.Key, Node: rec.Node, AcctSessionID: rec.AcctSessionID}
	r.changes = append(r.changes, sessiondb.Change{Op: sessiondb.DropSession, Session: key, End: end},
		sessiondb.Change{Op: sessiondb.PutEntry, Entry: &sessiondb.Entry{
			Seq: u.Seq, Node: r.srv.cfg.Node, Session: u.Identity.AcctSessionID, Payload: payload,
		}})
	r.usages = append(r.usages, *u)
	r.done.Closed++
	return nil
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
			sh.reviveTunnel(t, sh.now+probeWithin*time.Duration(i)/time.Duration(len(list)), r.adopt)
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
			sh.reviveSession(x, r.adopt)
		}
		sh.inbox.put(sh.local...) // ends of sessions come with the next step
		clear(sh.local)
		sh.local = sh.local[:0]
		sh.flush()
	})
}

// The cluster's store does not know the ids that another node has given last, and a LAC may
// still use them. So many are left out, from once to twice that: how many is drawn, since
// a node before may have leapt from the same place without getting to write anything.
const (
	callLeap   = 2048
	tunnelLeap = 128
)

// leap draws how many ids to leave out.
func (s *Server) leap(least uint16) uint16 {
	var b [2]byte
	if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
		return least
	}
	return least + (uint16(b[0])<<8|uint16(b[1]))%least
}

// probeWithin is the time in which every revived tunnel asks its LAC whether it is there.
const probeWithin = time.Second

// accepted tells the acceptor which ids and SCCRQs are taken.
func (r *reviver) accepted(a *acceptor) {
	used := make([][]uint16, len(a.ids))
	for _, list := range r.byShard {
		for _, t := range list {
			a.known[t.accept] = t.facts.id
			used[t.facts.listener] = append(used[t.facts.listener], t.facts.id)
		}
	}
	for i, ids := range used {
		if len(ids) > 0 {
			a.ids[i].restore(ids, 0)
		}
		if r.adopt && (len(ids) > 0 || r.srv.listeners[i] == r.local) {
			a.ids[i].leap(r.srv.leap(tunnelLeap))
		}
	}
}

// reviveTunnel puts a tunnel into its shard.
func (sh *shard) reviveTunnel(v *revivedTunnel, probe time.Duration, adopt bool) {
	t := v.tunnel
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
		t.strays = &strays{limit: t.calls.ids.fresh}
		sh.srv.adopted.Store(true)
	}
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
	if adopt {
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
func (sh *shard) reviveSession(v revivedSession, adopt bool) {
	s, t := v.session, v.session.facts
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
	if adopt {
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
