package lns

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"culvert/lns/trace"
)

// TraceQuery says which sessions to trace.
type TraceQuery struct {
	Selector
	// Limit is how many sessions of the past may be shown, the latest; those that
	// live count too. 0 is 10.
	Limit int
	// Follow asks for what happens from now on as well.
	Follow bool
}

// TracedSession is a session, alive or gone, and what it did.
type TracedSession struct {
	Info SessionInfo
	// Began is when its ICRQ came. Ended is when it ended, and Cause why; zero and empty while it lives.
	Began, Ended time.Time
	Cause        string
	// Dropped is how many events there were before the first of Events.
	Dropped int
	// Events are in the order of time, those of its tunnel that matter among them.
	Events []TraceEvent
}

// TraceEvent is one event, of a session or of its tunnel.
type TraceEvent struct {
	// At is when; Until when the last of Count came.
	At, Until time.Time
	// Session is the Acct-Session-Id, empty for an event of the tunnel.
	Session string
	Local   string
	Tunnel  uint16
	trace.Event
}

// TraceItem is something new for who follows: a session that now fits the query, with
// what it did until now, or an event of one that was shown before.
type TraceItem struct {
	Session *TracedSession
	Event   *TraceEvent
}

// traceQueue is how many items a follower may be behind.
const traceQueue = 1024

// Trace is an answer to a TraceQuery.
type Trace struct {
	// Past are the sessions that fit now, the oldest first.
	Past []TracedSession
	// Live has what comes after it; nil unless asked for. It is never closed.
	Live <-chan TraceItem
	// Dropped counts what Live had no room for; who makes a Trace may leave it out.
	Dropped *atomic.Uint64
}

// Lost says how many items were dropped since it was asked last, because Live was full.
func (t *Trace) Lost() uint64 {
	if t.Dropped == nil {
		return 0
	}
	return t.Dropped.Swap(0)
}

// Trace tells what sessions have done, and what they do until ctx is done.
func (s *Server) Trace(ctx context.Context, q TraceQuery) *Trace {
	if q.Limit <= 0 {
		q.Limit = 10
	}
	live := make(chan TraceItem, traceQueue)
	out := &Trace{Dropped: &atomic.Uint64{}}
	parts := make([][]tracedPart, len(s.shards))
	s.each(func(sh *shard) {
		parts[sh.idx] = sh.tracePast(&q)
		if q.Follow {
			sh.follow(&q, parts[sh.idx], live, out.Dropped)
		}
	})
	list := slices.Concat(parts...)
	slices.SortFunc(list, func(a, b tracedPart) int { return cmp.Compare(a.began, b.began) })
	list = list[max(0, len(list)-q.Limit):]
	s.addTunnels(list)
	for i := range list {
		out.Past = append(out.Past, list[i].TracedSession)
	}
	if q.Follow {
		out.Live = live
		context.AfterFunc(ctx, func() { s.each(func(sh *shard) { sh.unfollow(live) }) })
	}
	return out
}

// tracedPart is a session on its way to an answer.
type tracedPart struct {
	TracedSession
	began, ended time.Duration // ended is never for a session that lives
	facts        *tunnelFacts
	live         *session
}

// tracePast finds the shard's sessions that fit, alive and gone.
func (sh *shard) tracePast(q *TraceQuery) []tracedPart {
	var list []tracedPart
	for _, s := range sh.sessions {
		if s.trace.On() && sh.selects(q.Selector, s) {
			list = append(list, sh.tracedLive(s))
		}
	}
	oldest := sh.now - sh.srv.cfg.Trace.KeepFor
	for _, yard := range []*graveyard{&sh.traces.ended, &sh.traces.failed, &sh.traces.refused} {
		for _, g := range yard.list {
			if g.ended >= oldest && g.matches(&q.Selector) {
				list = append(list, tracedPart{
					TracedSession: TracedSession{Info: g.info(), Ended: sh.wall(g.ended), Cause: g.cause.String()},
					began:         g.began, ended: g.ended, facts: g.facts,
				})
				sh.traceInto(&list[len(list)-1], &g.log, g.facts)
			}
		}
	}
	return list
}

// tracedLive is a living session and what it did until now.
func (sh *shard) tracedLive(s *session) tracedPart {
	p := tracedPart{TracedSession: TracedSession{Info: sh.info(s)}, began: sh.now, ended: never, facts: s.facts, live: s}
	sh.traceInto(&p, &s.trace, s.facts)
	return p
}

// traceInto puts a log into words.
func (sh *shard) traceInto(p *tracedPart, l *trace.Log, f *tunnelFacts) {
	p.Dropped, p.began = l.Dropped(), l.Began()
	for e := range l.Events() {
		p.Events = append(p.Events, sh.traceEvent(e, p.Info.ID, f))
	}
	p.Began = sh.wall(p.began)
	if up := p.Info.Since; !up.IsZero() && up.Before(p.Began) {
		p.Began = up // its log began anew with a restart
	}
}

// wall is a time of the shard's clock on the wall clock.
func (sh *shard) wall(at time.Duration) time.Time { return sh.srv.clock.Wall().Add(at - sh.now) }

func (sh *shard) traceEvent(e trace.Event, id string, f *tunnelFacts) TraceEvent {
	return TraceEvent{
		At: sh.wall(e.At), Until: sh.wall(e.Until), Session: id, Local: f.local.String(), Tunnel: f.id, Event: e,
	}
}

// aroundSession is how long before a session's beginning, and after its end, what its tunnel did still matters.
const aroundSession = 10 * time.Second

// addTunnels puts what the sessions' tunnels did meanwhile between their own events.
func (s *Server) addTunnels(list []tracedPart) {
	found := make([][]TraceEvent, len(list))
	s.each(func(sh *shard) {
		for i := range list {
			if p := &list[i]; p.facts.shard == sh.idx {
				found[i] = sh.tunnelEvents(p)
			}
		}
	})
	for i := range list {
		p := &list[i]
		p.Events = append(found[i], p.Events...)
		slices.SortStableFunc(p.Events, func(a, b TraceEvent) int { return cmp.Compare(a.Event.At, b.Event.At) })
	}
}

func (sh *shard) tunnelEvents(p *tracedPart) (list []TraceEvent) {
	l := sh.tunnelLog(p.facts)
	if l == nil {
		return nil
	}
	until := p.ended
	if until != never {
		until += aroundSession
	}
	for e := range l.Events() {
		if e.Until >= p.began-aroundSession && e.At <= until {
			list = append(list, sh.traceEvent(e, "", p.facts))
		}
	}
	return list
}

// tunnelLog is the log of a tunnel that lives, or of one that is remembered.
func (sh *shard) tunnelLog(f *tunnelFacts) *trace.Log {
	if t := sh.tunnels[tunnelID{f.listener, f.id}]; t != nil && t.facts == f {
		return &t.trace
	}
	for i := range sh.traces.tunnels.list {
		if g := &sh.traces.tunnels.list[i]; g.facts == f {
			return &g.log
		}
	}
	return nil
}
