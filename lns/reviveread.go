package lns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
	"culvert/sessiondb"
)

// read reads what is left of an earlier life, and changes nothing.
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
			err = r.readSession(&rec, from.Calls != nil && !from.Adopt)
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
		drifted:  r.adopt && !kept.last || kept.behind,
		heldFrom: r.tunnelHeld(rec, &kept),
	}
	r.tunnels[rec.Key] = v
	r.byShard[f.shard] = append(r.byShard[f.shard], v)
	r.done.Tunnels++
	return nil
}

// tunnelHeld says since when a tunnel was held. Where its record does not tell it of a clock that does not jump, the wall clock's word
// is taken: after a jump of that one back, tunnels that began since are held for nothing, for ConfirmWait at most.
func (r *reviver) tunnelHeld(rec *sessiondb.Tunnel, kept *keptTunnel) time.Duration {
	if c := &kept.clock; c.held != 0 {
		return c.held + c.shift(r.now, r.srv.boot, time.Unix(0, kept.held).Add(c.at-c.held), r.wall)
	}
	return r.now - max(r.wall.Sub(time.Unix(0, max(rec.Since.UnixNano(), kept.held))), 0)
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
	r.newest = max(r.newest, kept.clock.at+shift)
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
	held := s.sinceMono
	if kept.clock.held != 0 {
		held = max(held, kept.clock.held+shift)
	}
	return revivedSession{s, dataplane.Counters{
		InOctets: rec.InOctets, OutOctets: rec.OutOctets, InPackets: rec.InPackets, OutPackets: rec.OutPackets,
	}, held}
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
