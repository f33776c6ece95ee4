package lns

import (
	"time"

	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
)

// A tunnel that comes from another node, be it in an earlier life of this one, comes without the calls that were being set up there,
// and without what that node had not written yet: the LAC may hold calls that nobody here
// knows. It would wait for them for long, and a subscriber whose call came up in the last
// moment would talk to nobody for ever, so the first sign of life of such a call is
// answered with a CDN. The LAC's id of the call is not known: the Session ID in the header is 0,
// and the Assigned Session ID, which the LAC knows from our ICRP, says which call it is (RFC 2661
// sections 3.1 and 4.4.4).

// strays are the ids of a tunnel's calls that only the node before could know.
type strays struct {
	// limit is the first id that may have been given here.
	limit uint16
	// settled are those below that were answered, or have lived here.
	settled map[uint16]bool
}

// strayReports bounds how many data messages of unknown calls a shard reports to the
// tunnels' shards, in strayEvery.
const (
	strayReports = 64
	strayEvery   = time.Second
)

// strayData tells a tunnel's shard that a LAC sends data for a call that nobody knows.
type strayData struct {
	tunnel tunnelID
	id     uint16
	peer   source
}

func (m strayData) deliver(sh *shard) {
	if t := sh.tunnels[m.tunnel]; t != nil && t.facts.peer.Load().source == m.peer {
		sh.clearStray(t, m.id)
	}
}

// mayHaveStrays notes that a revived tunnel may have calls that nobody here knows. In a cluster
// that holds for what this node's own journal has as well: it may have taken the tunnel over in an earlier life.
func (sh *shard) mayHaveStrays(t *tunnel, adopt bool) {
	if !adopt && !sh.srv.cfg.Elsewhere {
		return
	}
	t.strays = &strays{limit: t.calls.ids.fresh}
	sh.srv.adopted.Store(true)
}

// stray reports data for no session where the tunnel may be another node's former.
func (sh *shard) stray(listener uint16, peer source, h l2tp.Header) {
	if !sh.srv.adopted.Load() || h.TunnelID == 0 || h.SessionID == 0 {
		return
	}
	if sh.now >= sh.strayAt {
		sh.strayAt, sh.strays = sh.now+strayEvery, 0
	}
	if sh.strays++; sh.strays <= strayReports {
		sh.send(dataplane.ShardOf(h.TunnelID, len(sh.srv.shards)), strayData{tunnelID{listener, h.TunnelID}, h.SessionID, peer})
	}
}

// clearStray has the LAC forget a call of the node before that nobody here knows.
func (sh *shard) clearStray(t *tunnel, id uint16) {
	s := t.strays
	if s == nil || t.down || !t.up || id == 0 || id >= s.limit || s.settled[id] {
		return
	}
	if _, known := t.calls.ours[id]; known {
		return
	}
	s.settle(id)
	sh.log.Info("a call that was being set up on another node is cleared", "tunnel", t.facts.id, "lac", *t.facts.peer.Load(), "session", id)
	cdn := newCDN(id, CauseNodeRestart.result(&t.facts.profile.LACProfile, CauseNodeRestart.String()))
	sh.tunnelStep(t, func(fx *l2tp.Effects) { t.t.Send(sh.now, cdn, 0, fx) })
}

// settle notes that nothing more is to be said of an id.
func (s *strays) settle(id uint16) {
	if s == nil || id >= s.limit {
		return
	}
	if s.settled == nil {
		s.settled = map[uint16]bool{}
	}
	s.settled[id] = true
}
