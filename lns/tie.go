package lns

import (
	"net/netip"

	"culvert/lns/dataplane"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
)

// A LAC and this LNS may open a tunnel to each other at the same moment: the LAC for a subscriber, the LNS
// for an outgoing call. A LAC that wants one tunnel only says so by a Tie Breaker in its SCCRQ (RFC 2661
// section 4.4.3), and then ours goes. The SCCRQs of this LNS have none: most LACs ignore
// it, and would go on repeating an SCCRQ that lost and is never answered, until they keep away from
// this LNS. Where neither end has one there are two tunnels, as the RFC says.

// yield has the tunnel that is being opened to a LAC, if there is one, give way to the tunnel with id, which
// the LAC opens with a Tie Breaker. It is for shard 0.
func (sh *shard) yield(listener uint16, from netip.Addr, p *profile, id uint16, datagram []byte) {
	if p.Address.Addr() != from {
		return
	}
	ours, ok := sh.accept.known[acceptKey{listener: listener, peer: source{AddrPort: p.Address}}]
	if ok {
		sh.send(dataplane.ShardOf(ours, len(sh.srv.shards)), yieldTunnel{listener, ours, id, append([]byte(nil), datagram...)})
	}
}

// yieldTunnel ends a tunnel that the LAC has not answered yet, without a word, and moves the calls that wait
// for it to the LAC's own. An established one stays: its SCCRQ is no longer outstanding.
type yieldTunnel struct {
	listener, id uint16
	to           uint16
	datagram     []byte // the LAC's SCCRQ
}

func (m yieldTunnel) deliver(sh *shard) {
	t := sh.tunnels[tunnelID{m.listener, m.id}]
	if t == nil || t.up || t.down {
		return
	}
	waiting := t.waiting
	t.waiting, t.yielded = nil, true // its end is no failure of theirs
	tie := l2tp.TieNone
	sh.tunnelStep(t, func(fx *l2tp.Effects) {
		if tie = t.t.Collide(sh.now, m.datagram, fx); tie != l2tp.TieNone {
			sh.tunnelNote(t, trace.SourceLNS, "gives way to the tunnel that the LAC opens, by the Tie Breaker of its SCCRQ")
		}
	})
	if tie == l2tp.TieNone {
		t.waiting, t.yielded = waiting, false
		return
	}
	for _, p := range waiting {
		sh.send(dataplane.ShardOf(m.to, len(sh.srv.shards)), dialIn{listener: m.listener, id: m.to, p: p})
	}
}
