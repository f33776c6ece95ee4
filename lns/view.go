package lns

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"culvert/lns/dataplane"
)

// Tunnels lists all tunnels, by listener and id.
func (s *Server) Tunnels() []TunnelInfo {
	parts := make([][]TunnelInfo, len(s.shards))
	s.each(func(sh *shard) {
		for _, t := range sh.tunnels {
			if t.recovers == nil {
				parts[sh.idx] = append(parts[sh.idx], t.info())
			}
		}
	})
	list := slices.Concat(parts...)
	slices.SortFunc(list, func(a, b TunnelInfo) int {
		return cmp.Or(a.Local.Compare(b.Local), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func (t *tunnel) info() TunnelInfo {
	f := t.facts
	at := f.peer.Load()
	return TunnelInfo{
		Local: f.local, Peer: at.AddrPort, SA: at.sa, ID: f.id, PeerID: t.t.PeerID(),
		PeerName: t.t.PeerName(), PeerVendor: t.t.PeerVendor(), Profile: f.profile.Name,
		State: t.t.State().String(), Since: t.since, Sessions: t.calls.len(),
		Ns: t.t.Ns(), Nr: t.t.Nr(), Window: t.t.PeerWindow(), Retransmissions: t.t.Retransmissions(),
		Failover: t.t.Failover(), Failed: t.fail.info(),
	}
}

// selects says whether every field that sel sets fits the session.
func (sh *shard) selects(sel Selector, s *session) bool {
	f := s.facts
	switch {
	case sel.User != "" && sel.User != s.who.User,
		sel.Calling != "" && sel.Calling != s.who.CallingStation,
		sel.Address.IsValid() && sel.Address != s.address,
		sel.Profile != "" && sel.Profile != f.profile.Name,
		sel.Local.IsValid() && sel.Local != f.local,
		sel.Tunnel != 0 && sel.Tunnel != f.id,
		sel.Peer.IsValid() && sel.Peer != f.peer.Load().Addr(),
		sel.ID != "" && sel.ID != s.who.AcctSessionID:
		return false
	}
	return true
}

// info copies what an operator may see of a session.
func (sh *shard) info(s *session) SessionInfo {
	f, w := s.facts, s.who
	i := SessionInfo{
		ID: w.AcctSessionID, Local: f.local, Peer: f.peer.Load().AddrPort, Tunnel: f.id, Session: s.key.Session,
		PeerTunnel: f.peerID, PeerSession: s.peerID, Profile: f.profile.Name, User: w.User, State: s.stateName(),
		Method: s.method, Address: s.address, CallingStation: w.CallingStation, CalledStation: w.CalledStation,
		ConnectInfo: w.ConnectInfo, CallSerial: s.serial, MRU: f.profile.MRU, Sequencing: s.sequencingInfo(),
		Outgoing: s.outgoing(), PrivateGroup: w.PrivateGroup, Line: w.Line, CallErrors: s.callErrors(),
	}
	if s.terms != nil {
		i.Routes = s.terms.routes
		i.SessionTimeout, i.IdleTimeout, i.Interim = sh.sessionTimeout(s), sh.idleTimeout(s), sh.interim(s)
	}
	if s.state != stateDialling {
		i.MTU = s.link.MTU()
	}
	if s.sinceWall != 0 {
		i.Since = time.Unix(0, s.sinceWall)
	}
	if s.state == stateUp {
		i.Counters = sh.counters(s)
	}
	return i
}

// stateName is the session's state in an operator's words.
func (s *session) stateName() string {
	switch s.state {
	case stateDialling:
		return "dialling"
	case stateLink:
		return s.link.Phase().String()
	case stateUp:
		return "up"
	}
	return "closing"
}

// Watch gives events from now on, until ctx is done. A watcher that falls
// behind loses events and then gets one of kind EventLost.
func (s *Server) Watch(ctx context.Context) <-chan Event { return s.hub.watch(ctx) }

// Status says how the node is.
func (s *Server) Status() Status {
	st := Status{
		Node: s.cfg.Node, Version: s.cfg.Version, Started: s.started, Epoch: s.epoch,
		Draining: s.draining.Load(), Shards: len(s.shards), Listeners: s.listeners, Plane: s.cfg.PlaneName,
		SettingUp: int(s.settingUp.Load()),
	}
	tunnels, sessions := make([]int, len(s.shards)), make([]int, len(s.shards))
	s.each(func(sh *shard) {
		for _, t := range sh.tunnels {
			if t.up && !t.down {
				tunnels[sh.idx]++
			}
		}
		sessions[sh.idx] = sh.established
	})
	for i := range s.shards {
		st.Tunnels += tunnels[i]
		st.Sessions += sessions[i]
	}
	return st
}

// event publishes what happened to a session, if anybody watches.
func (sh *shard) event(s *session, kind EventKind, cause, detail string) {
	sh.eventWith(s, kind, cause, detail, dataplane.Counters{})
}

func (sh *shard) eventWith(s *session, kind EventKind, cause, detail string, c dataplane.Counters) {
	if !sh.srv.hub.watched() {
		return
	}
	i := sh.info(s)
	if kind == EventSessionDown {
		i.Counters = c
	}
	sh.events = append(sh.events, Event{At: sh.srv.clock.Wall(), Kind: kind, Cause: cause, Detail: detail, Session: i})
}

// logKeys are the keys that every log line of a session has, and more.
func (sh *shard) logKeys(s *session, more ...any) []any {
	return append([]any{
		"session", s.who.AcctSessionID, "user", s.who.User, "tunnel", s.key.Tunnel, "lac", *s.facts.peer.Load(),
	}, more...)
}

// say logs what happens to every session. It goes to the handler itself: a Logger
// walks the stack for each line, to name a place in the source that nobody asks for.
func (sh *shard) say(s *session, msg string, more ...slog.Attr) {
	h := sh.log.Handler()
	if !h.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	r := slog.NewRecord(sh.srv.clock.Wall(), slog.LevelInfo, msg, 0)
	r.AddAttrs(slog.String("session", s.who.AcctSessionID), slog.String("user", s.who.User),
		slog.Uint64("tunnel", uint64(s.key.Tunnel)), slog.String("lac", s.facts.peer.Load().String()))
	r.AddAttrs(more...)
	_ = h.Handle(context.Background(), r)
}
