package lns

import (
	"slices"

	"culvert/lns/dataplane"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
)

// Session state synchronization (RFC 4951 section 3.3): when a tunnel has been recovered, calls that are not
// established are cleared at both ends without a word, and each end asks the other for those
// that it has, by FSQ and FSR.

// synchronize has the sessions' shards clear and name what they have of a recovered tunnel.
func (sh *shard) synchronize(t *tunnel) {
	t.fail.asked, t.fail.before, t.fail.cleared = nil, 0, 0
	for shard, ids := range t.calls.byShard(len(sh.srv.shards)) {
		if len(ids) > 0 {
			sh.send(shard, nameSessions{t.facts, ids})
		}
	}
}

// nameSessions clears, on the sessions' shard, those whose call is not established, and has the tunnel's
// shard ask for the others.
type nameSessions struct {
	facts *tunnelFacts
	ids   []uint16
}

func (m nameSessions) deliver(sh *shard) {
	var ask []uint16
	for _, id := range m.ids {
		s := sh.sessions[dataplane.Key{Listener: m.facts.listener, Tunnel: m.facts.id, Session: id}]
		switch {
		case s == nil || s.facts != m.facts || s.state == stateClosing:
		case s.state == stateDialling:
			sh.drop(s, CauseFailover, "the call was not established when its tunnel was recovered")
		default:
			ask = append(ask, id)
		}
	}
	sh.send(m.facts.shard, askFor{m.facts, ask})
}

// askFor asks a LAC for sessions.
type askFor struct {
	facts *tunnelFacts
	ids   []uint16
}

func (m askFor) deliver(sh *shard) {
	if t := sh.tunnels[tunnelID{m.facts.listener, m.facts.id}]; t != nil && t.facts == m.facts && !t.down {
		sh.askFor(t, m.ids)
	}
}

func (sh *shard) askFor(t *tunnel, ids []uint16) {
	f := t.failure()
	var states []l2tp.SessionState
	for _, id := range ids {
		ref, ok := t.calls.ours[id]
		if !ok || ref.peerID == 0 {
			continue
		}
		if f.asked == nil {
			f.asked = make(map[uint16]struct{})
		}
		f.asked[id] = struct{}{}
		states = append(states, l2tp.SessionState{Session: id, Remote: ref.peerID})
	}
	f.before += len(states)
	sh.sendStates(t, l2tp.MessageFSQ, states)
}

// sendStates sends an FSQ or FSR; where that is impossible the tunnel ends by itself.
func (sh *shard) sendStates(t *tunnel, typ l2tp.MessageType, states []l2tp.SessionState) {
	sh.tunnelStep(t, func(fx *l2tp.Effects) { _ = t.t.SendStates(sh.now, typ, states, fx) })
}

// queried answers a Failover-Session-Query, and asks for sessions that the LAC knows by another id.
func (sh *shard) queried(t *tunnel, m *l2tp.Message) {
	answer, stale := l2tp.AnswerFSQ(m, func(id uint16) (uint16, bool) {
		ref, ok := t.calls.ours[id]
		return ref.peerID, ok && !ref.cleared
	})
	sh.sendStates(t, l2tp.MessageFSR, answer)
	slices.Sort(stale)
	if stale = slices.Compact(stale); len(stale) > 0 {
		sh.tunnelNote(t, trace.SourceLNS, "the LAC knows sessions by other ids: they are marked stale, and asked for")
		sh.askFor(t, stale)
	}
}

// responded clears the sessions that the LAC does not have, by its Failover-Session-Response.
func (sh *shard) responded(t *tunnel, m *l2tp.Message) {
	f := t.failure()
	gone := make([][]uint16, len(sh.srv.shards))
	for _, s := range m.SessionStates {
		if _, ok := t.calls.ours[s.Remote]; ok && s.Session == 0 && f.unsure(s.Remote) {
			f.cleared++
			sh.lacCleared(t, s.Remote)
			shard := dataplane.ShardOf(s.Remote, len(gone))
			gone[shard] = append(gone[shard], s.Remote)
		}
		delete(f.asked, s.Remote)
	}
	for shard, ids := range gone {
		if len(ids) > 0 {
			sh.send(shard, callsDown{facts: t.facts, ids: ids, cause: CauseFailover, detail: "the LAC does not have the session, by its FSR"})
		}
	}
	if f.asked != nil && len(f.asked) == 0 {
		f.asked = nil
		sh.log.Info("session states synchronized", "tunnel", t.facts.id, "lac", *t.facts.peer.Load(), "sessions", f.before, "cleared", f.cleared)
		sh.tunnelNote(t, trace.SourceLNS, "session states synchronized with the LAC")
	}
}

// replacedUnsure refuses an ICRQ with an id of the LAC's that a session has which the LAC has not
// confirmed, and clears that session: both ends begin anew (RFC 4951 section 3.3).
func (sh *shard) replacedUnsure(t *tunnel, m *l2tp.Message, old uint16) {
	sh.send(dataplane.ShardOf(old, len(sh.srv.shards)), callsDown{facts: t.facts, ids: []uint16{old}, cause: CauseReplaced, detail: "the LAC has used its id anew before it confirmed it"})
	peer := m.AssignedSessionID
	delete(t.calls.byPeer, peer)
	delete(t.fail.asked, old)
	sh.lacCleared(t, old)
	sh.clear(t, peer, 0, newCDN(old, CauseReplaced.result(nil, CauseReplaced.String())))
}
