package lns

import (
	"maps"
	"slices"

	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
)

// callTable is what a tunnel's shard knows of its calls: which of our
// session ids are in use, and by which of the LAC's they go.
type callTable struct {
	ids    idAllocator
	ours   map[uint16]callRef
	byPeer map[uint16]uint16 // the LAC's session id -> ours
}

type callRef struct {
	peerID uint16
	// cleared says that the LAC has cleared the call, and the journal knows.
	cleared bool
	serial  uint32
}

func (c *callTable) init() { c.ids = newIDAllocator(0xffff) }

func (c *callTable) len() int { return len(c.ours) }

func (c *callTable) add(id uint16, ref callRef) {
	if c.ours == nil {
		c.ours, c.byPeer = make(map[uint16]callRef), make(map[uint16]uint16)
	}
	c.ours[id] = ref
	if ref.peerID != 0 { // else it is an outgoing call that the LAC has not answered yet
		c.byPeer[ref.peerID] = id
	}
}

// remove forgets a call; its id waits before it is used again.
func (c *callTable) remove(id uint16) bool {
	ref, ok := c.ours[id]
	if !ok {
		return false
	}
	delete(c.ours, id)
	if c.byPeer[ref.peerID] == id {
		delete(c.byPeer, ref.peerID)
	}
	c.ids.release(id)
	return true
}

// byShard lists the calls' ids, in order, by the shard that owns the session.
func (c *callTable) byShard(shards int) [][]uint16 {
	lists := make([][]uint16, shards)
	for _, id := range slices.Sorted(maps.Keys(c.ours)) {
		s := dataplane.ShardOf(id, shards)
		lists[s] = append(lists[s], id)
	}
	return lists
}

// callMessage handles a message about a call, on the tunnel's shard: a new
// call is admitted here, all others go to the session's shard.
func (sh *shard) callMessage(t *tunnel, e *l2tp.Event) {
	if e.Message.Type == l2tp.MessageICRQ {
		sh.icrq(t, &e.Message)
		return
	}
	switch e.Message.Type {
	case l2tp.MessageCSUN:
		sh.csun(t, &e.Message)
		return
	case l2tp.MessageFSQ:
		sh.queried(t, &e.Message)
		return
	case l2tp.MessageFSR:
		sh.responded(t, &e.Message)
		return
	}
	id := e.SessionID
	if id == 0 && e.Message.Type == l2tp.MessageCDN {
		// The LAC gives up a call before it knows our id: its own says which (RFC 2661
		// section 4.4.3, Assigned Session ID).
		id = t.calls.byPeer[e.Message.AssignedSessionID]
	}
	if _, ok := t.calls.ours[id]; !ok {
		// A CDN for a call that we ended ourselves crosses ours: quite normal.
		if e.Message.Type != l2tp.MessageCDN {
			sh.complain(dropNoSession, "dropped a message for no session", "tunnel", t.facts.id, "session", id, "type", e.Message.Type)
			sh.clearStray(t, id)
		}
		return
	}
	if e.Message.Type == l2tp.MessageCDN {
		sh.lacCleared(t, id)
	}
	if e.Message.Type == l2tp.MessageOCRP {
		sh.replied(t, id, &e.Message)
	}
	sh.send(dataplane.ShardOf(id, len(sh.srv.shards)), callMessage{t.facts, id, carry(&e.Message)})
}

// lacCleared notes that the LAC holds a call no more, in the step that acknowledges it.
func (sh *shard) lacCleared(t *tunnel, id uint16) {
	if ref := t.calls.ours[id]; !ref.cleared {
		ref.cleared = true
		t.calls.ours[id] = ref
		sh.dropCall(t, id)
	}
}

// icrq admits a call and hands it to its shard, or refuses it.
func (sh *shard) icrq(t *tunnel, m *l2tp.Message) {
	if m.AssignedSessionID == 0 {
		sh.complain(dropBadICRQ, "dropped an ICRQ without a session id", "tunnel", t.facts.id, "lac", *t.facts.peer.Load())
		return
	}
	if old, ok := t.calls.byPeer[m.AssignedSessionID]; ok {
		if t.fail.unsure(old) {
			sh.replacedUnsure(t, m, old)
			return
		}
		if t.calls.ours[old].serial == m.CallSerial {
			sh.complain(dropDuplicateICRQ, "ignored an ICRQ: the same call once more", "tunnel", t.facts.id, "session", old)
			return // the same call once more; it has its answer
		}
		// The LAC gave the id to a new call, so to the LAC the old one is gone.
		sh.send(dataplane.ShardOf(old, len(sh.srv.shards)), callsDown{facts: t.facts, ids: []uint16{old}, cause: CauseReplaced})
		delete(t.calls.byPeer, m.AssignedSessionID)
		sh.lacCleared(t, old)
	}
	id, ok := t.calls.ids.take()
	if !ok {
		sh.log.Error("a tunnel has no session id left", "tunnel", t.facts.id, "lac", *t.facts.peer.Load())
		sh.refuseCall(t, m, 0, "no session id left")
		return
	}
	if why := sh.callAdmission(t.facts.profile); why != "" {
		t.calls.ids.release(id)
		sh.stats.rejects[CauseBusy]++
		sh.log.Warn("refused a call", "tunnel", t.facts.id, "lac", *t.facts.peer.Load(), "why", why)
		t.placed = append(t.placed, placedCall{id, m.AssignedSessionID})
		sh.refuseCall(t, m, id, why)
		return
	}
	t.calls.add(id, callRef{peerID: m.AssignedSessionID, serial: m.CallSerial})
	t.placed = append(t.placed, placedCall{id, m.AssignedSessionID})
	sh.srv.settingUp.Add(1)
	sh.srv.sessions.Add(1)
	t.facts.profile.use.sessions.Add(1)
	sh.send(dataplane.ShardOf(id, len(sh.srv.shards)), newCall{t.facts, id, carry(m)})
}

// refuseCall tells the LAC that a call cannot be taken now. id is our session
// id, 0 where the call never got one.
func (sh *shard) refuseCall(t *tunnel, m *l2tp.Message, id uint16, why string) {
	r := CauseBusy.result(&t.facts.profile.LACProfile, why)
	sh.buryRefused(t, m, r)
	sh.sendCDN(t, m.AssignedSessionID, id, r)
}

// callAdmission says why no call can be taken now, or nothing.
func (sh *shard) callAdmission(p *profile) string {
	srv := sh.srv
	switch {
	case srv.draining.Load():
		return "this LNS is draining"
	case srv.settingUp.Load() >= int64(srv.cfg.MaxSettingUp):
		return "too many calls are being set up"
	case srv.cfg.MaxSessions > 0 && srv.sessions.Load() >= int64(srv.cfg.MaxSessions):
		return "too many sessions"
	case p.MaxSessions > 0 && p.use.sessions.Load() >= int64(p.MaxSessions):
		return "too many sessions of this LAC"
	}
	return ""
}

// sendCDN ends a call at the LAC. id is our session id, 0 where the call never got one.
func (sh *shard) sendCDN(t *tunnel, peerID, id uint16, r l2tp.Result) {
	sh.clear(t, peerID, id, newCDN(id, r))
}

// clear sends a CDN; the call is forgotten when the LAC has acknowledged it.
func (sh *shard) clear(t *tunnel, peerID, id uint16, cdn *l2tp.Message) {
	sh.tunnelStep(t, func(fx *l2tp.Effects) {
		err := t.t.Send(sh.now, cdn, peerID, fx)
		switch {
		case id == 0:
		case err == nil:
			t.clearing = append(t.clearing, clearing{ns: t.t.Ns() - 1, id: id, peerID: peerID})
		default:
			// A StopCCN has come with the call: the tunnel is past sending, and its end will
			// not find the call any more.
			sh.dropCall(t, id)
		}
	})
}

// newCDN is a Call-Disconnect-Notify for the session with our id.
func newCDN(id uint16, r l2tp.Result) *l2tp.Message {
	m := &l2tp.Message{Type: l2tp.MessageCDN, AssignedSessionID: id, Result: r}
	m.Set(l2tp.AVPAssignedSessionID, l2tp.AVPResultCode)
	return m
}

// badMessage ends the session of a message that RFC 2661 section 4.1 says
// must end it. For an ICRQ the tunnel has answered already.
func (sh *shard) badMessage(t *tunnel, e *l2tp.Event) {
	sh.complain(dropBadMessage, "a LAC sent a bad message", "tunnel", t.facts.id, "lac", *t.facts.peer.Load(), "session", e.SessionID, "err", e.Err)
	if _, ok := t.calls.ours[e.SessionID]; ok {
		sh.send(dataplane.ShardOf(e.SessionID, len(sh.srv.shards)), badCall{t.facts, e.SessionID, e.Result})
	}
}

// toLAC brings a message of a session to the tunnel's shard, which sends it.
type toLAC struct {
	facts  *tunnelFacts
	peerID uint16
	m      *l2tp.Message
}

func (m toLAC) deliver(sh *shard) {
	defer arrived(m.m)
	if t := sh.tunnels[tunnelID{m.facts.listener, m.facts.id}]; t != nil && t.facts == m.facts && !t.down {
		sh.tunnelStep(t, func(fx *l2tp.Effects) { t.t.Send(sh.now, m.m, m.peerID, fx) })
	}
}

// callGone tells the tunnel's shard that a session has ended; cdn is what the
// LAC is told, nil when it knows.
type callGone struct {
	facts  *tunnelFacts
	id     uint16
	peerID uint16
	cdn    *l2tp.Message
}

func (m callGone) deliver(sh *shard) {
	t := sh.tunnels[tunnelID{m.facts.listener, m.facts.id}]
	if t == nil || t.facts != m.facts {
		return
	}
	ref, ok := t.calls.ours[m.id]
	if !ok {
		return
	}
	t.calls.remove(m.id)
	t.strays.settle(m.id)
	switch {
	case t.down || ref.cleared:
	case m.cdn == nil:
		sh.dropCall(t, m.id)
	default:
		sh.clear(t, m.peerID, m.id, m.cdn)
	}
}
