package ipsec

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// resync compares what is known with what charon has. With restarted, charon may be
// another than before: SAs that it does not know are then lost, and taken out of the kernel too.
func (s *session) resync(ctx context.Context, restarted bool) error {
	m := s.m
	ctx, cancel := context.WithTimeoutCause(ctx, listTime, fmt.Errorf("charon has not listed its SAs within %v", listTime))
	defer cancel()
	var before snapshot
	if restarted {
		before = m.snapshot()
	}
	live := map[spis]bool{}
	all := alive{map[uint32]bool{}, map[uint32]bool{}}
	var found []listed
	now := time.Now()
	err := s.cmd.Stream(ctx, "list-sas", nil, "list-sa", func(body vici.Section) {
		all.add(body)
		eachChild(body, now, func(conn string, c *child) {
			if c.carries() {
				live[spis{c.spiIn, c.spiOut}] = true
				found = append(found, listed{conn, *c})
			}
		})
	})
	if err != nil {
		return err
	}
	m.lastSync = now
	if restarted {
		m.dropLost(live, true, now)
		m.clearStale(before, all)
	}
	for i := range found {
		if found[i].c.state != "REKEYED" {
			m.childUp(found[i].conn, &found[i].c)
		}
	}
	if !restarted {
		// Only now: a peer may have got new keys without our having heard of it. Another charon
		// gives the same marks to others; this one does not.
		m.dropLost(live, false, now)
	}
	return nil
}

// listed is a CHILD_SA of the list.
type listed struct {
	conn string
	c    child
}

// dropLost ends the peers whose SAs charon does not have.
func (m *Manager) dropLost(live map[spis]bool, restarted bool, now time.Time) {
	for _, p := range m.tab.peers {
		alive := false
		for id, x := range p.children {
			if live[x] {
				alive = true
			} else {
				delete(p.children, id)
				delete(m.tab.byChild, id)
			}
		}
		if alive {
			continue
		}
		m.tab.remove(p)
		e := lns.SAEnd{Cause: lns.SAEndUnknown, Detail: "charon does not have it any more", Heir: m.tab.heir(p)}
		if restarted {
			e.Cause, e.Detail, e.Patience = lns.SAEndRestart, "charon was restarted and has forgotten it", m.patience(p.sa.Profile)
		}
		m.tell(p, e)
	}
}

func (m *Manager) patience(profile string) time.Duration {
	for i := range m.loading {
		if p := &m.loading[i]; p.Name == profile && p.IPsec != nil {
			return p.IPsec.Patience
		}
	}
	return 0
}

// add notes the numbers of every SA in a message, whosever it is.
func (a *alive) add(body vici.Section) {
	for _, ike := range body {
		for _, it := range ike.Sub.GetSub("child-sas") {
			for _, key := range []string{"spi-in", "spi-out"} {
				spi, _ := strconv.ParseUint(it.Sub.Get(key), 16, 32)
				a.spis[uint32(spi)] = true
			}
			a.marks[mark(it.Sub.Get("mark-in"))] = true
		}
	}
}
