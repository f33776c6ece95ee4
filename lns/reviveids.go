package lns

import "io"

// The cluster's store does not know the ids that another node has given last, and a LAC may
// still use them. So many are left out, from once to twice that: how many is drawn, since
// a node before may have leapt from the same place without getting to write anything.
const (
	callLeap   = 2048
	tunnelLeap = 128
)

// leap draws how many ids to leave out.
func (s *Server) leap(least uint16) uint16 {
	var b [2]byte
	if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
		return least
	}
	return least + (uint16(b[0])<<8|uint16(b[1]))%least
}

// accepted tells the acceptor which ids and SCCRQs are taken.
func (r *reviver) accepted(a *acceptor) {
	used := make([][]uint16, len(a.ids))
	for _, list := range r.byShard {
		for _, t := range list {
			a.known[t.accept] = t.facts.id
			used[t.facts.listener] = append(used[t.facts.listener], t.facts.id)
		}
	}
	for i, ids := range used {
		if len(ids) > 0 {
			a.ids[i].restore(ids, 0)
		}
		if r.adopt && (len(ids) > 0 || r.srv.listeners[i] == r.local) {
			a.ids[i].leap(r.srv.leap(tunnelLeap))
		}
	}
}
