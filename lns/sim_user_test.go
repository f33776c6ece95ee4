package lns

import (
	"math/rand/v2"
	"slices"
	"time"

	"culvert/lac/subscriber"
)

// simUser is a subscriber who wants to be online. In the chaos it hangs up,
// vanishes or dials again now and then; in the calm it stays.
type simUser struct {
	w      *world
	index  int
	tunnel *simTunnel
	rnd    *rand.Rand // its own, so that users keep their habits when a plan shrinks
	call   *rigCall   // nil while it is offline
	online bool
	due    bool // it will dial
	heard  time.Duration
}

func newSimUser(w *world, i int) *simUser {
	lac := w.lacs[i%len(w.lacs)]
	t := lac.tunnels[i/len(w.lacs)%len(lac.tunnels)]
	u := &simUser{w: w, index: i, tunnel: t, rnd: rand.New(rand.NewPCG(w.plan.seed, uint64(1000+i)))}
	t.users = append(t.users, u)
	u.dialIn(4 * time.Second)
	return u
}

func (u *simUser) upTo(d time.Duration) time.Duration { return time.Duration(u.rnd.Int64N(int64(d))) }

// dialIn dials after at most d.
func (u *simUser) dialIn(d time.Duration) {
	if !u.due {
		u.due = true
		u.w.after(u.upTo(d), u.dial)
	}
}

func (u *simUser) dial() {
	u.due = false
	t := u.tunnel
	if u.call != nil || t.lac.gone {
		return
	}
	if t.rigLAC == nil || !t.rigLAC.up || t.rigLAC.down != nil {
		u.dialIn(2 * time.Second)
		return
	}
	t.lac.serial++
	c := t.dialAs(t.freeID(), t.lac.serial, userName(u.index), nil)
	u.call, u.online = c, false
	u.w.tell("user %d dials: LAC %d, tunnel %d, session %d, serial %d", u.index, t.lac.index, t.rigLAC.t.LocalID(), c.call.LocalID(), t.lac.serial)
	c.noticed = func() { u.noticed(c) }
	t.touched()
	// Who is not online after a while gives up.
	u.w.after(40*time.Second, func() {
		if u.call == c && !c.up {
			u.hangUp(c)
		}
	})
}

// noticed looks at what has become of a call.
func (u *simUser) noticed(c *rigCall) {
	switch {
	case c.cdn != nil:
		u.w.after(0, func() { u.over(c) })
	case c.closed && u.call == c:
		u.online = false
		// The LNS should say that the call is over; a LAC does not wait for ever.
		u.w.after(8*time.Second, func() { u.hangUp(c) })
	case c.up && !u.online && u.call == c:
		u.online, u.heard = true, u.w.now
		u.w.tell("user %d is online as %v", u.index, c.client.Address())
		u.w.after(u.upTo(30*time.Second), func() { u.leave(c) })
		u.w.after(u.upTo(2*time.Second), func() { u.surf(c) })
	}
}

// over forgets a call that the LNS has ended.
func (u *simUser) over(c *rigCall) {
	if c.lac.calls[c.call.LocalID()] == c {
		c.lac.forget(c)
	}
	if u.call == c {
		u.call, u.online = nil, false
		u.dialIn(4 * time.Second)
	}
}

// lost is told when the tunnel is down.
func (u *simUser) lost() {
	if u.call != nil {
		u.call, u.online = nil, false
	}
	u.dialIn(4 * time.Second)
}

// alive says whether a call still has its tunnel, and its place in it.
func (u *simUser) alive(c *rigCall) bool {
	return u.tunnel.rigLAC == c.lac && c.lac.down == nil && c.lac.calls[c.call.LocalID()] == c && c.cdn == nil
}

// hangUp has the LAC end a call.
func (u *simUser) hangUp(c *rigCall) {
	if !u.alive(c) {
		return
	}
	u.w.tell("user %d hangs up session %d", u.index, c.call.LocalID())
	c.hangUp()
	u.over(c)
	u.tunnel.touched()
}

// leave is how a subscriber goes, one way or another.
func (u *simUser) leave(c *rigCall) {
	if u.w.calm || !u.alive(c) || !c.up {
		return
	}
	switch way := u.rnd.IntN(10); {
	case way < 3:
		u.w.tell("user %d terminates", u.index)
		var fx subscriber.Effects
		c.client.Close(u.w.now, &fx)
		c.effects(&fx)
		u.tunnel.touched()
	case way < 6:
		u.hangUp(c)
	case way < 7:
		u.w.tell("user %d is silent", u.index)
		c.client, c.up, u.online = subscriber.Client{}, false, false
	case way < 8:
		u.w.tell("user %d dials again", u.index) // its modem has restarted, and the LAC has not noticed
		c.client, c.up, u.call, u.online = subscriber.Client{}, false, nil, false
		u.dialIn(time.Second)
	}
}

// surf sends a packet and gets one, now and again.
func (u *simUser) surf(c *rigCall) {
	if !u.alive(c) || !c.up || u.call != c {
		return
	}
	if len(c.packets) > 0 {
		u.heard = u.w.now
	}
	if u.w.net.corrupted && u.w.now-u.heard > 40*time.Second {
		// The LNS and the LAC may not agree on what is up for ever, after what was changed on
		// its way. A modem notices.
		u.hangUp(c)
		return
	}
	c.packets = nil
	c.ping(c.client.Address(), 60+u.rnd.IntN(1000))
	u.tunnel.touched()
	if l := u.w.life; l != nil {
		l.plane.download(c.client.Address(), 60+u.rnd.IntN(1000))
	}
	u.w.after(time.Second+u.upTo(3*time.Second), func() { u.surf(c) })
}

// session is the LNS's side of a user's call, nil where there is none.
func (u *simUser) session() *session {
	l := u.w.life
	if l == nil || u.call == nil || u.tunnel.life != l.number {
		return nil
	}
	for _, sh := range l.srv.shards {
		for _, s := range sh.sessions {
			f := s.facts
			if f.listener == u.tunnel.listener && f.id == u.tunnel.rigLAC.t.PeerID() && s.peerID == u.call.call.LocalID() {
				return s
			}
		}
	}
	return nil
}

// works says whether a user is online and what it sends and gets is counted for it.
func (u *simUser) works() bool {
	s, l := u.session(), u.w.life
	if !u.online || s == nil || s.state != stateUp || !u.call.up || s.address != u.call.client.Address() {
		return false
	}
	p := l.plane.sessions[s.key]
	return p != nil && p.Address == s.address && p.Peer == u.call.lac.address
}

// user is the nth user.
func (w *world) user(n int) *simUser {
	lac := w.lacs[n%len(w.lacs)]
	t := lac.tunnels[n/len(w.lacs)%len(lac.tunnels)]
	return t.users[n/len(w.lacs)/len(lac.tunnels)]
}

// online lists the users who are online, or are not.
func (w *world) online(yes bool) []int {
	var list []int
	for _, l := range w.lacs {
		for _, t := range l.tunnels {
			for _, u := range t.users {
				if u.works() == yes {
					list = append(list, u.index)
				}
			}
		}
	}
	slices.Sort(list)
	return list
}
