package lns

import (
	"cmp"
	"net/netip"
	"slices"
)

// number gives sessions their owner numbers in the order in which they began, since the
// later of two has what both were granted. It gives them by shard: those that have something that a later
// one has as well, which are about to end and nearly always none, and all others.
func (r *reviver) number() (early, late [][]revivedSession) {
	all := slices.Concat(r.sessions...)
	slices.SortStableFunc(all, func(a, b revivedSession) int {
		if r.adopt { // NAS-Ports are of several nodes
			return cmp.Compare(a.sinceWall, b.sinceWall)
		}
		return cmp.Compare(a.who.NASPort, b.who.NASPort)
	})
	for _, x := range all {
		x.owner = r.srv.lastOwner.Add(1)
	}
	outdated := overtaken(all)
	early = make([][]revivedSession, len(r.sessions))
	if len(outdated) == 0 {
		return early, r.sessions
	}
	for i, list := range r.sessions {
		r.sessions[i] = slices.DeleteFunc(list, func(x revivedSession) bool {
			if outdated[x.session] {
				early[i] = append(early[i], x)
			}
			return outdated[x.session]
		})
	}
	return early, r.sessions
}

// overtaken finds the sessions, of those in the order in which they began, whose address or a network of whose a later one has.
func overtaken(all []revivedSession) map[*session]bool {
	found := map[*session]bool{}
	addresses, networks := make(map[netip.Addr]*session, len(all)), map[netip.Prefix]*session{}
	for _, x := range all {
		if had := addresses[x.address]; had != nil {
			found[had] = true
		}
		addresses[x.address] = x.session
		for _, n := range x.routes() {
			if had := networks[n.Masked()]; had != nil {
				found[had] = true
			}
			networks[n.Masked()] = x.session
		}
	}
	return found
}
