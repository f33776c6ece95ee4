package lns

import (
	"fmt"
	"testing"

	"culvert/aaa"
	"culvert/lns/dataplane"
)

// Pages together are all sessions, each once and in order, whatever their size.
func TestPagesAreEverySessionOnce(t *testing.T) {
	r := newRig(t, nil)
	p := r.srv.profiles.match(lnsAddress.Addr().Next(), "")
	if p == nil {
		p, _ = newProfile(testProfile("x", nil), "lns1", nil)
	}
	f := &tunnelFacts{id: 1, profile: p, local: lnsAddress}
	f.peer.Store(&lacPeer{source: source{AddrPort: lnsAddress}})
	const n = 137
	for i := range n {
		s := &session{key: dataplane.Key{Tunnel: 1, Session: uint16(i + 1)}, facts: f, owner: uint64(i + 1)}
		s.who = &aaa.Identity{AcctSessionID: r.srv.acctSessionID(s.owner), User: fmt.Sprint("user", i%2)}
		if i%5 == 0 {
			s.state = stateClosing
		}
		sh := r.srv.shards[i%2]
		sh.sessions[s.key] = s
	}
	for _, c := range []struct {
		sel    Selector
		states []string
		want   int
	}{
		{Selector{}, nil, n}, {Selector{User: "user1"}, nil, n / 2}, {Selector{}, []string{"closing"}, 28}, {Selector{User: "nobody"}, nil, 0},
	} {
		for _, size := range []int{1, 2, 10, 68, 69, 136, 137, 138, 1000} {
			seen, after := map[string]bool{}, ""
			for {
				q := SessionQuery{Selector: c.sel, States: c.states, After: after, Limit: size}
				page, total, more := r.pageOf(q)
				if total != c.want || len(page) > size {
					t.Fatalf("%+v: total %d, %d on the page; want %d in all", q, total, len(page), c.want)
				}
				for _, i := range page {
					if seen[i.ID] || i.ID <= after {
						t.Fatalf("%+v: %s again", q, i.ID)
					}
					seen[i.ID], after = true, i.ID
				}
				if !more {
					break
				}
				if len(page) == 0 {
					t.Fatalf("%+v: an empty page, and more to follow", q)
				}
			}
			if len(seen) != c.want {
				t.Errorf("%+v in pages of %d: %d sessions, want %d", c.sel, size, len(seen), c.want)
			}
		}
	}
}

// pageOf does what Server.Sessions does, on shards that nobody runs.
func (r *rig) pageOf(q SessionQuery) ([]SessionInfo, int, bool) {
	var parts []sessionPage
	for _, sh := range r.srv.shards {
		parts = append(parts, sh.page(&q))
	}
	return joinPages(parts, q.Limit)
}
