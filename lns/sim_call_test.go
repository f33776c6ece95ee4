package lns

import (
	"slices"
	"strconv"
	"time"

	"culvert/proto/l2tp"
)

// What LACs do beside placing calls: they place those that the LNS asks for (RFC 2661
// section 7.5), in tunnels that they or the LNS have opened, and tell of their lines.

// serve answers an SCCRQ of the LNS.
func (l *simLAC) serve(listener uint16, b []byte) {
	var t *simTunnel
	for _, x := range l.tunnels {
		if x.served && x.rigLAC == nil {
			t = x
		}
	}
	if t == nil {
		t = &simTunnel{lac: l, wakeAt: never, callers: map[*rigCall]*simUser{}, served: true}
		l.tunnels = append(l.tunnels, t)
	}
	for _, x := range l.tunnels {
		// The same SCCRQ once more: the tunnel has its answer on the way.
		if x.served && x.rigLAC != nil && x.listener == listener && !x.rigLAC.up {
			x.rigLAC.receive(b)
			x.touched()
			return
		}
	}
	l.lastID++
	t.listener = listener
	r := &rigLAC{host: l.w, address: l.address, calls: map[uint16]*rigCall{}, t: l2tp.NewTunnel(l2tp.RoleLNS, l.lastID, &l.cfg)}
	t.starts(r)
	l.w.tell("LAC %d is called, and answers as tunnel %d", l.index, l.lastID)
	r.receive(b)
	if r.t.State() == l2tp.TunnelIdle {
		t.close() // it was no SCCRQ to begin anything with
		return
	}
	t.touched()
}

// asked takes an OCRQ: some are refused, some ring for ever, and some are lost while they ring.
// A CDN for such a call may come before the LNS knows the LAC's id.
func (t *simTunnel) asked(e *l2tp.Event) {
	w, r, m := t.lac.w, t.rigLAC, &e.Message
	if m.Type == l2tp.MessageCDN && e.SessionID == 0 {
		for _, c := range slices.Clone(r.order) {
			if c.call.PeerID() == m.AssignedSessionID && c.cdn == nil {
				var fx l2tp.CallEffects
				c.call.Receive(m, nil, &fx)
				if fx.Down {
					c.cdn = &fx.Result
					c.notice()
				}
			}
		}
	}
	if m.Type != l2tp.MessageOCRQ {
		return
	}
	u := t.callee(string(m.CalledNumber))
	id := t.freeID()
	c := &rigCall{lac: r, call: l2tp.NewOutCall(l2tp.RoleLAC, id)}
	var fx l2tp.CallEffects
	if u == nil || w.rnd.IntN(6) == 0 {
		c.call.Refuse(m, l2tp.Result{Code: l2tp.CDNBusy}, &fx)
		_ = r.t.Send(w.now, fx.Send, c.call.PeerID(), &r.fx)
		return
	}
	c.call.Receive(m, nil, &fx)
	if fx.Send == nil {
		return
	}
	_ = r.t.Send(w.now, fx.Send, c.call.PeerID(), &r.fx)
	r.calls[id] = c
	r.order = append(r.order, c)
	u.calls(c, t)
	w.tell("user %d is called: LAC %d, tunnel %d, session %d", u.index, t.lac.index, r.t.LocalID(), id)
	switch way := w.rnd.IntN(8); {
	case way == 0: // it rings, and nobody answers
	case way == 1:
		w.after(w.upTo(8*time.Second), func() { u.hangUp(c) })
	default:
		w.after(w.upTo(4*time.Second), func() { u.pickUp(c) })
	}
}

// callee is who a number belongs to, nil for nobody who can be called.
func (t *simTunnel) callee(number string) *simUser {
	users := t.users
	if len(users) == 0 {
		users = t.lac.tunnels[0].users
	}
	n, err := strconv.Atoi(number)
	if err != nil || len(users) == 0 || users[n%len(users)].call != nil {
		return nil
	}
	return users[n%len(users)]
}

// pickUp has a subscriber answer who is called.
func (u *simUser) pickUp(c *rigCall) {
	if !u.alive(c) || c.call.State() != l2tp.CallWaitAnswer {
		return
	}
	occn := &l2tp.Message{TxSpeed: 64000, FramingType: l2tp.FramingSync}
	occn.Set(l2tp.AVPTxSpeed, l2tp.AVPFramingType)
	t := u.tunnel.lac.tunnelOf(c.lac)
	if t.sequencing {
		occn.SequencingRequired = true
		occn.Set(l2tp.AVPSequencingRequired)
	}
	var fx l2tp.CallEffects
	c.call.Answer(occn, &fx)
	if fx.Send == nil {
		return
	}
	r := c.lac
	_ = r.t.Send(u.w.now, fx.Send, c.call.PeerID(), &r.fx)
	if u.call == c { // else nobody is there any more who has redialled
		u.begin(c, userName(u.index))
	}
	t.touched()
}

// told is what a LAC has said of the lines of a tunnel.
type told struct {
	errors map[*rigCall]uint32 // how many WENs
	speed  uint32              // how many CSUNs
}

// reports has the LAC tell of a call's line: of its errors, or of its speed and those of lines that
// are long gone.
func (t *simTunnel) reports(c *rigCall, what int) {
	m := &l2tp.Message{}
	switch {
	case what == 0:
		if t.told.errors == nil {
			t.told.errors = map[*rigCall]uint32{}
		}
		t.told.errors[c]++
		m.Type, m.Errors = l2tp.MessageWEN, l2tp.CallErrors{CRC: t.told.errors[c]}
		m.Set(l2tp.AVPCallErrors)
		_ = t.t.Send(t.lac.w.now, m, c.call.PeerID(), &t.fx)
	case what == 1 && t.lac.w.plan.speeds:
		t.told.speed++
		m.Type = l2tp.MessageCSUN
		for _, id := range []uint16{c.call.PeerID(), c.call.PeerID() + 1, 9999} {
			m.SpeedUpdates = append(m.SpeedUpdates, l2tp.SpeedUpdate{SessionID: id, Tx: firstSpeed + t.told.speed, Rx: 1000})
		}
		_ = t.t.Send(t.lac.w.now, m, 0, &t.fx)
	}
}

// firstSpeed is what CSUNs count from.
const firstSpeed = 1_000_000
