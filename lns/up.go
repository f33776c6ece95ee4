package lns

import (
	"hash/fnv"
	"io"
	"log/slog"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// linkUp makes a session of a link: record, plane, accounting, timers. What the
// step has sent since sent tells the subscriber of it.
func (sh *shard) linkUp(s *session, sent int) {
	if s.state == stateUp {
		// It has renegotiated; only what the plane needs may have changed.
		sh.adds = append(sh.adds, sh.planeSession(s))
		sh.keepAgain(s)
		return
	}
	s.state = stateUp
	now := sh.srv.clock.Wall()
	s.sinceWall, s.sinceMono = now.UnixNano(), sh.now
	sh.startTimes(s)
	sh.adds = append(sh.adds, sh.planeSession(s))
	sh.keepSession(s, sh.account(s, aaa.UsageStart, now, dataplane.Counters{}), now, dataplane.Counters{})
	sh.holdFrom(s.key, sent)
	sh.traceUp(s)
	sh.srv.settingUp.Add(-1)
	sh.stats.setup(sh.now - s.setup.began)
	sh.stats.sessionsUp++
	sh.established++
	sh.say(s, "session up", slog.String("address", s.address.String()), slog.String("method", s.method.String()),
		slog.Duration("setup", (sh.now-s.setup.began).Round(time.Millisecond)))
	sh.event(s, EventSessionUp, "", "")
	s.setup = nil
}

// planeID names a session for the plane's counters, over the lives of processes.
func planeID(acctSessionID string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, acctSessionID)
	return max(h.Sum64(), 1)
}

// planeSession is what the plane has to know of s.
func (sh *shard) planeSession(s *session) dataplane.Session {
	p := dataplane.Session{
		Key: s.key, ID: planeID(s.who.AcctSessionID), PeerTunnel: s.facts.peerID, PeerSession: s.peerID,
		SendAddress: !s.link.ACFC(), CompressProtocol: s.link.PFC(),
		Sequence: s.planeSequence(),
		Address:  s.address, Routes: s.terms.routes, MTU: s.link.MTU(),
		IgnoreDF: s.facts.profile.IgnoreDF,
	}
	s.facts.peer.Load().planePeer(s.facts, &p)
	if sh.srv.cfg.Subscriber.ClampMSS && p.MTU > 40 {
		p.MSS = p.MTU - 40 // IPv4 and TCP headers
	}
	return p
}

// record is what the stores keep of an established session; state is that of keptSession.
func (sh *shard) record(s *session, state []byte, now time.Time, c dataplane.Counters) *sessiondb.Session {
	return &sessiondb.Session{
		Key: sessiondb.SessionKey{Tunnel: s.facts.key(), ID: s.key.Session}, Node: sh.srv.cfg.Node,
		PeerID: s.peerID, AcctSessionID: s.who.AcctSessionID, User: s.who.User,
		Profile: s.facts.profile.Name, LAC: s.facts.peer.Load().AddrPort,
		CallingStation: s.who.CallingStation, CalledStation: s.who.CalledStation,
		CallSerial: s.serial, Address: s.address, Routes: s.terms.routes,
		Since: time.Unix(0, s.sinceWall), State: state,
		InOctets: c.InOctets, OutOctets: c.OutOctets, InPackets: c.InPackets, OutPackets: c.OutPackets,
		Updated: now,
	}
}

// usageSize is the room that an encoded accounting record usually needs, in octets.
const usageSize = 320

// account makes an accounting record, journaled with this step and then on
// its way, and gives it encoded; nobody may change that any more.
func (sh *shard) account(s *session, kind aaa.UsageKind, at time.Time, c dataplane.Counters) []byte {
	u := sh.usage(s, kind, at, c)
	u.Seq = sh.srv.lastSeq.Add(1)
	payload := sh.encode(s, &u)
	sh.changes = append(sh.changes, sessiondb.Change{Op: sessiondb.PutEntry, Entry: &sessiondb.Entry{
		Seq: u.Seq, Node: sh.srv.cfg.Node, Session: u.Identity.AcctSessionID, Payload: payload,
	}})
	sh.usages = append(sh.usages, u)
	return payload
}

// usage is an accounting record without a number.
func (sh *shard) usage(s *session, kind aaa.UsageKind, at time.Time, c dataplane.Counters) aaa.Usage {
	return aaa.Usage{
		Kind: kind, Identity: *s.who, Method: s.method, Class: s.terms.class,
		Address: s.address, Routes: s.terms.routes, At: at, Duration: sh.now - s.sinceMono,
		InOctets: c.InOctets, OutOctets: c.OutOctets, InPackets: c.InPackets, OutPackets: c.OutPackets,
		Cause: s.cause.Acct(),
	}
}

func (sh *shard) encode(s *session, u *aaa.Usage) []byte {
	payload, err := aaa.AppendUsage(make([]byte, 0, usageSize), u)
	if err != nil {
		sh.log.Error("an accounting record cannot be encoded", sh.logKeys(s, "kind", u.Kind, "err", err)...)
	}
	return payload
}
