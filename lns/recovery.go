package lns

import (
	"slices"
	"time"

	"culvert/lns/dataplane"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
)

// recovery makes a tunnel a recovery tunnel (RFC 4951 section 3.2.1). It lives on the shard of
// the tunnel that it is for, is in no record and counts for nothing.
type recovery struct {
	old *tunnel
	// suggested are the numbers in our SCCRP.
	suggested l2tp.SuggestedSequence
	// stopAt is when it is ended from here, should the LAC not do so.
	stopAt time.Duration
}

const (
	// recoveryRetry is the pause before another recovery tunnel, where the one before came to nothing.
	recoveryRetry = time.Second
	// maxRecoveries bounds the recovery tunnels that are being set up for one tunnel.
	maxRecoveries = 4
)

// beginRecovery asks for the id of a recovery tunnel, unless one of the LAC's is under way: there is to be
// one only.
func (sh *shard) beginRecovery(t *tunnel) {
	f := t.fail
	cycle := t.facts.profile.tunnel.Control.Cycle()
	if f.until == 0 {
		f.until = sh.now + 2*cycle
	}
	remote := slices.ContainsFunc(f.recoveries, func(r *tunnel) bool { return r.t.Role() == l2tp.RoleLNS })
	switch {
	case sh.now >= f.until && !remote:
		sh.recoveryFailed(t, "the LAC did not answer in time")
		return
	case remote:
		f.next = sh.now + recoveryRetry
	default:
		f.next = sh.now + cycle + recoveryRetry // unless its end is heard of before
		sh.send(0, recoverTo{t.facts, sh.idx})
	}
	sh.wheel.set(&t.timer, f.next)
}

// recoverTo has shard 0 find the id of a recovery tunnel. No SCCRQ comes from the source in its key.
type recoverTo struct {
	old   *tunnelFacts
	shard int
}

func (m recoverTo) deliver(sh *shard) {
	id, ok := sh.accept.takeOn(m.old.listener, m.shard, len(sh.srv.shards))
	if !ok {
		sh.log.Error("no tunnel id is left for the recovery of a tunnel; add a listen address", "tunnel", m.old.id, "listener", sh.srv.listeners[m.old.listener])
		return
	}
	key := acceptKey{listener: m.old.listener, peer: source{mark: uint32(id)}}
	sh.accept.known[key] = id
	sh.send(m.shard, openRecovery{m.old, id, key})
}

// takeOn takes an id whose tunnel lives on a shard.
func (a *acceptor) takeOn(listener uint16, shard, shards int) (uint16, bool) {
	var others []uint16
	defer func() {
		for _, id := range others {
			a.ids[listener].release(id)
		}
	}()
	for range 8 * shards {
		id, ok := a.ids[listener].take()
		if !ok || dataplane.ShardOf(id, shards) == shard {
			return id, ok
		}
		others = append(others, id)
	}
	return 0, false
}

// openRecovery opens a recovery tunnel to the LAC, on the shard of the tunnel that it is for.
type openRecovery struct {
	old *tunnelFacts
	id  uint16
	key acceptKey
}

func (m openRecovery) deliver(sh *shard) {
	old := sh.tunnels[tunnelID{m.old.listener, m.old.id}]
	if old == nil || old.facts != m.old || old.down || !old.fail.recovering() {
		sh.send(0, tunnelGone{m.key, m.id})
		return
	}
	t := sh.makeRecovery(old, m.id, m.key, *old.facts.peer.Load(), l2tp.RoleLAC)
	sh.log.Info("opening a recovery tunnel", "tunnel", old.facts.id, "recovery_tunnel", m.id, "lac", *old.facts.peer.Load())
	sh.tunnelStep(t, func(fx *l2tp.Effects) {
		t.t.OpenRecovery(sh.now, l2tp.Recovery{Tunnel: old.facts.id, Remote: old.facts.peerID}, fx)
	})
}

func (sh *shard) makeRecovery(old *tunnel, id uint16, key acceptKey, peer lacPeer, role l2tp.Role) *tunnel {
	p := old.facts.profile
	f := &tunnelFacts{listener: old.facts.listener, id: id, shard: sh.idx, local: old.facts.local, profile: p}
	f.peer.Store(&peer)
	t := &tunnel{facts: f, accept: key, t: l2tp.NewTunnel(role, id, &p.tunnel), recovers: &recovery{old: old, stopAt: never}}
	t.timer.who = t
	sh.tunnels[tunnelID{f.listener, id}] = t
	fail := old.failure()
	fail.recoveries = append(fail.recoveries, t)
	return t
}

// recoverySCCRQ takes a LAC's SCCRQ with a Tunnel Recovery, on shard 0, and hands it to the shard of the tunnel
// that is to be recovered.
func (sh *shard) recoverySCCRQ(listener uint16, peer lacPeer, p *profile, m *l2tp.Message, datagram []byte) {
	shards := len(sh.srv.shards)
	shard := dataplane.ShardOf(m.Recovery.Remote, shards)
	id, ok := sh.accept.takeOn(listener, shard, shards)
	if !ok {
		sh.refuseTunnel(listener, peer.source, m, l2tp.Result{Code: l2tp.ResultGeneralError, Error: l2tp.ErrorResources, Message: "no tunnel id left"})
		return
	}
	key := acceptKey{listener, peer.source, m.AssignedTunnelID}
	sh.accept.known[key] = id
	sh.send(shard, newRecovery{p, peer, key, id, m.Recovery, append([]byte(nil), datagram...)})
}

// newRecovery is a LAC's SCCRQ for a recovery tunnel.
type newRecovery struct {
	profile  *profile
	peer     lacPeer
	key      acceptKey
	id       uint16
	recovery l2tp.Recovery
	datagram []byte
}

func (m newRecovery) deliver(sh *shard) {
	old := sh.tunnels[tunnelID{m.key.listener, m.recovery.Remote}]
	if why := m.impossible(old); why != "" {
		sh.log.Warn("refused a recovery tunnel", "tunnel", m.recovery.Remote, "lac", m.peer, "profile", m.profile.Name, "why", why)
		sh.send(0, refuseRecovery{m.key, m.id, m.peer})
		return
	}
	if !sh.tieWith(old, m.datagram) {
		sh.send(0, tunnelGone{m.key, m.id})
		return
	}
	t := sh.makeRecovery(old, m.id, m.key, m.peer, l2tp.RoleLNS)
	t.recovers.suggested = old.t.Suggest()
	t.t.AnswerRecovery(t.recovers.suggested)
	sh.tunnelNote(old, trace.SourceLNS, "the LAC opens a recovery tunnel (RFC 4951)")
	sh.tunnelInput(t, m.datagram)
}

// impossible says why a tunnel cannot be recovered, or nothing (RFC 4951 section 3.2.1).
func (m *newRecovery) impossible(old *tunnel) string {
	switch {
	case old == nil || !old.up || old.down || old.facts.peerID != m.recovery.Tunnel:
		return "there is no tunnel of these ids"
	case old.facts.profile.Name != m.profile.Name:
		return "the tunnel is of another LAC profile"
	case !old.t.Failover().Control:
		return "failover was not negotiated for the tunnel"
	case old.facts.peer.Load().Addr() != m.peer.Addr() && !m.profile.FloatPeer:
		return "the tunnel's LAC has another address"
	case (old.facts.peer.Load().sa == nil) != (m.peer.sa == nil):
		return "either this or the tunnel is protected by IPsec, and not the other"
	case old.fail != nil && len(old.fail.recoveries) >= maxRecoveries:
		return "too many of its recovery tunnels are being set up"
	}
	return ""
}

// refuseRecovery has shard 0 refuse a recovery tunnel, where refusals are paced.
type refuseRecovery struct {
	key  acceptKey
	id   uint16
	peer lacPeer
}

func (m refuseRecovery) deliver(sh *shard) {
	tunnelGone{m.key, m.id}.deliver(sh)
	sh.stats.tunnelsRefused++
	sh.refuseTunnel(m.key.listener, m.peer.source, &l2tp.Message{AssignedTunnelID: m.key.peerID}, l2tp.ResultNoRecovery)
}

// tieWith breaks the tie with recovery tunnels of ours for the same tunnel, which has failed at both
// ends then (RFC 4951 appendix B). It says whether the LAC's SCCRQ is to be answered.
func (sh *shard) tieWith(old *tunnel, datagram []byte) bool {
	if old.fail == nil {
		return true
	}
	for _, r := range slices.Clone(old.fail.recoveries) {
		tie := l2tp.TieNone
		sh.tunnelStep(r, func(fx *l2tp.Effects) { tie = r.t.Collide(sh.now, datagram, fx) })
		if tie == l2tp.TieBoth {
			sh.recoverAgain(old)
		}
		if tie == l2tp.TieWon || tie == l2tp.TieBoth {
			return false
		}
	}
	return true
}

// recoverAgain has another recovery tunnel opened soon.
func (sh *shard) recoverAgain(old *tunnel) {
	old.fail.next = sh.now + recoveryRetry
	sh.wheel.set(&old.timer, old.fail.next)
}

// recoveryEvent is an event of a recovery tunnel.
func (sh *shard) recoveryEvent(t *tunnel, e *l2tp.Event) {
	old := t.recovers.old
	switch e.Kind {
	case l2tp.EventUp:
		if old.down {
			sh.stopRecovery(t)
			return
		}
		sh.recovered(t, e.Message.SuggestedSequence)
	case l2tp.EventDown:
		t.down = true
		sh.recoveryDown(t, old, e)
	}
}

// recoveryDown is the end of a recovery tunnel, which is none of the recovery where that was over before.
func (sh *shard) recoveryDown(t, old *tunnel, e *l2tp.Event) {
	old.fail.recoveries = slices.DeleteFunc(old.fail.recoveries, func(r *tunnel) bool { return r == t })
	ours := t.t.Role() == l2tp.RoleLAC
	switch {
	case old.down || !old.fail.recovering() || e.Reason == l2tp.ReasonTie:
	case ours && e.Reason == l2tp.ReasonPeer:
		sh.recoveryFailed(old, "the LAC refused: "+e.Result.StopCCN())
	case ours && e.Reason == l2tp.ReasonAuth:
		sh.recoveryFailed(old, "the LAC could not prove that it has the tunnel's secret")
	default:
		sh.recoverAgain(old)
	}
}

// recovered resets the control channel of the old tunnel (RFC 4951 section 3.2.2) and compares its
// sessions with the LAC's.
func (sh *shard) recovered(t *tunnel, s l2tp.SuggestedSequence) {
	old := t.recovers.old
	f, kind := old.failure(), failoverRecovered
	ours := t.t.Role() == l2tp.RoleLAC
	if !ours {
		kind = failoverPeer
		s = l2tp.SuggestedSequence{Ns: t.recovers.suggested.Nr, Nr: t.recovers.suggested.Ns}
		t.recovers.stopAt = sh.now + t.facts.profile.tunnel.Control.Cycle()
	}
	f.kind, f.at, f.next, f.until = kind, sh.srv.clock.Wall(), never, 0
	sh.stats.failovers[kind]++
	sh.log.Info("control channel reset: tunnel recovered", "tunnel", old.facts.id, "lac", *old.facts.peer.Load(), "by", kind, "ns", s.Ns, "nr", s.Nr, "sessions", old.calls.len())
	sh.tunnelNote(old, trace.SourceLNS, "control channel reset: recovered by RFC 4951")
	sh.overtaken(old, t)
	if ours {
		sh.stopRecovery(t)
	}
	sh.resetControl(old, s)
	sh.synchronize(old)
}

// overtaken ends recovery tunnels that were begun before t: they must not reset the tunnel once more.
func (sh *shard) overtaken(old, t *tunnel) {
	list := old.fail.recoveries
	old.fail.recoveries = slices.Clone(list[slices.Index(list, t)+1:])
	for _, r := range list[:max(0, slices.Index(list, t))] {
		sh.tunnelStep(r, func(fx *l2tp.Effects) { r.t.Abandon(fx) })
	}
}

// resetControl goes on with new numbers. CDNs that the LAC has not acknowledged are sent once more: what was
// queued before the failure is forgotten by the reset, what was queued since has new numbers.
func (sh *shard) resetControl(t *tunnel, s l2tp.SuggestedSequence) {
	held, shift := t.t.Held(), s.Ns-t.t.Una()
	list := t.clearing
	if !held {
		t.clearing = nil
	}
	for i := range t.clearing {
		t.clearing[i].ns += shift
	}
	sh.tunnelStep(t, func(fx *l2tp.Effects) { t.t.Reset(sh.now, s.Ns, s.Nr, fx) })
	if held {
		return
	}
	for _, c := range list {
		sh.clear(t, c.peerID, c.id, newCDN(c.id, CauseFailover.result(nil, "it had ended before the tunnel was recovered")))
	}
}

// stopRecovery ends a recovery tunnel that has done its duty.
func (sh *shard) stopRecovery(t *tunnel) {
	t.recovers.stopAt = never
	sh.tunnelStep(t, func(fx *l2tp.Effects) { t.t.Stop(sh.now, l2tp.Result{Code: l2tp.StopGeneral}, fx) })
}

// recoveryFailed clears a tunnel and its sessions silently (RFC 4951 section 3.2.1).
func (sh *shard) recoveryFailed(t *tunnel, why string) {
	sh.stats.failovers[failoverFailed]++
	for _, r := range slices.Clone(t.fail.recoveries) {
		sh.tunnelStep(r, func(fx *l2tp.Effects) { r.t.Abandon(fx) })
	}
	sh.tunnelNote(t, trace.SourceLNS, "recovery failed: "+why)
	sh.tunnelOver(t, CauseRecoveryFailed, why, "recovery failed", why)
	sh.forgetTunnel(t)
}

// recoveryStepped forgets a recovery tunnel that is over: at once when the LAC has our StopCCN.
func (sh *shard) recoveryStepped(t *tunnel) {
	id := tunnelID{t.facts.listener, t.facts.id}
	if sh.tunnels[id] != t {
		return
	}
	if t.t.Done() || t.down && t.t.Role() == l2tp.RoleLAC && t.t.Unacked() == 0 || t.t.State() == l2tp.TunnelIdle {
		sh.wheel.stop(&t.timer)
		delete(sh.tunnels, id)
		f := t.recovers.old.fail
		f.recoveries = slices.DeleteFunc(f.recoveries, func(r *tunnel) bool { return r == t })
		sh.send(0, tunnelGone{t.accept, t.facts.id})
		return
	}
	sh.wheel.set(&t.timer, min(t.t.Deadline(), t.recovers.stopAt))
}
