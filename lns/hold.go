package lns

import (
	"bytes"
	"time"

	"culvert/lns/dataplane"
)

// Where Config.Confirm is set (durability: cluster), what tells a LAC or a
// subscriber of a new tunnel or session is held back until the cluster's
// store has the record: the acknowledgement of the SCCCN, the last
// Configure-Ack of IPCP, and what comes behind them for the same tunnel or
// session, so that nothing overtakes. Everything else leaves at once.

// maxHeld bounds the datagrams that one hold keeps; the peer retransmits what
// comes beyond.
const maxHeld = 32

// defaultConfirmWait is how long new state waits for the cluster's store
// unless Config says otherwise. IPCP retransmits after 3 seconds.
const defaultConfirmWait = time.Second

// hold keeps the datagrams of one tunnel (session id 0) or session.
type hold struct {
	key   dataplane.Key
	since time.Duration
	out   []dataplane.Datagram
}

// holding is a shard's holds; nil in most.
type holding struct {
	byKey map[dataplane.Key]*hold
	// fresh are this step's, whose records are about to be submitted.
	fresh []*hold
	// line has all, the oldest first; released ones are left in it.
	line []*hold
}

// holdFrom takes back what the step has sent since from, and holds it and
// what follows for key until the record of this step is confirmed.
func (sh *shard) holdFrom(key dataplane.Key, from int) {
	if sh.srv.cfg.Confirm == nil {
		return
	}
	if sh.held.byKey == nil {
		sh.held.byKey = make(map[dataplane.Key]*hold)
	}
	h := &hold{key: key, since: sh.now}
	for _, d := range sh.out[from:] {
		h.add(d)
	}
	clear(sh.out[from:])
	sh.out = sh.out[:from]
	sh.held.byKey[key] = h
	sh.held.fresh = append(sh.held.fresh, h)
	sh.held.line = append(sh.held.line, h)
}

// add copies d, whose octets belong to the step.
func (h *hold) add(d dataplane.Datagram) {
	if len(h.out) < maxHeld {
		d.B = bytes.Clone(d.B)
		h.out = append(h.out, d)
	}
}

// sendOut puts a datagram of a tunnel or session into the step's output, or
// behind what is held for it.
func (sh *shard) sendOut(key dataplane.Key, d dataplane.Datagram) {
	if len(sh.held.byKey) > 0 {
		if h := sh.held.byKey[key]; h != nil {
			h.add(d)
			return
		}
	}
	sh.out = append(sh.out, d)
}

// askConfirm asks to be told when the store has what this step submitted.
func (sh *shard) askConfirm() {
	if len(sh.held.fresh) == 0 {
		return
	}
	m := confirmed{sh.held.fresh}
	sh.held.fresh = nil
	sh.srv.cfg.Confirm(func() { sh.inbox.put(m) })
}

// confirmed brings the store's word to the shard.
type confirmed struct{ holds []*hold }

func (m confirmed) deliver(sh *shard) {
	for _, h := range m.holds {
		if sh.release(h) {
			sh.stats.confirmed(sh.now - h.since)
		}
	}
}

// releaseLate lets go what has waited for too long. The store is told of it
// later, as with durability: node.
func (sh *shard) releaseLate() {
	n := 0
	for _, h := range sh.held.line {
		late := sh.now-h.since >= sh.srv.cfg.ConfirmWait
		if !late && sh.held.byKey[h.key] == h {
			break
		}
		if sh.release(h) {
			sh.stats.confirmLate++
			sh.stats.confirmed(sh.now - h.since)
		}
		n++
	}
	clear(sh.held.line[:n])
	if sh.held.line = sh.held.line[n:]; len(sh.held.line) == 0 {
		sh.held.line = nil
	}
}

// heldSince says since when a tunnel or session is held. Its record says so as well, for the next life.
func (sh *shard) heldSince(key dataplane.Key) (since time.Duration, is bool) {
	if len(sh.held.byKey) == 0 {
		return 0, false
	}
	h := sh.held.byKey[key]
	if h == nil {
		return 0, false
	}
	return h.since, true
}

// unsure says whether the cluster's store may lack a tunnel or session that was held from since on (its beginning, or
// a restart that was soon after it) because the life before has died meanwhile. That life was there at newest at
// least, so it had let go by then, for better or worse, what was older than ConfirmWait.
// What is unsure is written and held once more; to hold what had been told already costs nobody more than a round trip to the store.
func (r *reviver) unsure(since time.Duration) bool {
	cfg := &r.srv.cfg
	return cfg.Confirm != nil && since > r.newest-cfg.ConfirmWait-lateRelease
}

// lateRelease is how much later than ConfirmWait a step may come that lets go.
const lateRelease = 500 * time.Millisecond

// release sends what was held, unless that has been done.
func (sh *shard) release(h *hold) bool {
	if sh.held.byKey[h.key] != h {
		return false
	}
	delete(sh.held.byKey, h.key)
	sh.out = append(sh.out, h.out...)
	h.out = nil
	return true
}

// confirmed counts one wait.
func (s *shardStats) confirmed(d time.Duration) {
	s.confirms++
	s.confirmSum += d
	s.confirmMax = max(s.confirmMax, d)
}
