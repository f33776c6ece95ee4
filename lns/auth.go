package lns

import (
	"errors"
	"fmt"
	"net/netip"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/lns/link"
)

// askAAA sends the subscriber's credentials to AAA once the step is committed.
func (sh *shard) askAAA(s *session, c *link.Credentials) {
	if s.state == stateUp && c.User != s.said() {
		sh.end(s, CauseProtocolError, "the subscriber came back under another name")
		return
	}
	// Earlier records of the session may still be read by others: a new
	// name goes into a new identity. A session that is up keeps the name that
	// it is accounted by.
	who := *s.who
	who.User = c.User
	if s.state != stateUp {
		s.who = &who
	}
	s.method = aaa.Method(c.Method)
	sh.traceAsk(s)
	key, owner, serial, inbox := s.key, s.owner, c.Serial, sh.inbox
	var eap *aaa.EAPResponse
	if c.EAP != nil {
		eap = &aaa.EAPResponse{Packet: c.EAP.Packet, State: c.EAP.State, MTU: c.EAP.MTU}
	}
	sh.asks = append(sh.asks, ask{
		req: aaa.Request{Identity: who, Credentials: aaa.Credentials{
			Method: s.method, Password: c.Password, ID: c.ID, Challenge: c.Challenge, Response: c.Response,
			EAP: eap,
		}},
		done: func(g *aaa.Grant, err error) { inbox.put(&answer{key, owner, serial, g, err}) },
	})
}

// answer is AAA's. It is dropped when the session it was for is gone, or when the
// link has begun anew meanwhile: a grant for one name must not let in another.
type answer struct {
	key    dataplane.Key
	owner  uint64
	serial uint16
	grant  *aaa.Grant
	err    error
}

func (m *answer) deliver(sh *shard) {
	s := sh.sessions[m.key]
	if s == nil || s.owner != m.owner || s.state == stateClosing || !s.link.Awaits(m.serial) {
		sh.stats.staleAnswers++
		return
	}
	sh.traceAnswer(s, m.grant, m.err)
	if m.err == nil {
		sh.granted(s, m.grant)
		return
	}
	var more *aaa.Challenge
	if errors.As(m.err, &more) {
		sh.challenged(s, more)
		return
	}
	sh.denied(s, m.err)
}

// challenged goes on with EAP. What cannot be passed on to the subscriber ends the session.
func (sh *shard) challenged(s *session, c *aaa.Challenge) {
	var err error
	sh.linkStep(s, func(fx *link.Effects) {
		err = s.link.Challenge(sh.now, &link.Challenge{Packet: c.EAP, State: c.State, Timeout: c.Timeout, Ignored: c.Ignored}, fx)
	})
	if err != nil {
		sh.deny(s, CauseAuthRejected, "no usable answer", err.Error())
	}
}

// denied tells the subscriber that AAA said no, or said nothing.
func (sh *shard) denied(s *session, err error) {
	cause, message := CauseAuthUnavailable, "Authentication is not possible now"
	var reject *aaa.RejectError
	if errors.As(err, &reject) {
		cause, message = CauseAuthRejected, reject.Message
		if reject.MSCHAPError != "" {
			message = reject.MSCHAPError
		}
		if s.method == aaa.MethodEAP {
			// A Reply-Message is not for EAP's subscribers (RFC 3579 section 2.6.5).
			message = string(reject.EAP)
		}
	}
	sh.deny(s, cause, message, err.Error())
}

// deny ends a session in authentication: the subscriber is told why, in the
// words of its protocol, before the link goes.
func (sh *shard) deny(s *session, cause Cause, message, detail string) {
	sh.begin(s, cause, detail)
	sh.linkStep(s, func(fx *link.Effects) {
		s.link.Deny(sh.now, message, fx)
		if s.link.Phase() < link.PhaseClosing {
			// It renegotiates meanwhile, so there is nothing to deny.
			s.link.Close(sh.now, fx)
		}
	})
}

// granted gives the subscriber what AAA allows: an address first.
func (sh *shard) granted(s *session, g *aaa.Grant) {
	said := s.said()
	if g.User != "" && g.User != s.who.User && s.state != stateUp { // else it keeps the name of its Start
		who := *s.who
		who.User = g.User
		s.who = &who
	}
	if !s.address.IsValid() {
		addr, err := sh.acquire(s, s.pool(g), g.Address)
		if err != nil {
			sh.log.Warn("no address for a subscriber", sh.logKeys(s, "pool", s.pool(g), "err", err)...)
			sh.deny(s, refused(err), "No address is free", err.Error())
			return
		}
		s.address = addr
	}
	if err := sh.routed(s, g); err != nil {
		sh.log.Warn("a subscriber's network is not free", sh.logKeys(s, "err", err)...)
		sh.deny(s, refused(err), "Your network is in use", err.Error())
		return
	}
	s.terms = termsOf(g, s.who.User, said)
	net := link.Network{Local: sh.srv.cfg.Subscriber.LocalAddress, Peer: s.address, DNS: g.DNS, NBNS: g.NBNS, MTU: g.MTU}
	if !net.DNS[0].IsValid() && !net.DNS[1].IsValid() {
		net.DNS = sh.srv.cfg.Subscriber.DNS
	}
	if !net.NBNS[0].IsValid() && !net.NBNS[1].IsValid() {
		net.NBNS = sh.srv.cfg.Subscriber.NBNS
	}
	message := g.ReplyMessage
	if g.MSCHAPSuccess != "" {
		message = g.MSCHAPSuccess
	}
	if s.method == aaa.MethodEAP {
		message = string(g.EAP)
	}
	sh.linkStep(s, func(fx *link.Effects) { s.link.Grant(sh.now, net, message, fx) })
}

// errOutdated says that a subscriber has dialled again since this call.
var errOutdated = errors.New("a later call of the same subscriber has it")

// pool names the pool of the subscriber's address, "" for the default: the grant's, else
// the LAC's group where its profile says that groups are pools.
func (s *session) pool(g *aaa.Grant) string {
	if g.Pool == "" && s.facts.profile.PoolByGroup {
		return s.who.PrivateGroup
	}
	return g.Pool
}

// acquire takes the subscriber's address. When the same subscriber still
// holds it with an earlier session, that one is stale (a modem that lost
// power dials again before its LAC has noticed) and gives way. A later session
// does not: its call was placed while AAA took its time over this one.
func (sh *shard) acquire(s *session, pool string, want netip.Addr) (netip.Addr, error) {
	addr, err := sh.srv.cfg.Addresses.Acquire(pool, want, s.who.User, s.owner)
	var held *aaa.AddressInUseError
	if err == nil || !errors.As(err, &held) || held.User != s.who.User {
		return addr, err
	}
	if held.Owner > s.owner {
		return addr, fmt.Errorf("address %v: %w", held.Address, errOutdated)
	}
	sh.srv.cfg.Addresses.Release(held.Address, held.Owner)
	addr, err = sh.srv.cfg.Addresses.Acquire(pool, want, s.who.User, s.owner)
	if err == nil {
		sh.replace(held.Owner)
	}
	return addr, err
}

// replace has a session end, on whichever shard it is.
func (sh *shard) replace(owner uint64) {
	for i := range sh.srv.shards {
		sh.send(i, replaced{owner})
	}
}

// replaced ends the session that another of the same subscriber has taken over from.
type replaced struct{ owner uint64 }

func (m replaced) deliver(sh *shard) {
	for _, s := range sh.sessions {
		if s.owner == m.owner {
			sh.end(s, CauseReplaced, "the same subscriber has dialled again")
			return
		}
	}
}
