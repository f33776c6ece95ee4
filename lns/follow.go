package lns

import (
	"net/netip"
	"sync/atomic"

	"culvert/lns/trace"
)

// shardTracer is one follower, as one shard sees it.
type shardTracer struct {
	sel  Selector
	live chan TraceItem
	lost *atomic.Uint64
	// shown are the sessions that the follower knows of; tunnels those of sessions
	// that it knows of, on whatever shard they are.
	shown   map[*session]struct{}
	tunnels map[*tunnelFacts]struct{}
}

// offer never waits: what a follower cannot take in time is counted and dropped.
func (tr *shardTracer) offer(i TraceItem) {
	select {
	case tr.live <- i:
	default:
		tr.lost.Add(1)
	}
}

func (tr *shardTracer) forget(s *session) { delete(tr.shown, s) }

// follow adds a follower who has just been shown the sessions in past.
func (sh *shard) follow(q *TraceQuery, past []tracedPart, live chan TraceItem, lost *atomic.Uint64) {
	tr := &shardTracer{
		sel: q.Selector, live: live, lost: lost,
		shown: map[*session]struct{}{}, tunnels: map[*tunnelFacts]struct{}{},
	}
	sh.traces.tracers = append(sh.traces.tracers, tr)
	for i := range past {
		if s := past[i].live; s != nil {
			sh.show(tr, s)
		}
	}
}

// unfollow removes a follower.
func (sh *shard) unfollow(live chan TraceItem) {
	list := sh.traces.tracers[:0:0]
	for _, tr := range sh.traces.tracers {
		if tr.live != live {
			list = append(list, tr)
		}
	}
	sh.traces.tracers = list
}

// show notes that a follower knows a session, and has its tunnel followed.
func (sh *shard) show(tr *shardTracer, s *session) {
	tr.shown[s] = struct{}{}
	facts, live := s.facts, tr.live
	sh.send(facts.shard, funcMessage(func(sh *shard) {
		for _, tr := range sh.traces.tracers {
			if tr.live == live {
				tr.tunnels[facts] = struct{}{}
			}
		}
	}))
}

// traced passes an event of a session, at offset at of its log, to who follows the session.
func (sh *shard) traced(s *session, at int) {
	if at > 0 && len(sh.traces.tracers) > 0 {
		sh.followSession(s, at)
	}
}

// followSession tells followers of an event. A session that only now fits what a
// follower wants, since its name has become known, comes with all that it did before.
func (sh *shard) followSession(s *session, at int) {
	for _, tr := range sh.traces.tracers {
		_, shown := tr.shown[s]
		switch {
		case shown:
			if e, ok := s.trace.Event(at); ok {
				x := sh.traceEvent(e, s.who.AcctSessionID, s.facts)
				tr.offer(TraceItem{Event: &x})
			}
		case sh.selects(tr.sel, s):
			p := sh.tracedLive(s)
			tr.offer(TraceItem{Session: &p.TracedSession})
			sh.show(tr, s)
		}
	}
}

// followTunnel tells followers of an event of a tunnel.
func (sh *shard) followTunnel(t *tunnel, at int) {
	for _, tr := range sh.traces.tracers {
		if _, ok := tr.tunnels[t.facts]; !ok {
			continue
		}
		if e, ok := t.trace.Event(at); ok {
			x := sh.traceEvent(e, "", t.facts)
			tr.offer(TraceItem{Event: &x})
		}
	}
}

// TraceSink takes events from what stands in front of the LNS, such as IKE for
// LACs that come through IPsec. *Server is one.
type TraceSink interface {
	// TracePeer records an event in the log of every tunnel of the LAC at that
	// address, and so in the timeline of its sessions. Text is shown as it is, cut to some
	// 120 octets, and must hold no secret. It never blocks.
	TracePeer(peer netip.Addr, source trace.Source, text string)
}

// TracePeer implements TraceSink.
func (s *Server) TracePeer(peer netip.Addr, source trace.Source, text string) {
	if s.cfg.Trace.Off {
		return
	}
	for _, sh := range s.shards {
		sh.inbox.put(funcMessage(func(sh *shard) {
			for _, t := range sh.inOrder() {
				if t.facts.peer.Load().Addr() == peer {
					sh.tunnelNote(t, source, text)
				}
			}
		}))
	}
}
