package lns

import (
	"time"

	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
)

// acceptKey is what makes two SCCRQs the same request: a LAC may bring many
// tunnels from one address and port, each with its own id, and LACs behind one NAT may
// have one address and port, each with its own SA.
type acceptKey struct {
	listener uint16
	peer     source
	peerID   uint16
}

// acceptor gives new tunnels their ids and shards. Every datagram with
// tunnel id 0 comes to shard 0, so that a retransmitted SCCRQ meets the
// tunnel that the first one made.
type acceptor struct {
	ids   []idAllocator // by listener
	known map[acceptKey]uint16
	// refusals are paced: a flood of SCCRQs from nowhere is not worth a
	// flood of answers.
	refused   int
	refusedIn time.Duration
}

// refusalID is the Assigned Tunnel ID in a StopCCN of a tunnel that never
// was; no tunnel gets it, so that what is sent to it meets nobody.
const refusalID = 0xffff

// maxRefusals bounds StopCCNs to unknown LACs per second.
const maxRefusals = 200

// Each life of the node begins to number its tunnels somewhere else, by the epoch of
// its journal: a LAC that has not noticed its death goes on sending to the ids of the
// one before, and a control message of the right number would be taken for one of a new
// tunnel of the same LAC. The ids below the beginning, one in twenty at most, are left out.
const (
	lifeIDs = 512
	lifes   = 8
)

func newAcceptor(listeners int, epoch uint32) *acceptor {
	a := &acceptor{known: make(map[acceptKey]uint16)}
	for range listeners {
		a.ids = append(a.ids, newTunnelIDs(epoch))
	}
	return a
}

// newTunnelIDs are a listener's, in a life of the node.
func newTunnelIDs(epoch uint32) idAllocator {
	ids := newIDAllocator(refusalID - 1)
	ids.fresh += uint16((epoch + lifes - 1) % lifes * lifeIDs)
	return ids
}

// sccrq handles a control message with tunnel id 0, on shard 0.
func (sh *shard) sccrq(listener uint16, peer source, h l2tp.Header, payload, datagram []byte) {
	if len(payload) == 0 {
		sh.stats.drop(dropZeroTunnel)
		return
	}
	m := &sh.scratch
	err := l2tp.ParseMessage(payload, nil, m)
	p, sa, ok := sh.candidate(peer, m)
	if !ok {
		return
	}
	if err != nil && p != nil && p.Secret != "" {
		// A LAC may hide all but its Host Name (RFC 2661 section 4.4.3), even the
		// tunnel id; the name says by which secret to read the rest.
		err = l2tp.ParseMessage(payload, p.tunnel.Secret, m)
	}
	if m.Type != l2tp.MessageSCCRQ || m.AssignedTunnelID == 0 {
		sh.complain(dropBadSCCRQ, "dropped a datagram for tunnel 0 that is no valid SCCRQ", "lac", peer, "type", m.Type, "err", err)
		return
	}
	if h.Ns != 0 {
		// A control connection begins with number 0 (RFC 2661 section 5.8); no tunnel would come of this, and its id stay taken.
		sh.complain(dropBadSCCRQ, "dropped an SCCRQ that does not begin a control connection", "lac", peer, "ns", h.Ns)
		return
	}
	key := acceptKey{listener, peer, m.AssignedTunnelID}
	if id, ok := sh.accept.known[key]; ok {
		sh.handOver(id, newTunnel{listener: listener, id: id, peer: lacPeer{source: peer}, datagram: datagram, again: true})
		return
	}
	if p == nil {
		sh.refuseTunnel(listener, peer, m, l2tp.Result{Code: l2tp.StopNotAuthorized, Message: "unknown LAC"})
		sh.unknownLAC(peer, sa, string(m.HostName))
		return
	}
	if m.Has(l2tp.AVPTunnelRecovery) {
		sh.recoverySCCRQ(listener, lacPeer{peer, sa}, p, m, datagram)
		return
	}
	if why := sh.tunnelAdmission(p); why != "" {
		sh.refuseTunnel(listener, peer, m, l2tp.Result{Code: l2tp.ResultGeneralError, Error: l2tp.ErrorTryAnother, Message: why})
		sh.stats.tunnelsRefused++
		sh.log.Warn("refused a tunnel", "lac", peer, "profile", p.Name, "why", why)
		return
	}
	id, ok := sh.accept.ids[listener].take()
	if !ok {
		sh.refuseTunnel(listener, peer, m, l2tp.Result{Code: l2tp.ResultGeneralError, Error: l2tp.ErrorTryAnother, Message: "no tunnel id left"})
		sh.stats.tunnelsRefused++
		sh.log.Error("every tunnel id of a listener is in use; add a listen address", "listener", sh.srv.listeners[listener])
		return
	}
	p.use.tunnels.Add(1)
	sh.accept.known[key] = id
	sh.handOver(id, newTunnel{listener: listener, id: id, peer: lacPeer{peer, sa}, peerID: m.AssignedTunnelID, datagram: datagram, profile: p})
	if m.Has(l2tp.AVPTieBreaker) {
		sh.yield(listener, peer.Addr(), p, id, datagram)
	}
}

// unknownLAC tells of a LAC that was refused.
func (sh *shard) unknownLAC(peer source, sa *SA, host string) {
	if sa == nil {
		sh.complain(dropUnknownLAC, "refused a tunnel of an unknown LAC; if it is a customer's, add a LAC profile that matches it", "lac", peer, "host_name", host)
		return
	}
	sh.complain(dropUnknownLAC, "refused a tunnel: the LAC profile of its SA does not match the LAC's address and host name",
		"lac", peer, "host_name", host, "identity", sa.Identity, "profile", sa.Profile)
}

// handOver sends a tunnel's SCCRQ to its shard. The datagram is copied where
// it leaves this step's arena.
func (sh *shard) handOver(id uint16, m newTunnel) {
	m.datagram = append([]byte(nil), m.datagram...)
	sh.send(dataplane.ShardOf(id, len(sh.srv.shards)), m)
}

// tunnelAdmission says why no tunnel can be taken now, or nothing.
func (sh *shard) tunnelAdmission(p *profile) string {
	switch {
	case sh.srv.draining.Load():
		return "this LNS is draining"
	case p.MaxTunnels > 0 && p.use.tunnels.Load() >= int64(p.MaxTunnels):
		return "too many tunnels"
	}
	return ""
}

// refuseTunnel answers an SCCRQ with a StopCCN and keeps nothing: the
// LAC's retransmission is answered in the same way.
func (sh *shard) refuseTunnel(listener uint16, peer source, m *l2tp.Message, r l2tp.Result) {
	a := sh.accept
	if sec := sh.now.Truncate(time.Second); sec != a.refusedIn {
		a.refusedIn, a.refused = sec, 0
	}
	if a.refused++; a.refused > maxRefusals {
		return
	}
	b := l2tp.AppendRefusal(nil, m, refusalID, r)
	sh.out = append(sh.out, dataplane.Datagram{Listener: listener, Mark: peer.mark, Peer: peer.AddrPort, B: b})
}

// tunnelGone tells shard 0 that a tunnel's id may be used again.
type tunnelGone struct {
	key acceptKey
	id  uint16
}

func (m tunnelGone) deliver(sh *shard) {
	if sh.accept.known[m.key] == m.id {
		delete(sh.accept.known, m.key)
	}
	sh.accept.ids[m.key.listener].release(m.id)
}
