package lns

import (
	"slices"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/lns/link"
	"culvert/sessiondb"
)

// What a restart needs is journaled before the step's packets leave, so that
// nothing is forgotten that a LAC holds an acknowledgement of:
//
//   - a tunnel, whenever its Ns or Nr has moved: once a step, whatever came in it;
//   - a call, in the same step as the Nr of its ICRQ, until the LAC has
//     cleared it or has acknowledged our CDN. It belongs to the tunnel's shard, so
//     it is exact together with the sequence numbers;
//   - a session, when it comes up and when it is accounted. It belongs to
//     the session's shard, which may be a moment behind: a call without a
//     session is to be cleared at the LAC, a session without a call here.

// touch has the tunnel's sequence numbers looked at before the step's packets leave.
func (sh *shard) touch(t *tunnel) {
	if !t.touched {
		t.touched = true
		sh.touched = append(sh.touched, t)
	}
}

// keepTunnels journals the tunnels of this step of which the LAC is about to be told new numbers, with the calls
// that these acknowledge. What it is not told it sends again, so that a restart needs no record of it. That all
// of ours is acknowledged is worth a record too: a restart then has no gap to fill.
func (sh *shard) keepTunnels() {
	for i, t := range sh.touched {
		sh.touched[i], t.touched = nil, false
		s, ok := t.t.Save()
		if !ok || !t.up || t.down {
			continue
		}
		told := s.Ns != t.kept.ns || int16(t.t.Told()-t.kept.nr) > 0
		empty := s.Nr == t.kept.nr && s.Una != t.kept.una && s.Una == s.Ns
		if !told && !empty && !t.stale {
			continue
		}
		t.kept, t.stale = keptNumbers{s.Ns, s.Nr, s.Una}, false
		for _, c := range t.placed {
			sh.keepCall(t, c.id, c.peerID)
		}
		t.placed = t.placed[:0]
		sh.changes = append(sh.changes, sessiondb.Change{Op: sessiondb.PutTunnel, Tunnel: sh.tunnelRecord(t)})
	}
	sh.touched = sh.touched[:0]
}

// keptNumbers are the sequence numbers of a tunnel that the journal has.
type keptNumbers struct{ ns, nr, una uint16 }

func (sh *shard) tunnelRecord(t *tunnel) *sessiondb.Tunnel {
	f, held, clock := t.facts, int64(0), keptClock{}
	if since, is := sh.heldSince(dataplane.Key{Listener: f.listener, Tunnel: f.id}); is {
		held = sh.srv.clock.Wall().Add(since - sh.now).UnixNano()
		clock = keptClock{boot: sh.srv.boot, at: sh.now, held: since}
	}
	s, _ := t.t.Save()
	at := f.peer.Load()
	return &sessiondb.Tunnel{
		Key: f.key(), Node: sh.srv.cfg.Node, Peer: at.AddrPort, PeerID: f.peerID, PeerName: f.peerName,
		Profile: f.profile.Name, PeerWindow: s.PeerWindow, Ns: s.Ns, Nr: s.Nr, Since: t.since,
		State: keptTunnel{una: s.Una, vendor: s.PeerVendor, sa: at.sa, failover: s.Failover, behind: s.Behind, last: t.down, fresh: t.calls.ids.fresh,
			held: held, clock: clock}.append(nil),
	}
}

// keepCall journals that the LAC holds a call.
func (sh *shard) keepCall(t *tunnel, id, peerID uint16) {
	sh.changes = append(sh.changes, sessiondb.Change{Op: sessiondb.PutCall, Call: &sessiondb.Call{
		Key: sessiondb.SessionKey{Tunnel: t.facts.key(), ID: id}, Node: sh.srv.cfg.Node, PeerID: peerID,
	}})
}

// placedCall is a call whose ICRQ is not acknowledged: the journal gets to know of it when it is.
type placedCall struct{ id, peerID uint16 }

// dropCall journals that the LAC holds a call no more.
func (sh *shard) dropCall(t *tunnel, id uint16) {
	if i := slices.IndexFunc(t.placed, func(c placedCall) bool { return c.id == id }); i >= 0 {
		t.placed = slices.Delete(t.placed, i, i+1)
		return
	}
	sh.changes = append(sh.changes, sessiondb.Change{Op: sessiondb.DropCall, Call: &sessiondb.Call{
		Key: sessiondb.SessionKey{Tunnel: t.facts.key(), ID: id}, Node: sh.srv.cfg.Node,
	}})
}

// clearing is a call that ended here; the LAC knows when it has acknowledged ns, the CDN's number.
type clearing struct{ ns, id, peerID uint16 }

// cleared drops the calls whose CDN the LAC has acknowledged.
func (sh *shard) cleared(t *tunnel) {
	n := 0
	for _, c := range t.clearing {
		if int16(t.t.Una()-c.ns) <= 0 {
			break
		}
		n++
		if _, again := t.calls.ours[c.id]; !again { // else the id has a new call, and the record is that one's
			sh.dropCall(t, c.id)
		}
	}
	if n > 0 {
		t.clearing = append(t.clearing[:0], t.clearing[n:]...)
		if len(t.clearing) == 0 && cap(t.clearing) > 64 {
			t.clearing = nil
		}
	}
}

// dropCalls forgets all calls of a tunnel that is down.
func (sh *shard) dropCalls(t *tunnel) {
	for _, ids := range t.calls.byShard(1) {
		for _, id := range ids {
			if !t.calls.ours[id].cleared {
				sh.dropCall(t, id)
			}
		}
	}
	for _, c := range t.clearing {
		if _, again := t.calls.ours[c.id]; !again {
			sh.dropCall(t, c.id)
		}
	}
	t.clearing = nil
}

// keepSession journals what a restart needs of an established session. usage
// is an accounting record of it, encoded.
func (sh *shard) keepSession(s *session, usage []byte, now time.Time, c dataplane.Counters) {
	sh.changes = append(sh.changes, sessiondb.Change{Op: sessiondb.PutSession, Session: sh.record(s, sh.state(s, usage), now, c)})
}

// keepAgain journals a session whose link or timers have changed.
func (sh *shard) keepAgain(s *session) {
	c, now := sh.counters(s), sh.srv.clock.Wall()
	u := sh.usage(s, aaa.UsageInterim, now, c)
	sh.keepSession(s, sh.encode(s, &u), now, c)
}

// stateSize is the room that an encoded state needs beside the accounting record, in octets.
const stateSize = 128

// state encodes what only lns reads of a session's record.
func (sh *shard) state(s *session, usage []byte) []byte {
	saved, ok := s.link.Save()
	if !ok {
		// It negotiates anew. Without options it can go on with that at any point.
		saved = link.Saved{Method: link.Method(s.method), Magic: s.link.Magic(), PeerMRU: s.link.PeerMRU(), PeerACCM: s.link.PeerACCM(),
			Network: link.Network{Local: sh.srv.cfg.Subscriber.LocalAddress, Peer: s.address}}
	}
	k := keptSession{
		usage: usage, link: saved,
		session: s.terms.session, idle: s.terms.idle, interim: s.terms.interim, sequenced: s.sequence != nil && s.sequence.required,
		clock: keptClock{
			boot: sh.srv.boot, at: sh.now, since: s.sinceMono,
			nextInterim: unlessNever(s.times.interim), check: unlessNever(s.times.idle),
		},
		said: s.terms.said, renamed: s.terms.renamed,
		idleOctets: s.times.octets, facts: s.rare.kept(),
	}
	k.clock.held, _ = sh.heldSince(s.key)
	return k.append(make([]byte, 0, len(usage)+stateSize))
}

func unlessNever(at time.Duration) time.Duration {
	if at == never {
		return 0
	}
	return at
}

// suspend journals the counters of all sessions for the next process.
func (sh *shard) suspend() {
	for _, s := range sh.sessions {
		if s.state == stateUp {
			sh.keepAgain(s)
		}
		if len(sh.changes) >= settleBatch {
			sh.flush()
		}
	}
	sh.flush()
}
