package lns

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"culvert/aaa"
	"culvert/proto/ppp"
)

// radiusMode is how a RADIUS server behaves.
type radiusMode uint8

const (
	radiusWell radiusMode = iota
	radiusSlow
	radiusDead
	radiusLying // grants what others have, and what there is not
	radiusRejecting
	radiusModes
)

func (m radiusMode) String() string {
	return [...]string{"well", "slow", "dead", "lying", "rejecting"}[m]
}

// simRADIUS decides about subscribers.
type simRADIUS struct {
	w    *world
	mode radiusMode
	lies []string // sessions that were lied about, by Acct-Session-Id
	// letIn are the names that were let in, by Acct-Session-Id.
	letIn map[string][]string
	talks simEAP
}

func newSimRADIUS(w *world) *simRADIUS {
	return &simRADIUS{w: w, letIn: map[string][]string{}, talks: simEAP{talks: map[string]*eapTalk{}}}
}

// authorizer is a life's client of it.
type authorizer struct {
	r *simRADIUS
	l *life
}

// Authorize implements aaa.Authorizer.
func (a authorizer) Authorize(req aaa.Request, done func(*aaa.Grant, error)) {
	a.l.effect()
	r := a.r
	delay, answer := r.w.upTo(30*time.Millisecond), r.grant
	switch r.mode {
	case radiusSlow:
		delay = r.w.upTo(40 * time.Second)
	case radiusDead:
		delay, answer = 10*time.Second, func(aaa.Request) (*aaa.Grant, error) { return nil, aaa.ErrUnavailable }
	case radiusRejecting:
		answer = func(req aaa.Request) (*aaa.Grant, error) {
			e := &aaa.RejectError{Message: "no"}
			if req.Method == aaa.MethodEAP {
				e.EAP = ppp.AppendEAPResult(nil, ppp.EAPFailure, req.ID)
			}
			return nil, e
		}
	case radiusLying:
		answer = r.lie
	}
	r.w.after(delay, func() {
		if r.w.life == a.l {
			g, err := answer(req)
			if id := req.Identity.AcctSessionID; err == nil && !slices.Contains(r.letIn[id], req.Identity.User) {
				r.letIn[id] = append(r.letIn[id], req.Identity.User)
			}
			r.w.tell("RADIUS about %s (%s): %+v, %v", req.Identity.User, req.Identity.AcctSessionID, g, err)
			done(g, err)
		}
	})
}

// grant is what a subscriber's contract says.
func (r *simRADIUS) grant(req aaa.Request) (*aaa.Grant, error) {
	u := userOf(req.Identity.User)
	if u < 0 || u >= r.w.plan.users {
		return nil, &aaa.RejectError{Message: "who?"}
	}
	beat := time.Second
	if r.w.plan.big {
		beat = 10 * time.Second
	}
	g := &aaa.Grant{Interim: time.Duration(4+u%7) * beat, Class: [][]byte{[]byte(req.Identity.User)}}
	c := &r.w.plan.contracts[u]
	if c.fixed {
		g.Address = fixedAddress(u)
	}
	if c.routed {
		g.Routes = networks(u)
	}
	if !r.w.calm {
		g.SessionTimeout, g.IdleTimeout = c.session, c.idle
	}
	if req.Method == aaa.MethodEAP {
		return r.eap(req, g)
	}
	return g, nil
}

// fixedAddress is outside of the pool.
func fixedAddress(u int) netip.Addr { return address4(netip.AddrFrom4([4]byte{100, 70, 0, 1}), u) }

// networks are behind a user who has any, one or two.
func networks(u int) []netip.Prefix {
	at := func(n int) netip.Prefix {
		return netip.PrefixFrom(address4(netip.AddrFrom4([4]byte{10, 0, 0, 0}), 8*n), 29)
	}
	return []netip.Prefix{at(2 * u), at(2*u + 1)}[:1+u%2]
}

// lie gives a grant that is wrong.
func (r *simRADIUS) lie(req aaa.Request) (*aaa.Grant, error) {
	g, err := r.grant(req)
	if err != nil || r.w.calm {
		return g, err
	}
	r.lies = append(r.lies, req.Identity.AcctSessionID)
	switch r.w.rnd.IntN(7) {
	case 0:
		g.Address = fixedAddress(r.w.rnd.IntN(r.w.plan.users))
	case 1:
		g.Address = address4(simPool(r.w.plan.pool).First, r.w.rnd.IntN(r.w.plan.pool))
	case 2:
		g.Pool = "no such pool"
	case 3:
		g.User = userName(r.w.rnd.IntN(r.w.plan.users))
	case 4:
		g.SessionTimeout = time.Nanosecond
	case 5:
		g.Routes = networks(r.w.rnd.IntN(r.w.plan.users))
	case 6:
		return nil, &aaa.Challenge{EAP: []byte{1, 9, 0, 77}} // whoever asked, and by whatever method
	}
	return g, nil
}

// address4 is the nth address after a.
func address4(a netip.Addr, n int) netip.Addr {
	b := a.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
	return netip.AddrFrom4(b)
}
