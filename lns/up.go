package lns

import (
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// linkUp makes a session of a link: record, plane, accounting, timers.
func (sh *shard) linkUp(s *session) {
	if s.state == stateUp {
		// It has renegotiated; only what the plane needs may have changed.
		sh.adds = append(sh.adds, sh.planeSession(s))
		return
	}
	s.state = stateUp
	now := sh.srv.clock.Wall()
	s.sinceWall, s.sinceMono = now.UnixNano(), sh.now
	sh.startTimes(s)
	sh.adds = append(sh.adds, sh.planeSession(s))
	usage := sh.account(s, aaa.UsageStart, now, dataplane.Counters{})
	sh.changes = append(sh.changes, sessiondb.Change{Op: sessiondb.PutSession, Session: sh.record(s, usage, dataplane.Counters{})})
	sh.srv.settingUp.Add(-1)
	sh.stats.setup(sh.now - s.setup.began)
	sh.stats.sessionsUp++
	sh.log.Info("session up", sh.logKeys(s, "address", s.address, "method", s.method, "setup", (sh.now-s.setup.began).Round(time.Millisecond))...)
	sh.event(s, EventSessionUp, "", "")
	s.setup = nil
}

// planeSession is what the plane has to know of s.
func (sh *shard) planeSession(s *session) dataplane.Session {
	p := dataplane.Session{
		Key: s.key, Peer: *s.facts.peer.Load(), PeerTunnel: s.facts.peerID, PeerSession: s.peerID,
		SendAddress: !s.link.ACFC(), CompressProtocol: s.link.PFC(),
		Sequence: s.sequence,
		Address:  s.address, Routes: s.grant.Routes, MTU: s.link.MTU(),
	}
	if sh.srv.cfg.Subscriber.ClampMSS && p.MTU > 40 {
		p.MSS = p.MTU - 40 // IPv4 and TCP headers
	}
	return p
}

// record is what the stores keep of an established session. The state is the
// accounting record to close it with, should this process not live to do it.
func (sh *shard) record(s *session, u *aaa.Usage, c dataplane.Counters) *sessiondb.Session {
	state, err := aaa.AppendUsage(nil, u)
	if err != nil {
		sh.log.Error("a session's record cannot be encoded", sh.logKeys(s, "err", err)...)
	}
	return &sessiondb.Session{
		Key: sessiondb.SessionKey{Tunnel: s.facts.key(), ID: s.key.Session}, Node: sh.srv.cfg.Node,
		PeerID: s.peerID, AcctSessionID: s.who.AcctSessionID, User: s.who.User,
		Profile: s.facts.profile.Name, LAC: *s.facts.peer.Load(),
		CallingStation: s.who.CallingStation, CalledStation: s.who.CalledStation,
		CallSerial: s.serial, Address: s.address, Routes: s.grant.Routes,
		Since: time.Unix(0, s.sinceWall), State: state,
		InOctets: c.InOctets, OutOctets: c.OutOctets, InPackets: c.InPackets, OutPackets: c.OutPackets,
		Updated: sh.srv.clock.Wall(),
	}
}

// account makes an accounting record, journaled with this step and then on its way.
func (sh *shard) account(s *session, kind aaa.UsageKind, at time.Time, c dataplane.Counters) *aaa.Usage {
	u := aaa.Usage{
		Seq: sh.srv.lastSeq.Add(1), Kind: kind, Identity: *s.who, Method: s.method, Class: s.grant.Class,
		Address: s.address, Routes: s.grant.Routes, At: at, Duration: sh.now - s.sinceMono,
		InOctets: c.InOctets, OutOctets: c.OutOctets, InPackets: c.InPackets, OutPackets: c.OutPackets,
		Cause: s.cause.Acct(),
	}
	payload, err := aaa.AppendUsage(nil, &u)
	if err != nil {
		sh.log.Error("an accounting record cannot be encoded", sh.logKeys(s, "kind", kind, "err", err)...)
	}
	sh.changes = append(sh.changes, sessiondb.Change{Op: sessiondb.PutEntry, Entry: &sessiondb.Entry{
		Seq: u.Seq, Node: sh.srv.cfg.Node, Session: u.Identity.AcctSessionID, Payload: payload,
	}})
	sh.usages = append(sh.usages, u)
	return &u
}
