package lns

import (
	"net/netip"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
)

// goneSession is what a shard remembers of a session after its end, or of a call that failed.
type goneSession struct {
	log   trace.Log
	who   *aaa.Identity
	facts *tunnelFacts
	peer  netip.AddrPort
	// began and ended are on the shard's clock.
	began, ended time.Duration
	owner        uint64
	sinceWall    int64
	address      netip.Addr
	serial       uint32
	id, peerID   uint16
	method       aaa.Method
	cause        Cause
}

// bury remembers a session that has ended.
func (sh *shard) bury(s *session) {
	if !s.trace.On() {
		return
	}
	g := &goneSession{
		who: s.who, facts: s.facts, peer: s.facts.peer.Load().AddrPort, ended: sh.now, began: s.trace.Began(),
		owner: s.owner, sinceWall: s.sinceWall, address: s.address, serial: s.serial,
		id: s.key.Session, peerID: s.peerID, method: s.method, cause: s.cause,
	}
	sh.traces.recycle(s.trace.Fit())
	g.log = s.trace
	yard := &sh.traces.failed
	if s.sinceWall != 0 {
		yard = &sh.traces.ended
	}
	yard.put(g)
	for _, tr := range sh.traces.tracers {
		tr.forget(s)
	}
}

// buryRefused remembers a call that never became a session, on the tunnel's shard.
func (sh *shard) buryRefused(t *tunnel, m *l2tp.Message, r l2tp.Result) {
	sh.tunnelNote(t, trace.SourceLNS, "refused a call: "+r.Message)
	if sh.traces.limit == 0 {
		return
	}
	g := &goneSession{
		who:   &aaa.Identity{CallingStation: string(m.CallingNumber), CalledStation: string(m.CalledNumber), LAC: t.facts.profile.Name},
		facts: t.facts, peer: t.facts.peer.Load().AddrPort, began: sh.now, ended: sh.now,
		serial: m.CallSerial, peerID: m.AssignedSessionID, cause: CauseBusy,
	}
	g.log.Begin(sh.now, nil)
	g.log.Call(sh.now, trace.Received, m, sh.traces.limit)
	g.log.Call(sh.now, trace.Sent, newCDN(0, r), sh.traces.limit)
	sh.traces.refused.put(g)
}

// matches says whether the selector names the session; a field that a session that
// is gone has not got matches nothing.
func (g *goneSession) matches(sel *Selector) bool {
	f := g.facts
	switch {
	case sel.ID != "" && sel.ID != g.who.AcctSessionID,
		sel.User != "" && sel.User != g.who.User,
		sel.Calling != "" && sel.Calling != g.who.CallingStation,
		sel.Address.IsValid() && sel.Address != g.address,
		sel.Profile != "" && sel.Profile != f.profile.Name,
		sel.Local.IsValid() && sel.Local != f.local,
		sel.Tunnel != 0 && sel.Tunnel != f.id,
		sel.Peer.IsValid() && sel.Peer != g.peer.Addr():
		return false
	}
	return true
}

// info is what is still known of the session.
func (g *goneSession) info() SessionInfo {
	f, w := g.facts, g.who
	i := SessionInfo{
		ID: w.AcctSessionID, Local: f.local, Peer: g.peer, Tunnel: f.id, Session: g.id,
		PeerTunnel: f.peerID, PeerSession: g.peerID, Profile: f.profile.Name, User: w.User, State: "down",
		Method: g.method, Address: g.address, CallingStation: w.CallingStation, CalledStation: w.CalledStation,
		ConnectInfo: w.ConnectInfo, CallSerial: g.serial, MRU: f.profile.MRU, Counters: dataplane.Counters{},
	}
	if g.sinceWall != 0 {
		i.Since = time.Unix(0, g.sinceWall)
	}
	return i
}

// graveyard remembers the last sessions that have ended, up to most of them.
type graveyard struct {
	most int
	list []*goneSession
	next int // where the next one goes, once list is full
}

func (y *graveyard) put(g *goneSession) {
	if len(y.list) < y.most {
		y.list = append(y.list, g)
		return
	}
	y.list[y.next] = g
	y.next = (y.next + 1) % y.most
}

// goneTunnel is what a shard remembers of a tunnel, for the sessions that were in it.
type goneTunnel struct {
	log   trace.Log
	facts *tunnelFacts
}

// tunnelGraveyard is a graveyard for tunnels.
type tunnelGraveyard struct {
	most int
	list []goneTunnel
	next int
}

func (y *tunnelGraveyard) put(g goneTunnel) {
	if len(y.list) < y.most {
		y.list = append(y.list, g)
		return
	}
	y.list[y.next] = g
	y.next = (y.next + 1) % y.most
}

// buryTunnel remembers a tunnel that is forgotten.
func (sh *shard) buryTunnel(t *tunnel) {
	if t.trace.On() {
		sh.traces.tunnels.put(goneTunnel{t.trace.Clone(), t.facts})
	}
	for _, tr := range sh.traces.tracers {
		delete(tr.tunnels, t.facts)
	}
}
