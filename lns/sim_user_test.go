package lns

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"culvert/lac/subscriber"
	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// simUser is a subscriber who wants to be online. In the chaos it hangs up,
// vanishes or dials again now and then; in the calm it stays.
type simUser struct {
	w      *world
	index  int
	tunnel *simTunnel // that it dials in
	at     *simTunnel // that its call is in
	rnd    *rand.Rand // its own, so that users keep their habits when a plan shrinks
	call   *rigCall   // nil while it is offline
	// dialled counts its calls, sent the packets in all of them.
	dialled, sent uint32
	online        bool
	due           bool // it will dial
	heard         time.Duration
}

func newSimUser(w *world, i int) *simUser {
	lac := w.lacs[i%len(w.lacs)]
	t := lac.tunnels[i/len(w.lacs)%len(lac.tunnels)]
	u := &simUser{w: w, index: i, tunnel: t, rnd: rand.New(rand.NewPCG(w.plan.seed, uint64(1000+i)))}
	t.users = append(t.users, u)
	w.users = append(w.users, u)
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
	c := t.dialAs(t.freeID(), t.lac.serial, userName(u.index), u.icrq)
	u.begin(c, userName(u.index)) // what it says before the call is up goes nowhere
	u.calls(c, t)
	u.w.tell("user %d dials: LAC %d, tunnel %d, session %d, serial %d", u.index, t.lac.index, t.rigLAC.t.LocalID(), c.call.LocalID(), t.lac.serial)
	t.touched()
}

// calls gives a user a call, whoever has asked for it.
func (u *simUser) calls(c *rigCall, t *simTunnel) {
	u.call, u.at, u.online = c, t, false
	u.dialled++
	t.callers[c] = u
	c.noticed = func() { u.noticed(c) }
	// Who is not online after a while gives up.
	u.w.after(40*time.Second, func() {
		if u.call == c && !c.up {
			u.hangUp(c)
		}
	})
	if !u.w.calm && u.rnd.Float64() < u.w.plan.impatient {
		u.w.after(u.upTo(15*time.Second), func() { u.redial(c) })
	}
	if !u.w.calm && u.rnd.Float64() < u.w.plan.guests {
		u.w.after(u.upTo(4*time.Second), func() { u.guest(c) })
	}
}

// begin has the subscriber of a call begin, or begin anew.
func (u *simUser) begin(c *rigCall, name string) {
	cfg := u.w.subscriber
	var fx subscriber.Effects
	c.client.Start(u.w.now, cfg, name, "secret", rand.New(rand.NewPCG(u.w.plan.seed, u.rnd.Uint64())), &fx)
	if u.w.subscriber.Auth[0] == ppp.AuthEAP {
		c.tap = (&eapPeer{u: u, c: c, began: -1}).tap
	}
	if c.call.State() == l2tp.CallEstablished {
		c.effects(&fx)
	}
}

// redial dials again while the LAC still has the call, which is not up yet.
func (u *simUser) redial(c *rigCall) {
	if u.w.calm || !u.alive(c) || c.up || u.call != c {
		return
	}
	u.w.tell("user %d has no patience, and dials again", u.index)
	c.client = subscriber.Client{}
	u.lost(c)
}

// guest has somebody else's modem take over the line, whom RADIUS does not know.
func (u *simUser) guest(c *rigCall) {
	if u.w.calm || !u.alive(c) || c.call.State() != l2tp.CallEstablished || c.up {
		return
	}
	u.w.tell("user %d begins anew as a guest", u.index)
	u.begin(c, fmt.Sprintf("guest%d@sim", u.index))
	u.tunnel.lac.tunnelOf(c.lac).touched()
}

// icrq says what the user's LAC knows of the line.
func (u *simUser) icrq(m *l2tp.Message) {
	if u.w.plan.speeds {
		m.SpeedUpdateEnable = true
		m.Set(l2tp.AVPSpeedUpdateEnable)
	}
}

// connected fills in the ICCN of a user's call: its LAC may have negotiated for us.
func (u *simUser) connected(c *rigCall, iccn *l2tp.Message) {
	p := u.w.plan
	if p.async {
		iccn.FramingType = l2tp.FramingAsync
	}
	if u.rnd.Float64() >= p.proxied || u.call != c { // nobody is there any more who has redialled
		return
	}
	proxy := subscriber.Proxy{Auth: ppp.AuthCHAP, ID: uint8(u.rnd.IntN(256)), Authenticated: u.rnd.IntN(3) > 0}
	switch p.profile.Auth[0] {
	case "pap":
		proxy.Auth = ppp.AuthPAP
	case "eap":
		proxy.Auth, proxy.Authenticated = ppp.AuthEAP, false
	}
	for i := range proxy.Challenge {
		proxy.Challenge[i] = byte(u.rnd.IntN(256))
	}
	c.client.StartProxied(u.w.now, u.w.subscriber, userName(u.index), "secret", rand.New(rand.NewPCG(u.w.plan.seed, u.rnd.Uint64())), &proxy, iccn)
	if p.profile.Proxy != "strict" && u.rnd.IntN(6) == 0 {
		iccn.LastSentLCP = nil // half of it
		iccn.Unset(l2tp.AVPLastSentLCP)
	}
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
		if t := u.tunnel.lac.tunnelOf(c.lac); t != nil {
			delete(t.callers, c)
		}
	}
	u.lost(c)
}

// lost is told when a call is over, or its tunnel down.
func (u *simUser) lost(c *rigCall) {
	if u.call == c {
		u.call, u.at, u.online = nil, nil, false
		u.dialIn(4 * time.Second)
	}
}

// alive says whether a call still has its tunnel, and its place in it.
func (u *simUser) alive(c *rigCall) bool {
	return c.lac.down == nil && c.lac.calls[c.call.LocalID()] == c && c.cdn == nil && u.tunnel.lac.tunnelOf(c.lac) != nil
}

// hangUp has the LAC end a call.
func (u *simUser) hangUp(c *rigCall) {
	if !u.alive(c) {
		return
	}
	u.w.tell("user %d hangs up session %d", u.index, c.call.LocalID())
	t := u.tunnel.lac.tunnelOf(c.lac)
	c.hangUp()
	u.over(c)
	t.touched()
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
		u.tunnel.lac.tunnelOf(c.lac).touched()
	case way < 6:
		u.hangUp(c)
	case way < 7:
		u.w.tell("user %d is silent", u.index)
		c.client, c.up, u.online = subscriber.Client{}, false, false
		if u.w.cluster != nil {
			u.w.after(2*time.Minute, func() { u.comesBack(c) })
		}
	case way < 8:
		u.w.tell("user %d dials again", u.index) // its modem has restarted, and the LAC has not noticed
		c.client, c.up, u.call, u.at, u.online = subscriber.Client{}, false, nil, nil, false
		u.dialIn(time.Second)
	case way < 9:
		u.w.tell("user %d's modem begins anew", u.index) // in the same call
		c.up, u.online = false, false
		u.begin(c, userName(u.index))
		u.tunnel.lac.tunnelOf(c.lac).touched()
	}
}

// comesBack has the modem of a silent subscriber begin anew where nobody has ended its call: a node
// that has not heard of the call before cannot miss it.
func (u *simUser) comesBack(c *rigCall) {
	if u.alive(c) && u.call == c && !c.up {
		u.w.tell("user %d's modem is back", u.index)
		u.begin(c, userName(u.index))
		u.tunnel.lac.tunnelOf(c.lac).touched()
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
	if u.rnd.IntN(4) == 0 {
		u.at.reports(c, u.rnd.IntN(3))
	}
	for range 1 + u.rnd.IntN(4) {
		u.sent++
		var fx subscriber.Effects
		c.client.Send(u.numbered(ipPacket(c.client.Address(), simServer, 60+u.rnd.IntN(1000))), &fx)
		c.effects(&fx)
	}
	u.at.touched()
	if l := u.lns(); l != nil && u.at != nil {
		l.plane.download(c.client.Address(), 60+u.rnd.IntN(1000))
		if s := u.session(); s != nil && len(s.routes()) > 0 {
			l.plane.download(s.routes()[0].Addr().Next(), 60+u.rnd.IntN(100))
		}
	}
	pace := u.w.plan.surf
	if u.w.calm {
		pace *= 4 // what happens now is of no interest but that it does
	}
	u.w.after(time.Second+u.upTo(min(pace, 20*time.Second)), func() { u.surf(c) })
}

// simServer is what users talk to.
var simServer = netip.MustParseAddr("203.0.113.5")

// numbered puts user, call and number into an IP packet, by which the core can tell the order.
func (u *simUser) numbered(p []byte) []byte {
	for i, n := range []uint32{uint32(u.index), u.dialled, u.sent} {
		binary.BigEndian.PutUint32(p[28+4*i:], n)
	}
	return p
}

// lns is the life of lnsd that has the user's tunnel, nil where there is none.
func (u *simUser) lns() *life {
	w := u.w
	switch {
	case w.cluster != nil:
		if u.at != nil {
			return w.cluster.serving(u.at.listener)
		}
	case w.life != nil && u.at != nil && u.at.life == w.life.number:
		return w.life
	}
	return nil
}

// session is the LNS's side of a user's call, nil where there is none.
func (u *simUser) session() *session {
	l := u.lns()
	if l == nil || u.call == nil || u.at == nil || u.at.rigLAC == nil {
		return nil
	}
	at, n := tunnelID{u.at.listener, u.at.rigLAC.t.PeerID()}, len(l.srv.shards)
	t := l.srv.shards[dataplane.ShardOf(at.id, n)].tunnels[at]
	if t == nil {
		return nil
	}
	id, ok := t.calls.byPeer[u.call.call.LocalID()]
	if !ok {
		return nil
	}
	return l.srv.shards[dataplane.ShardOf(id, n)].sessions[dataplane.Key{Listener: at.listener, Tunnel: at.id, Session: id}]
}

// works says whether a user is online and what it sends and gets is counted for it.
func (u *simUser) works() bool {
	s, l := u.session(), u.lns()
	if !u.online || s == nil || s.state != stateUp || !u.call.up || s.address != u.call.client.Address() {
		return false
	}
	p := l.plane.sessions[s.key]
	return p != nil && p.Address == s.address && p.Peer == u.call.lac.address
}

// online lists the users who are online, or are not.
func (w *world) online(yes bool) []int {
	var list []int
	for _, u := range w.users {
		if u.works() == yes {
			list = append(list, u.index)
		}
	}
	return list
}
