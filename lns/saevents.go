package lns

import (
	"net/netip"
	"slices"
	"sync"
)

// saKey names an SA among those that live: by its mark or, where there are none, by its peer.
type saKey struct {
	mark              uint32
	peer              netip.Addr
	profile, identity string
}

func keyOf(sa *SA) saKey {
	if sa.Mark != 0 {
		return saKey{mark: sa.Mark}
	}
	return saKey{peer: sa.Remote.Addr(), profile: sa.Profile, identity: sa.Identity}
}

// peerName names the peer of an SA through all its SAs; see SamePeer.
func peerName(sa *SA) saKey { return saKey{profile: sa.Profile, identity: sa.Identity} }

// saTunnels are a shard's tunnels that are protected, by SA, and those of them whose
// SA is gone and whose LAC is expected back, by peer. They belong to the shard.
type saTunnels struct {
	by      map[saKey][]*tunnel
	waiting map[saKey][]*tunnel
}

func (x *saTunnels) put(m *map[saKey][]*tunnel, k saKey, t *tunnel) {
	if *m == nil {
		*m = make(map[saKey][]*tunnel)
	}
	(*m)[k] = append((*m)[k], t)
}

func (x *saTunnels) remove(m map[saKey][]*tunnel, k saKey, t *tunnel) {
	list := m[k]
	if i := slices.Index(list, t); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(m, k)
		return
	}
	m[k] = list
}

// saUses counts the tunnels in each SA, on all shards.
type saUses struct {
	mu sync.Mutex
	n  map[saKey]int
}

// add changes the number of tunnels in an SA and returns it.
func (u *saUses) add(k saKey, d int) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n == nil {
		u.n = make(map[saKey]int)
	}
	u.n[k] += d
	n := u.n[k]
	if n == 0 {
		delete(u.n, k)
	}
	return n
}

// bind makes the index follow where the tunnel's LAC is now.
func (sh *shard) bind(t *tunnel, sa *SA) {
	if t.sa == sa {
		return
	}
	sh.unbind(t)
	if t.sa = sa; sa != nil {
		sh.sas.put(&sh.sas.by, keyOf(sa), t)
		sh.srv.saUses.add(keyOf(sa), 1)
	}
}

// unbind takes a tunnel out of the index, and returns how many others its SA has.
func (sh *shard) unbind(t *tunnel) (others int) {
	sh.resume(t)
	if t.sa == nil {
		return 0
	}
	k := keyOf(t.sa)
	sh.sas.remove(sh.sas.by, k, t)
	t.sa = nil
	return sh.srv.saUses.add(k, -1)
}

// releaseSA takes a tunnel that is over out of its SA, which ends with its last tunnel where an operator
// has stopped that.
func (sh *shard) releaseSA(t *tunnel) {
	sa := t.sa
	if others := sh.unbind(t); t.endSA && sa != nil && others == 0 {
		sh.srv.cfg.IPsec.Terminate(sa.Mark, "its last tunnel was stopped by an operator")
	}
}

// saWatch hears of SAs for the server, on a goroutine of the key exchange's.
type saWatch struct{ srv *Server }

// SAUp implements SAHandler.
func (w saWatch) SAUp(sa SA) {
	w.srv.cfg.Plane.SetMark(sa.Mark, true)
	w.srv.tellShards(saUp{&sa})
}

// SAGone implements SAHandler. The plane stops at once, the shards as soon as they hear it.
func (w saWatch) SAGone(sa SA, end SAEnd) {
	w.srv.cfg.Plane.SetMark(sa.Mark, false)
	w.srv.tellShards(saGone{&sa, end})
}

// tellShards gives every shard a message.
func (s *Server) tellShards(m message) {
	for _, sh := range s.shards {
		sh.inbox.put(m)
	}
}

// saUp tells a shard of an SA that is new, or changed.
type saUp struct{ sa *SA }

func (m saUp) deliver(sh *shard) {
	for _, t := range slices.Clone(sh.sas.by[keyOf(m.sa)]) {
		at := t.facts.peer.Load()
		if at.sa == nil || keyOf(at.sa) != keyOf(m.sa) || !SamePeer(*at.sa, *m.sa) || *at.sa == *m.sa {
			continue
		}
		sh.noteSA(t, "SA has new keys", m.sa)
		sh.move(t.facts, at, &lacPeer{at.source, m.sa})
	}
	for _, t := range slices.Clone(sh.sas.waiting[peerName(m.sa)]) {
		at := t.facts.peer.Load()
		if m.sa.Remote.Addr() == at.Addr() || m.sa.ESP.Tunnel {
			sh.noteSA(t, "the LAC is back in a new SA", m.sa)
			sh.move(t.facts, at, &lacPeer{source{at.AddrPort, m.sa.Mark}, m.sa})
		}
	}
}

// saGone tells a shard that an SA is no more.
type saGone struct {
	sa  *SA
	end SAEnd
}

func (m saGone) deliver(sh *shard) {
	for _, t := range slices.Clone(sh.sas.by[keyOf(m.sa)]) {
		at := t.facts.peer.Load()
		if t.down || at.sa == nil || keyOf(at.sa) != keyOf(m.sa) {
			continue // it has moved to another SA just now
		}
		sh.saLost(t, at, m.end)
	}
}

// saLost ends a tunnel whose SA is gone, or has it follow or wait for its LAC.
func (sh *shard) saLost(t *tunnel, at *lacPeer, end SAEnd) {
	f := t.facts
	if end.Heir != 0 {
		if heir, ok := sh.srv.cfg.IPsec.Lookup(end.Heir); ok && SamePeer(heir, *at.sa) && heir.Remote.Addr() == at.Addr() {
			sh.noteSAGone(t, end, "the LAC has another one already")
			sh.move(f, at, &lacPeer{source{at.AddrPort, heir.Mark}, &heir})
			return
		}
	}
	if end.Patience > 0 && t.up {
		sh.log.Warn("a tunnel has lost its SA and waits for its LAC to come back", append(at.logSA(), "tunnel", f.id, "lac", *at,
			"cause", string(end.Cause), "detail", end.Detail, "patience", end.Patience, "sessions", t.calls.len())...)
		sh.noteSAGone(t, end, "the tunnel waits for its LAC")
		sh.resume(t)
		t.waits = true
		sh.sas.put(&sh.sas.waiting, peerName(at.sa), t)
		sh.wheel.set(&t.timer, sh.now+end.Patience)
		return
	}
	sh.noteSAGone(t, end, "the tunnel ends")
	cause := CauseIPsecDown
	if end.Cause == SAEndLocal || end.Cause == SAEndProfile {
		cause = CauseAdminReset
	}
	detail := "SA gone: " + string(end.Cause)
	if end.Detail != "" {
		detail += ": " + end.Detail
	}
	sh.cut(t, cause, detail)
}

// resume takes a tunnel out of those that wait for their LAC.
func (sh *shard) resume(t *tunnel) {
	if t.waits {
		t.waits = false
		sh.sas.remove(sh.sas.waiting, peerName(t.sa), t)
	}
}

// cut ends a tunnel and all its sessions without a word to the LAC: there is nothing
// left to say it through.
func (sh *shard) cut(t *tunnel, cause Cause, detail string) {
	sh.tunnelOver(t, cause, detail, "SA gone", detail)
	sh.forgetTunnel(t)
}
