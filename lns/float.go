package lns

import (
	"fmt"

	"culvert/lns/dataplane"
	"culvert/lns/trace"
)

// fromPeer says whether a datagram for a tunnel came from its LAC. Where the
// profile lets the LAC move (a NAT gives it another port, or it fails over to its
// other address), the tunnel follows at once, and the plane with it: until then the
// plane hands over what comes from the new address, and sends to the old one.
// Whoever can guess the ids of a tunnel can take it over, so a profile has to ask for it.
// What IPsec says goes before (throughSA).
func (sh *shard) fromPeer(f *tunnelFacts, from source) bool {
	at := f.peer.Load()
	if at.sa != nil || from.mark != at.mark {
		return sh.throughSA(f, at, from)
	}
	if from == at.source {
		return true
	}
	if f.profile.FloatPeer {
		sh.move(f, at, &lacPeer{source: from})
		return true
	}
	sh.complain(dropWrongSource, "dropped a datagram that did not come from the tunnel's LAC", "from", from, "lac", *at, "tunnel", f.id)
	return false
}

// tunnelMoved tells a tunnel's shard that its LAC sends from another address. Only
// one is on its way at a time, however often the LAC moves.
type tunnelMoved struct {
	facts *tunnelFacts
	was   lacPeer
}

func (m tunnelMoved) deliver(sh *shard) {
	f := m.facts
	f.moved.Store(false) // before peer is read: a later move is told anew
	t := sh.tunnels[tunnelID{f.listener, f.id}]
	if t == nil || t.facts != f || t.down {
		return
	}
	at := f.peer.Load()
	sh.rekey(t, at.source)
	sh.bind(t, at.sa)
	sh.wheel.set(&t.timer, min(t.t.Deadline(), t.fail.due()))
	if !t.up {
		return
	}
	if at.source != m.was.source {
		sh.log.Info("a LAC has moved", append(at.logSA(), "tunnel", f.id, "from", m.was, "lac", *at, "sessions", t.calls.len())...)
		sh.tunnelNote(t, trace.SourceLNS, fmt.Sprintf("the LAC has moved from %v to %v", m.was, *at))
	}
	t.stale = true
	sh.touch(t)
	for shard, ids := range t.calls.byShard(len(sh.srv.shards)) {
		if len(ids) > 0 {
			sh.send(shard, callsMoved{f, ids})
		}
	}
}

// rekey has the acceptor know a tunnel that the LAC has opened by where the LAC is now. Else a
// LAC that moves and then begins anew with the ids that it had would get a second tunnel: to the LAC both are
// one, and what is for subscribers of the first reaches those of the second.
func (sh *shard) rekey(t *tunnel, to source) {
	now := t.accept
	if now.peer = to; now == t.accept || now.peerID == 0 {
		return
	}
	sh.send(0, tunnelRekeyed{t.accept, now, t.facts.id})
	t.accept = now
}

// tunnelRekeyed brings a move to shard 0. Where the LAC has already opened another
// tunnel of this id there, that one keeps the place.
type tunnelRekeyed struct {
	was, now acceptKey
	id       uint16
}

func (m tunnelRekeyed) deliver(sh *shard) {
	known := sh.accept.known
	if known[m.was] == m.id {
		delete(known, m.was)
	}
	if _, taken := known[m.now]; !taken {
		known[m.now] = m.id
	}
}

// callsMoved has the plane send sessions' packets to where their LAC is now.
type callsMoved struct {
	facts *tunnelFacts
	ids   []uint16
}

func (m callsMoved) deliver(sh *shard) {
	for _, id := range m.ids {
		s := sh.sessions[dataplane.Key{Listener: m.facts.listener, Tunnel: m.facts.id, Session: id}]
		if s != nil && s.facts == m.facts && s.state == stateUp {
			sh.adds = append(sh.adds, sh.planeSession(s))
		}
	}
}
