package lns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// Of rivalSeeds seeds one has a world of rivals: few subscribers, each of whom has several calls at a time and
// something of its own that one of them only can have, an AAA that takes its time, and LACs that move and
// begin anew. What decides there who of two comes first is rarely asked elsewhere.
const rivalSeeds, rivalSeed = 25, 8

// rival makes a plan one of rivals. It comes last, so that all other plans are as they would be without it.
func (p *plan) rival(r *rand.Rand) {
	p.profile.FloatPeer = true
	p.maxSettingUp, p.maxSessions, p.pool = 0, 0, 2*p.users
	p.impatient, p.guests = 0.5+r.Float64()/2, r.Float64()/2
	// A call that nobody is behind any more is still there when AAA has made up its mind.
	p.profile.EchoInterval = pick(r, 5*time.Second, 15*time.Second)
	for i := range p.contracts {
		c := &p.contracts[i]
		c.fixed = r.IntN(2) == 0
		c.routed = !c.fixed || r.IntN(3) == 0
	}
	at := func(d time.Duration, make func(*plan, *rand.Rand) (string, func(*world))) {
		text, do := make(p, r)
		p.actions = append(p.actions, action{at: time.Duration(r.Int64N(int64(d))), text: text, do: do})
	}
	at(5*time.Second, hesitating)
	for range 1 + r.IntN(2) {
		at(p.chaos, hesitating)
	}
	for range 1 + r.IntN(3) {
		at(p.chaos, movingAndBeginning)
		at(p.chaos, claiming)
	}
	p.inOrder()
}

// inOrder sorts the actions, and numbers them.
func (p *plan) inOrder() {
	slices.SortStableFunc(p.actions, func(a, b action) int { return int(a.at - b.at) })
	for i := range p.actions {
		p.actions[i].index = i
	}
}

func hesitating(_ *plan, r *rand.Rand) (string, func(*world)) {
	return asks(radiusSlow, seconds(r, 40))
}

// claiming has RADIUS give subscribers each other's networks.
func claiming(_ *plan, r *rand.Rand) (string, func(*world)) {
	return asks(radiusLying, seconds(r, 15))
}

// movingAndBeginning moves a LAC, which loses its tunnels after a while, says nothing, and opens them anew
// under the ids that they had.
func movingAndBeginning(p *plan, r *rand.Rand) (string, func(*world)) {
	n, port, d := r.IntN(p.lacs), uint16(20000+r.IntN(20000)), seconds(r, 20)
	return fmt.Sprintf("LAC %d sends from port %d, and %v later begins anew", n, port, d), func(w *world) {
		w.lacs[n].move(netip.AddrPortFrom(lacAddress(n).Addr(), port))
		w.after(d, func() {
			if !w.calm {
				w.lacs[n].beginAnew()
			}
		})
	}
}

// beginAnew has the LAC forget its tunnels, and open each again under the id that it had.
func (l *simLAC) beginAnew() {
	for _, t := range l.tunnels {
		if t.rigLAC == nil || t.served {
			continue
		}
		id := t.rigLAC.t.LocalID()
		t.close()
		l.w.tell("LAC %d forgets tunnel %d", l.index, id)
		l.w.after(l.w.upTo(time.Second), func() { t.openAs(id) })
	}
}
