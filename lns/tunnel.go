package lns

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"sync/atomic"
	"time"

	"culvert/lns/dataplane"
	"culvert/lns/link"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
	"culvert/sessiondb"
)

// tunnelFacts is what a tunnel's sessions, on whatever shard, know of it. The
// fields above peer never change; those below it are set before the first
// session is made and never change after.
type tunnelFacts struct {
	listener uint16
	id       uint16
	shard    int
	local    netip.AddrPort
	profile  *profile
	// peer is where the LAC is; it moves only where the profile lets it.
	peer atomic.Pointer[lacPeer]
	// moved says that the tunnel's shard is about to hear of a move of peer.
	moved atomic.Bool
	// link is the profile's with a smaller MRU, where that was needed.
	link atomic.Pointer[link.Config]

	peerID     uint16
	peerName   string
	assignment string
}

// tunnel is one control connection; it belongs to its shard.
type tunnel struct {
	timer  timer
	facts  *tunnelFacts
	t      *l2tp.Tunnel
	accept acceptKey
	calls  callTable
	since  time.Time
	up     bool
	down   bool
	trace  trace.Log
	// sa is the SA that the shard's index has it under; waits says that it is gone, and the LAC is
	// expected back; endSA that it goes with the tunnel.
	sa           *SA
	waits, endSA bool
	// touched is set while the tunnel is in the shard's list of that name; stale
	// says that more has changed than kept, which is what the journal has.
	touched, stale bool
	kept           keptNumbers
	// placed are calls that the journal does not know yet, since the LAC is not told that they have arrived.
	placed []placedCall
	// waiting are outgoing calls that are placed when the tunnel is up; yielded says that the tunnel made room
	// for one that the LAC opens.
	waiting []*placing
	yielded bool
	// fail is how the tunnel has lived on after a failure, or is about to; recovers says that it is
	// a recovery tunnel, and of which (RFC 4951).
	fail     *failover
	recovers *recovery
	// sccrq is the digest of the LAC's SCCRQ; 0 where it is not known.
	sccrq uint64
	// clearing are calls whose CDN is on its way, by its number.
	clearing []clearing
	// strays is set where the tunnel comes from another node, or may have come from one before a restart.
	strays *strays
}

// newTunnel brings an SCCRQ from shard 0 to the tunnel's shard.
type newTunnel struct {
	listener, id uint16
	peer         lacPeer
	peerID       uint16
	datagram     []byte
	profile      *profile
	again        bool // a retransmission
}

func (m newTunnel) deliver(sh *shard) {
	t := sh.tunnels[tunnelID{m.listener, m.id}]
	if t != nil && m.again && t.down && t.sccrq != digest(m.datagram) {
		// The tunnel is over and only lingers, and the LAC opens another under the same id: it is no
		// retransmission. The next one will find the id free.
		sh.forgetTunnel(t)
		return
	}
	if t == nil && !m.again {
		t = sh.makeTunnel(m)
	}
	if t != nil {
		sh.tunnelInput(t, m.datagram)
	}
}

func (sh *shard) makeTunnel(m newTunnel) *tunnel {
	p := m.profile
	f := &tunnelFacts{listener: m.listener, id: m.id, shard: sh.idx, local: sh.srv.listeners[m.listener], profile: p}
	f.peer.Store(&m.peer)
	t := &tunnel{
		facts:  f,
		accept: acceptKey{m.listener, m.peer.source, m.peerID},
		t:      l2tp.NewTunnel(l2tp.RoleLNS, m.id, &p.tunnel),
	}
	if m.datagram != nil {
		t.sccrq = digest(m.datagram)
	}
	t.calls.init()
	t.timer.who = t
	sh.traceTunnel(t)
	sh.tunnels[tunnelID{m.listener, m.id}] = t
	sh.bind(t, m.peer.sa)
	sh.noteTroubles(t, m.peer.Addr())
	if m.peer.sa != nil {
		sh.noteSA(t, "the tunnel runs in an SA", m.peer.sa)
	}
	return t
}

// digest tells one SCCRQ from another: a retransmission has the same octets.
func digest(datagram []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(datagram)
	return h.Sum64()
}

// datagram handles one datagram that belongs to this shard.
func (sh *shard) datagram(listener uint16, peer source, b []byte) {
	h, payload, err := l2tp.ParseHeader(b)
	if err != nil {
		sh.complain(dropMalformed, "dropped a malformed datagram", "lac", peer, "err", err)
		return
	}
	switch {
	case !h.Control:
		sh.data(listener, peer, h, payload)
	case h.TunnelID == 0:
		sh.sccrq(listener, peer, h, payload, b)
	default:
		sh.control(listener, peer, h, b)
	}
}

func (sh *shard) control(listener uint16, peer source, h l2tp.Header, b []byte) {
	t := sh.tunnels[tunnelID{listener, h.TunnelID}]
	if t == nil {
		sh.complain(dropNoTunnel, "dropped a control message for no tunnel", "lac", peer, "tunnel", h.TunnelID)
		return
	}
	if !sh.fromPeer(t.facts, peer) {
		return
	}
	sh.tunnelInput(t, b)
}

// tunnelInput lets the control connection take a datagram and carries out what it wants.
func (sh *shard) tunnelInput(t *tunnel, b []byte) {
	sh.traceControl(t, trace.Received, b)
	sh.tunnelStep(t, func(fx *l2tp.Effects) {
		if err := t.t.Receive(sh.now, b, fx); err != nil {
			sh.complain(dropControl, "dropped a control message", "tunnel", t.facts.id, "lac", *t.facts.peer.Load(), "err", err)
		}
	})
}

// tunnelStep runs f and carries out its effects: packets for the LAC, events for us.
func (sh *shard) tunnelStep(t *tunnel, f func(*l2tp.Effects)) {
	fx := &sh.tfx
	packets, events, sent, resent, next := len(fx.Packets), len(fx.Events), len(sh.out), t.t.Retransmissions(), t.t.Ns()
	f(fx)
	sh.emit(t.facts, fx.Packets[packets:])
	sh.traceSent(t, fx.Packets[packets:], resent, next)
	// What an event leads to may add events of its own, and takes them away again.
	for i, n := events, len(fx.Events); i < n; i++ {
		sh.tunnelEvent(t, &fx.Events[i], sent)
	}
	fx.Events = fx.Events[:events]
	if t.recovers != nil {
		sh.recoveryStepped(t)
		return
	}
	if t.t.Done() {
		sh.forgetTunnel(t)
		return
	}
	sh.touch(t)
	sh.cleared(t)
	if t.endSA && t.t.Unacked() == 0 {
		sh.releaseSA(t) // the LAC has the StopCCN; the tunnel lingers for nobody
	}
	if !t.waits { // else the timer is the patience with its LAC
		sh.wheel.set(&t.timer, min(t.t.Deadline(), t.fail.due()))
	}
}

func (t *tunnel) expire(sh *shard) {
	if sh.isShut(t.facts.listener) {
		sh.wheel.set(&t.timer, sh.now+shutRetry)
		return
	}
	switch {
	case t.recovers != nil && t.recovers.stopAt <= sh.now:
		sh.stopRecovery(t)
		return
	case !t.waits && t.fail.due() <= sh.now:
		sh.beginRecovery(t)
		return
	}
	if t.waits {
		sh.cut(t, CauseIPsecDown, "the LAC did not come back with a new SA in time")
		return
	}
	sh.tunnelStep(t, func(fx *l2tp.Effects) { t.t.Tick(sh.now, fx) })
}

func (sh *shard) tunnelEvent(t *tunnel, e *l2tp.Event, sent int) {
	if t.recovers != nil {
		sh.recoveryEvent(t, e)
		return
	}
	switch e.Kind {
	case l2tp.EventUp:
		sh.tunnelUp(t, sent)
	case l2tp.EventMessage:
		sh.callMessage(t, e)
	case l2tp.EventBadMessage:
		sh.badMessage(t, e)
	case l2tp.EventDown:
		sh.tunnelDown(t, e)
	}
}

// tunnelUp records an established tunnel. From here on facts is complete. What
// the step has sent since sent tells the LAC of it.
func (sh *shard) tunnelUp(t *tunnel, sent int) {
	f := t.facts
	f.peerID, f.peerName = t.t.PeerID(), t.t.PeerName()
	f.assignment = assignmentOf(f.profile, f.id)
	t.since, t.up = sh.srv.clock.Wall(), true
	t.stale = true
	sh.stats.tunnelsUp++
	sh.holdFrom(dataplane.Key{Listener: f.listener, Tunnel: f.id}, sent)
	at := f.peer.Load()
	sh.log.Info("tunnel up", append([]any{"tunnel", f.id, "lac", *at, "profile", f.profile.Name, "host_name", f.peerName, "protected", at.sa != nil}, at.logSA()...)...)
	sh.tunnelEventFor(t, EventTunnelUp, "", "")
	sh.placeWaiting(t)
}

// assignmentOf names a tunnel for AAA.
func assignmentOf(p *profile, id uint16) string { return fmt.Sprintf("%s-%d", p.Name, id) }

func (f *tunnelFacts) key() sessiondb.TunnelKey {
	return sessiondb.TunnelKey{Local: f.local, ID: f.id}
}

// tunnelDown ends all sessions of a tunnel at once: its StopCCN ends them at
// the LAC too, so nothing is sent for any of them.
func (sh *shard) tunnelDown(t *tunnel, e *l2tp.Event) {
	if t.down {
		return
	}
	sh.traceStopped(t, e)
	cause := CauseTunnelDown
	switch {
	case sh.closing:
		cause = CauseShutdown
	case e.Reason == l2tp.ReasonLocal:
		cause = CauseAdminReset
	case e.Reason == l2tp.ReasonTimeout:
		cause = CauseTunnelTimeout
	}
	sh.tunnelOver(t, cause, "", e.Reason.String(), e.Result.String())
}

// tunnelOver ends all sessions of a tunnel, with the cause and a detail for people, and tells of its
// end: the reason for watchers, the result as the LAC was or would have been told.
func (sh *shard) tunnelOver(t *tunnel, cause Cause, detail, reason, result string) {
	t.down = true
	t.failWaiting(reason + ", " + result)
	if t.fail != nil {
		t.fail.next = never
	}
	for shard, ids := range t.calls.byShard(len(sh.srv.shards)) {
		if len(ids) > 0 {
			sh.send(shard, callsDown{facts: t.facts, ids: ids, cause: cause, detail: detail})
		}
	}
	sh.dropCalls(t)
	f := t.facts
	f.profile.use.tunnels.Add(-1)
	level := sh.log.Info
	if !t.up && !t.yielded {
		level = sh.log.Warn
	}
	level("tunnel down", "tunnel", f.id, "lac", *f.peer.Load(), "profile", f.profile.Name, "reason", reason, "result", result, "sessions", t.calls.len())
	if t.up {
		sh.stats.tunnelsDown++
		sh.changes = append(sh.changes, sessiondb.Change{Op: sessiondb.DropTunnel, Tunnel: &sessiondb.Tunnel{Key: f.key(), Node: sh.srv.cfg.Node}})
		sh.tunnelEventFor(t, EventTunnelDown, reason, result)
		return
	}
	if t.yielded {
		return
	}
	sh.stats.tunnelsFailed++
}

// forgetTunnel lets a tunnel go whose lingering is over, and gives its id back.
func (sh *shard) forgetTunnel(t *tunnel) {
	sh.releaseSA(t)
	sh.wheel.stop(&t.timer)
	sh.buryTunnel(t)
	delete(sh.tunnels, tunnelID{t.facts.listener, t.facts.id})
	sh.send(0, tunnelGone{t.accept, t.facts.id})
}

func (sh *shard) tunnelEventFor(t *tunnel, kind EventKind, cause, detail string) {
	if !sh.srv.hub.watched() {
		return
	}
	f := t.facts
	sh.events = append(sh.events, Event{
		At: sh.srv.clock.Wall(), Kind: kind, Cause: cause, Detail: detail,
		Session: SessionInfo{Local: f.local, Peer: f.peer.Load().AddrPort, Tunnel: f.id, PeerTunnel: f.peerID, Profile: f.profile.Name},
	})
}
