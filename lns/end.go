package lns

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/lns/link"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
	"culvert/sessiondb"
)

// A session ends on one path, whoever begins it:
//
//	begin: the cause is set, for good; the plane forgets the session, its
//	       Stop is accounted, its address is free again
//	(the link says goodbye to the subscriber, where there is time for it)
//	finish: the LAC gets its CDN, the ids wait for reuse
//
// end does begin, goodbye and finish; drop leaves out the goodbye and the
// CDN because nobody is left to hear them.

// end ends a session from our side: by an operator, a timeout, AAA, or a fault.
func (sh *shard) end(s *session, cause Cause, detail string) {
	if s.state == stateClosing {
		return
	}
	dialling := s.state == stateDialling
	sh.begin(s, cause, detail)
	if dialling {
		sh.finish(s, true)
		return
	}
	sh.linkStep(s, func(fx *link.Effects) { s.link.Close(sh.now, fx) })
}

// drop ends a session whose LAC has ended the call.
func (sh *shard) drop(s *session, cause Cause, detail string) {
	sh.begin(s, cause, detail)
	sh.finish(s, false)
}

// linkDown follows the end of a session's link.
func (sh *shard) linkDown(s *session, r link.Reason, detail string) {
	if detail == "" {
		detail = r.String()
	}
	sh.begin(s, linkCauses[r], detail)
	sh.finish(s, true)
}

// linkCauses are the causes of links that end by themselves.
var linkCauses = map[link.Reason]Cause{
	link.ReasonPeerTerminate: CauseUserRequest,
	link.ReasonEchoTimeout:   CauseEchoTimeout,
	link.ReasonAuthFailed:    CauseAuthRejected,
	link.ReasonAuthRefused:   CauseNegotiationFailed,
	link.ReasonAuthTimeout:   CauseAuthTimeout,
	link.ReasonLCPTimeout:    CauseNegotiationFailed,
	link.ReasonLCPSilent:     CauseNegotiationFailed,
	link.ReasonLCPFailed:     CauseNegotiationFailed,
	link.ReasonIPCPFailed:    CauseNegotiationFailed,
	link.ReasonLoop:          CauseLoop,
	link.ReasonSetupTimeout:  CauseSetupTimeout,
	link.ReasonLocal:         CauseAdminReset,
	link.ReasonProxyMismatch: CauseNegotiationFailed,
}

// begin makes a session's end final: from here on it forwards and accounts
// nothing. The first cause stays.
func (sh *shard) begin(s *session, cause Cause, detail string) {
	if s.state == stateClosing {
		return
	}
	up := s.state == stateUp
	s.state, s.cause = stateClosing, cause
	sh.traceEnd(s, cause, detail)
	sh.stats.downs[cause]++
	if up {
		sh.closeAccount(s, detail)
	} else {
		sh.srv.settingUp.Add(-1)
		sh.stats.callsFailed++
		sh.log.Warn("call failed", sh.logKeys(s, "cause", cause, "detail", detail)...)
		sh.event(s, EventSessionReject, cause.String(), detail)
	}
	if s.address.IsValid() {
		sh.srv.cfg.Addresses.Release(s.address, s.owner)
	}
	sh.srv.prefixes.release(s.routes(), s.owner)
}

// closeAccount takes an established session off the plane and accounts it to its last octet.
func (sh *shard) closeAccount(s *session, detail string) {
	sh.unqueueAdd(s.key)
	keys, out := [1]dataplane.Key{s.key}, [1]dataplane.Counters{}
	sh.srv.cfg.Plane.Remove(keys[:], out[:])
	c, now := out[0], sh.srv.clock.Wall()
	sh.account(s, aaa.UsageStop, now, c)
	sh.changes = append(sh.changes, sessiondb.Change{
		Op:      sessiondb.DropSession,
		Session: &sessiondb.Session{Key: sessiondb.SessionKey{Tunnel: s.facts.key(), ID: s.key.Session}, Node: sh.srv.cfg.Node, AcctSessionID: s.who.AcctSessionID},
		End: &sessiondb.End{
			At: now, Cause: s.cause.String(),
			InOctets: c.InOctets, OutOctets: c.OutOctets, InPackets: c.InPackets, OutPackets: c.OutPackets,
		},
	})
	sh.stats.sessionsDown++
	sh.established--
	sh.say(s, "session down", slog.String("cause", s.cause.String()), slog.String("detail", detail),
		slog.Duration("duration", (sh.now-s.sinceMono).Round(time.Second)), slog.Uint64("in", c.InOctets), slog.Uint64("out", c.OutOctets))
	sh.eventWith(s, EventSessionDown, s.cause.String(), detail, c)
}

// unqueueAdd takes back the additions of this same step, which the plane has not seen: that of a session
// that has come up, and those of one that has moved or renegotiated in it.
func (sh *shard) unqueueAdd(key dataplane.Key) {
	sh.adds = slices.DeleteFunc(sh.adds, func(p dataplane.Session) bool { return p.Key == key })
}

// finish lets a session go, and tells the LAC unless it knows.
func (sh *shard) finish(s *session, tell bool) {
	sh.wheel.stop(&s.timer)
	delete(sh.sessions, s.key)
	sh.srv.sessions.Add(-1)
	s.facts.profile.use.sessions.Add(-1)
	gone := callGone{facts: s.facts, id: s.key.Session, peerID: s.peerID}
	if tell {
		r := s.cause.result(&s.facts.profile.LACProfile, s.cause.String())
		if s.result != nil {
			r = *s.result
		}
		gone.cdn = newCDN(s.key.Session, r)
		if d, ok := s.pppDisconnect(); ok {
			gone.cdn.PPPDisconnect = d
			gone.cdn.Set(l2tp.AVPPPPDisconnect)
		}
		sh.traceMessage(s, trace.Sent, gone.cdn)
	}
	sh.bury(s)
	sh.send(s.facts.shard, gone)
}

// callsDown ends sessions that the LAC has forgotten: their tunnel is down, or
// it has used their ids again.
type callsDown struct {
	facts *tunnelFacts
	ids   []uint16
	cause Cause
	// detail is for people.
	detail string
}

func (m callsDown) deliver(sh *shard) {
	for _, id := range m.ids {
		s := sh.sessions[dataplane.Key{Listener: m.facts.listener, Tunnel: m.facts.id, Session: id}]
		if s != nil && s.facts == m.facts {
			sh.drop(s, m.cause, m.detail)
		}
	}
}

// badCall ends a session whose LAC sent a message that must end it, with the result that is due for it.
type badCall struct {
	facts  *tunnelFacts
	id     uint16
	result l2tp.Result
}

func (m badCall) deliver(sh *shard) {
	s := sh.sessions[dataplane.Key{Listener: m.facts.listener, Tunnel: m.facts.id, Session: m.id}]
	if s != nil && s.facts == m.facts {
		s.result = &m.result
		sh.end(s, CauseProtocolError, m.result.CDN())
	}
}

// shutdown stops every tunnel of the shard; their sessions follow.
func (sh *shard) shutdown() {
	sh.closing = true
	for _, t := range sh.inOrder() {
		if sh.isShut(t.facts.listener) {
			continue // they may be another node's
		}
		sh.tunnelStep(t, func(fx *l2tp.Effects) {
			t.t.Stop(sh.now, l2tp.Result{Code: l2tp.StopShutdown, Message: "LNS is being shut down"}, fx)
		})
	}
}

// inOrder lists the shard's tunnels by listener and id, so that what is done to
// all of them is done in an order that a simulation can repeat.
func (sh *shard) inOrder() []*tunnel {
	return slices.SortedFunc(maps.Values(sh.tunnels), func(a, b *tunnel) int {
		return cmp.Or(cmp.Compare(a.facts.listener, b.facts.listener), cmp.Compare(a.facts.id, b.facts.id))
	})
}
