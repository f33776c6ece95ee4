package lns

import (
	"cmp"
	"container/heap"
	"slices"
)

// SessionQuery asks for one page of the sessions, in the order of their IDs.
type SessionQuery struct {
	Selector
	// States, where there are any, are those to list (SessionInfo.State).
	States []string
	// After is the last ID of the page before; empty for the first page.
	After string
	// Limit is the most sessions that the page may have.
	Limit int
}

// Sessions gives a page of the sessions that q asks for, how many there are on
// all pages, and whether another page follows. It looks at every session but makes
// the details of the page's alone.
func (s *Server) Sessions(q SessionQuery) (page []SessionInfo, total int, more bool) {
	parts := make([]sessionPage, len(s.shards))
	s.each(func(sh *shard) { parts[sh.idx] = sh.page(&q) })
	return joinPages(parts, q.Limit)
}

// joinPages makes one page of the shards'.
func joinPages(parts []sessionPage, limit int) (page []SessionInfo, total int, more bool) {
	for _, p := range parts {
		page = append(page, p.infos...)
		total += p.total
		more = more || p.more
	}
	slices.SortFunc(page, func(a, b SessionInfo) int { return cmp.Compare(a.ID, b.ID) })
	if len(page) > limit {
		page, more = page[:limit], true
	}
	return page, total, more
}

// SessionByID finds one session by its Acct-Session-Id.
func (s *Server) SessionByID(id string) (SessionInfo, bool) {
	page, _, _ := s.Sessions(SessionQuery{Selector: Selector{ID: id}, Limit: 1})
	if len(page) == 0 {
		return SessionInfo{}, false
	}
	return page[0], true
}

// sessionPage is one shard's part of a page.
type sessionPage struct {
	infos []SessionInfo
	total int
	more  bool
}

// page keeps the lowest IDs in a heap, so that a shard with very many
// sessions is held up no longer than a look at each takes.
func (sh *shard) page(q *SessionQuery) sessionPage {
	var p sessionPage
	var lowest byID
	for _, s := range sh.sessions {
		if !sh.selects(q.Selector, s) || len(q.States) > 0 && !slices.Contains(q.States, s.stateName()) {
			continue
		}
		p.total++
		if s.who.AcctSessionID <= q.After && q.After != "" {
			continue
		}
		switch {
		case len(lowest) < q.Limit:
			heap.Push(&lowest, s)
		case len(lowest) > 0 && s.who.AcctSessionID < lowest[0].who.AcctSessionID:
			lowest[0] = s
			heap.Fix(&lowest, 0)
			p.more = true
		default:
			p.more = true
		}
	}
	for _, s := range lowest {
		p.infos = append(p.infos, sh.info(s))
	}
	return p
}

// byID is a heap with the highest ID on top.
type byID []*session

func (h byID) Len() int           { return len(h) }
func (h byID) Less(i, j int) bool { return h[i].who.AcctSessionID > h[j].who.AcctSessionID }
func (h byID) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byID) Push(x any)        { *h = append(*h, x.(*session)) }
func (h *byID) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
