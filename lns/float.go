package lns

import (
	"fmt"
	"net/netip"

	"culvert/lns/dataplane"
	"culvert/lns/trace"
	"culvert/sessiondb"
)

// fromPeer says whether a datagram for a tunnel came from its LAC. Where the
// profile lets the LAC move (a NAT gives it another port, or it fails over to its
// other address), the tunnel follows at once, and the plane with it: until then the
// plane hands over what comes from the new address, and sends to the old one.
// Whoever can guess the ids of a tunnel can take it over, so a profile has to ask for it.
func (sh *shard) fromPeer(f *tunnelFacts, peer netip.AddrPort) bool {
	if peer == *f.peer.Load() {
		return true
	}
	from := peer // so that only the copy goes to the heap, not the parameter of every datagram
	if f.profile.FloatPeer {
		was := f.peer.Swap(&from)
		if f.moved.CompareAndSwap(false, true) {
			sh.send(f.shard, tunnelMoved{f, *was})
		}
		return true
	}
	sh.complain(dropWrongSource, "dropped a datagram that did not come from the tunnel's LAC", "from", from, "lac", *f.peer.Load(), "tunnel", f.id)
	return false
}

// tunnelMoved tells a tunnel's shard that its LAC sends from another address. Only
// one is on its way at a time, however often the LAC moves.
type tunnelMoved struct {
	facts *tunnelFacts
	was   netip.AddrPort
}

func (m tunnelMoved) deliver(sh *shard) {
	f := m.facts
	f.moved.Store(false) // before peer is read: a later move is told anew
	t := sh.tunnels[tunnelID{f.listener, f.id}]
	if t == nil || t.facts != f || t.down || !t.up {
		return
	}
	sh.log.Info("a LAC has moved", "tunnel", f.id, "from", m.was, "lac", *f.peer.Load(), "sessions", t.calls.len())
	sh.tunnelNote(t, trace.SourceLNS, fmt.Sprintf("the LAC has moved from %v to %v", m.was, *f.peer.Load()))
	sh.changes = append(sh.changes, sessiondb.Change{Op: sessiondb.PutTunnel, Tunnel: t.record(sh.srv.cfg.Node)})
	for shard, ids := range t.calls.byShard(len(sh.srv.shards)) {
		if len(ids) > 0 {
			sh.send(shard, callsMoved{f, ids})
		}
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
