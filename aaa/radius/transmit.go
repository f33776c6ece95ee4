package radius

import (
	"bytes"
	"errors"
	"net"
	"time"

	"culvert/aaa"

	"layeh.com/radius"
)

// transmit encodes what is fresh, makes its authenticators known to the
// readers, and sends everything. It belongs to the sending goroutine.
func (s *server) transmit(out []sending) {
	for i := range out {
		if out[i].fresh {
			s.encode(&out[i])
		}
	}
	s.publish(out)
	// Only this goroutine adds sockets, so it may look without the lock.
	for i := range out {
		if x := out[i].x; x.packet != nil {
			s.sockets[out[i].id>>8].add(x.packet)
		}
	}
	for _, k := range s.sockets {
		if len(k.out) > 0 {
			k.send(func(packet []byte, err error) { s.unsent(k, packet, err) })
		}
	}
}

// encode makes the packet of a transmission; none if that cannot be done.
func (s *server) encode(o *sending) {
	x, id := o.x, byte(o.id)
	s.enc.b = s.enc.b[:0]
	switch {
	case x.probe():
		x.packet = s.enc.statusServer(id, &o.auth)
	case x.usage != nil:
		now := time.Now()
		x.packet, x.delay = s.enc.accountingRequest(id, x.usage, now), delay(x.usage, now)
	default:
		var err error
		if x.packet, err = s.enc.accessRequest(id, &o.auth, x.req, time.Now()); err != nil {
			x.packet = nil
			s.unsendable(x, err)
		}
	}
	x.packet = bytes.Clone(x.packet) // It is kept for retransmission, no longer than it is.
	if s.enc.short {
		s.limits.short.warn(s.log, "attributes were shortened or left out of a RADIUS request", "user", x.user())
	}
}

// unsendable refuses a subscriber whose credentials RADIUS cannot carry.
func (s *server) unsendable(x *exchange, err error) {
	s.mu.Lock()
	done := x.finish
	if !done {
		s.settle(x)
	}
	s.mu.Unlock()
	if !done {
		x.fail(&aaa.RejectError{Message: err.Error()})
	}
}

// publish stores the authenticators that came out of encoding.
func (s *server) publish(out []sending) {
	if s.role != RoleAcct {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range out {
		if sl := s.slot(out[i].id); out[i].fresh && sl.x == out[i].x && !out[i].x.probe() {
			sl.auth = [16]byte(out[i].x.packet[authenticator:headerLen])
		}
	}
}

// unsent deals with a packet that the kernel has not taken.
func (s *server) unsent(k *socket, packet []byte, err error) {
	switch {
	case errors.Is(err, net.ErrClosed):
	case isRefusal(err):
		// The error is an earlier packet's; this one has not been sent.
		s.refused(err)
		if _, err = k.conn.Write(packet); err == nil {
			return
		}
		fallthrough
	default:
		s.count(func(st *ServerStats) { st.SendErrors++ })
		s.limits.send.warn(s.log, "cannot send to the RADIUS server", "err", err)
	}
}

func (s *server) count(f func(*ServerStats)) {
	s.mu.Lock()
	f(&s.stats)
	s.mu.Unlock()
}

// refused notes an ICMP error.
func (s *server) refused(err error) {
	s.mu.Lock()
	s.stats.Refused++
	s.health.lastRefusal = time.Now()
	s.mu.Unlock()
	s.limits.send.warn(s.log, "RADIUS server's host refuses packets", "err", err)
}

// receive takes one datagram from the server's address.
func (s *server) receive(k *socket, sign *signer, b []byte) {
	p, err := packetOf(b)
	if err != nil {
		s.drop(&s.stats.Malformed, &s.limits.malformed, "RADIUS answer cannot be read", "err", err)
		return
	}
	s.mu.Lock()
	sl := k.slots[p[1]]
	s.mu.Unlock()
	switch {
	case sl.x == nil:
		s.count(func(st *ServerStats) { st.Late++ })
	case !sign.genuine(p, &sl.auth):
		if sign.genuine(p, &sl.before) {
			s.count(func(st *ServerStats) { st.Late++ })
			return
		}
		s.drop(&s.stats.BadAuthenticators, &s.limits.bad,
			"RADIUS answer with a wrong authenticator dropped; check that the secrets are equal", "user", sl.x.user())
	case !s.expected(radius.Code(p[0]), sl.x):
		s.drop(&s.stats.Malformed, &s.limits.malformed, "RADIUS answer of an unexpected kind dropped", "code", p[0])
	default:
		s.verified(k, sign, p, &sl)
	}
}

// verified checks the Message-Authenticator of an answer whose Response
// Authenticator is right, and completes the exchange.
func (s *server) verified(k *socket, sign *signer, p []byte, sl *slot) {
	switch sign.signature(p, &sl.auth) {
	case forged:
		s.drop(&s.stats.BadAuthenticators, &s.limits.bad,
			"RADIUS answer with a wrong Message-Authenticator dropped", "user", sl.x.user())
		return
	case unsigned:
		// A Status-Server's answer grants nothing.
		// With EAP the signature is not optional (RFC 3579 section 3.1).
		required := !s.cfg.AllowUnsigned || sl.x.req != nil && sl.x.req.Method == aaa.MethodEAP
		if s.role == RoleAuth && required && !sl.x.probe() {
			s.drop(&s.stats.Unsigned, &s.limits.unsigned,
				"RADIUS answer without Message-Authenticator dropped; upgrade the server or allow unsigned answers from it", "user", sl.x.user())
			return
		}
	}
	x := s.complete(k, p, sl.x)
	if x != nil {
		x.answer(s, p)
	}
}

// expected says whether an answer's code fits the request.
func (s *server) expected(c radius.Code, x *exchange) bool {
	switch c {
	case radius.CodeAccessAccept:
		return s.role == RoleAuth
	case radius.CodeAccessReject, radius.CodeAccessChallenge:
		return s.role == RoleAuth && !x.probe()
	case radius.CodeAccountingResponse:
		return s.role == RoleAcct
	}
	return false
}

// complete ends an exchange that has its answer; nil if it had ended before.
func (s *server) complete(k *socket, p []byte, x *exchange) *exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.slots[p[1]].x != x {
		s.stats.Late++
		return nil
	}
	now := time.Now()
	s.settle(x)
	s.live(now, x)
	if x.probe() {
		s.stats.ProbeReplies++
		return nil
	}
	s.stats.observe(now.Sub(x.first))
	switch radius.Code(p[0]) {
	case radius.CodeAccessAccept:
		s.stats.Accepts++
	case radius.CodeAccessReject:
		s.stats.Rejects++
	case radius.CodeAccessChallenge:
		s.stats.Challenges++
	default:
		s.stats.Responses++
	}
	if s.queue.len() > 0 {
		s.poke()
	}
	return x
}

// drop counts and logs what is not answered.
func (s *server) drop(counter *uint64, l *limiter, msg string, args ...any) {
	s.mu.Lock()
	*counter++
	s.mu.Unlock()
	l.warn(s.log, msg, args...)
}

// malformed makes the error for a genuine answer that cannot be used.
func (s *server) malformed(x *exchange, err error) error {
	s.count(func(st *ServerStats) { st.Malformed++ })
	e := &ReplyError{Server: s.cfg.Name, User: x.user(), Reason: err.Error()}
	var a *attrError
	if errors.As(err, &a) {
		e.Attribute, e.Reason = a.attribute, a.reason
	}
	s.limits.malformed.warn(s.log, "RADIUS answer cannot be used", "user", e.User, "attribute", e.Attribute, "reason", e.Reason)
	return e
}
