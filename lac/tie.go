package lac

import (
	"net/netip"
	"time"

	"culvert/proto/l2tp"
)

// sccrq takes a message to tunnel id 0: the SCCRQ of a peer that opens a tunnel
// towards this end. It has a meaning only while a tunnel of ours to that peer
// waits for its reply: then the tie breakers decide (RFC 2661 section 4.4.3). An
// Engine that loses answers the peer's SCCRQ, and its user's Tunnel comes up all
// the same, opened from the other end. In any other case an Engine takes no
// tunnels, unless Serve says so: it is a LAC, not a server for them.
func (e *Engine) sccrq(now time.Duration, sock uint16, from netip.AddrPort, payload, datagram []byte) {
	if t := e.answered(sock, from, payload); t != nil {
		e.input(now, t, datagram)
		return
	}
	if e.recoverySCCRQ(now, sock, from, payload, datagram) {
		return
	}
	found := false
	for _, t := range e.tunnels {
		if t == nil || t.recovers != nil || t.sock != sock || t.peer != from {
			continue
		}
		fx := e.take()
		tie := t.l2tp.Collide(now, datagram, &fx.tunnel)
		found = found || tie != l2tp.TieNone
		if tie != l2tp.TieLost {
			e.settle(now, t, fx)
			continue
		}
		// Our connection is gone without a word; the peer's takes its place.
		fx.tunnel.Reset()
		e.give(fx)
		t.l2tp = l2tp.NewTunnel(l2tp.RoleLNS, t.l2tp.LocalID(), t.cfg)
		e.input(now, t, datagram)
		return
	}
	switch {
	case found:
	case e.serve != nil:
		e.accept(now, sock, from, datagram)
	default:
		e.stats.NoTunnel++
	}
}

// answered finds the tunnel that an earlier copy of the SCCRQ made.
func (e *Engine) answered(sock uint16, from netip.AddrPort, payload []byte) *Tunnel {
	var m *l2tp.Message
	for _, t := range e.tunnels {
		if t == nil || t.sock != sock || t.peer != from || t.l2tp.Role() != l2tp.RoleLNS {
			continue
		}
		if m == nil {
			m = new(l2tp.Message)
		}
		_ = l2tp.ParseMessage(payload, t.cfg.Secret, m)
		if m.AssignedTunnelID == t.l2tp.PeerID() {
			return t
		}
	}
	return nil
}

// input lets a tunnel take a control datagram.
func (e *Engine) input(now time.Duration, t *Tunnel, datagram []byte) {
	fx := e.take()
	if err := t.l2tp.Receive(now, datagram, &fx.tunnel); err != nil {
		e.stats.Dropped++
	}
	e.settle(now, t, fx)
}
