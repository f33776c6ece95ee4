package radtest

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
)

// readers is how many goroutines serve each of the two sockets.
const readers = 2

// socketBuffer is asked for, so that bursts of a lab's dial-in are not lost.
const socketBuffer = 4 << 20

// Server is a running RADIUS server. Its methods may be called at any time
// from any goroutine.
type Server struct {
	// Immutable.
	cfg        Config
	auth, acct *net.UDPConn
	wg         sync.WaitGroup

	behaviour atomic.Pointer[Behaviour]
	requests  atomic.Uint64 // for Behaviour.DropEvery

	mu      sync.Mutex
	recent  map[origin]*exchange
	counts  Counts
	ledger  ledger
	delayed map[*time.Timer]struct{}
	closed  bool
}

// origin is what tells one request of a client from its others.
type origin struct {
	from netip.AddrPort
	id   byte
	acct bool
}

// exchange is a request that was seen, and its answer once there is one.
type exchange struct {
	authenticator [16]byte
	reply         []byte
}

// maxRecent bounds the answers that are kept for retransmissions.
const maxRecent = 1 << 16

// New starts a server.
func New(cfg Config) (*Server, error) {
	if len(cfg.Secret) == 0 {
		return nil, fmt.Errorf("radtest: secret is missing")
	}
	if cfg.KeepRecords == 0 {
		cfg.KeepRecords = 1000
	}
	s := &Server{cfg: cfg, recent: map[origin]*exchange{}, delayed: map[*time.Timer]struct{}{}}
	s.ledger = newLedger(cfg.KeepRecords)
	s.behaviour.Store(&Behaviour{})
	var err error
	if s.auth, err = listen(cfg.Auth); err != nil {
		return nil, fmt.Errorf("radtest: %w", err)
	}
	if s.acct, err = listen(cfg.Acct); err != nil {
		_ = s.auth.Close()
		return nil, fmt.Errorf("radtest: %w", err)
	}
	for range readers {
		s.wg.Add(2)
		go s.serve(s.auth, false)
		go s.serve(s.acct, true)
	}
	return s, nil
}

func listen(at netip.AddrPort) (*net.UDPConn, error) {
	if !at.IsValid() {
		at = netip.MustParseAddrPort("127.0.0.1:0")
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err == nil {
		_ = c.SetReadBuffer(socketBuffer)
	}
	return c, err
}

// AuthAddr is where it listens for authentication.
func (s *Server) AuthAddr() netip.AddrPort { return local(s.auth) }

// AcctAddr is where it listens for accounting.
func (s *Server) AcctAddr() netip.AddrPort { return local(s.acct) }

func local(c *net.UDPConn) netip.AddrPort {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Behave changes how the server misbehaves from now on.
func (s *Server) Behave(b Behaviour) { s.behaviour.Store(&b) }

// Close stops the server and waits for its goroutines.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for t := range s.delayed {
		t.Stop()
	}
	s.mu.Unlock()
	_ = s.auth.Close()
	_ = s.acct.Close()
	s.wg.Wait()
	return nil
}

func (s *Server) serve(c *net.UDPConn, acct bool) {
	defer s.wg.Done()
	buf := make([]byte, radius.MaxPacketLength)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		s.handle(c, acct, from, buf[:n])
	}
}

func (s *Server) handle(c *net.UDPConn, acct bool, from netip.AddrPort, b []byte) {
	how := s.behaviour.Load()
	if how.Silent || how.DropEvery > 0 && s.requests.Add(1)%uint64(how.DropEvery) == 0 {
		return
	}
	p, err := radius.Parse(b, s.cfg.Secret)
	if err != nil || !s.acceptable(p, b, acct) {
		s.mu.Lock()
		s.counts.BadRequests++
		s.mu.Unlock()
		return
	}
	key := origin{from, p.Identifier, acct}
	x, again := s.remember(key, p)
	if again {
		if x != nil {
			_, _ = c.WriteToUDPAddrPort(x, from)
		}
		return
	}
	r := s.answer(p, from, acct, how)
	if r == nil {
		return
	}
	s.send(c, key, p.Authenticator, s.sign(r, p, how), how.Delay)
}

// send sends a reply, now or later, and keeps it for retransmissions.
func (s *Server) send(c *net.UDPConn, to origin, auth [16]byte, reply []byte, delay time.Duration) {
	if delay <= 0 {
		s.mu.Lock()
		if e := s.recent[to]; e != nil && e.authenticator == auth {
			e.reply = reply
		}
		s.mu.Unlock()
		_, _ = c.WriteToUDPAddrPort(reply, to.from)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(delay, func() {
		s.send(c, to, auth, reply, 0)
		s.mu.Lock()
		delete(s.delayed, t)
		s.mu.Unlock()
	})
	s.delayed[t] = struct{}{}
}

// remember says whether the request was seen before, and its answer if it was
// sent already.
func (s *Server) remember(key origin, p *radius.Packet) (reply []byte, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.recent[key]; e != nil && e.authenticator == p.Authenticator {
		s.counts.Retransmits++
		return e.reply, true
	}
	if len(s.recent) >= maxRecent {
		clear(s.recent)
	}
	s.recent[key] = &exchange{authenticator: p.Authenticator}
	return nil, false
}

// acceptable checks a request's code and authenticators.
func (s *Server) acceptable(p *radius.Packet, b []byte, acct bool) bool {
	switch p.Code {
	case radius.CodeAccessRequest:
		if acct {
			return false
		}
	case radius.CodeAccountingRequest:
		if !acct || !radius.IsAuthenticRequest(b[:packetLen(b)], s.cfg.Secret) {
			return false
		}
	case radius.CodeStatusServer:
		if p.Get(rfc2869.MessageAuthenticator_Type) == nil {
			return false
		}
	default:
		return false
	}
	sent := p.Get(rfc2869.MessageAuthenticator_Type)
	if sent == nil || p.Code == radius.CodeAccountingRequest {
		return true
	}
	return hmac.Equal(sent, messageAuthenticator(b[:packetLen(b)], p.Authenticator, s.cfg.Secret))
}

func packetLen(b []byte) int { return int(b[2])<<8 | int(b[3]) }

// answer decides; nil is no answer.
func (s *Server) answer(p *radius.Packet, from netip.AddrPort, acct bool, how *Behaviour) *radius.Packet {
	switch p.Code {
	case radius.CodeStatusServer:
		if how.SilentStatus {
			return nil
		}
		s.mu.Lock()
		s.counts.StatusServers++
		s.mu.Unlock()
		if acct {
			return p.Response(radius.CodeAccountingResponse)
		}
		return p.Response(radius.CodeAccessAccept)
	case radius.CodeAccountingRequest:
		s.mu.Lock()
		s.ledger.add(&s.counts, p, from)
		s.mu.Unlock()
		return p.Response(radius.CodeAccountingResponse)
	}
	r := s.authenticate(p, how)
	s.mu.Lock()
	s.counts.AccessRequests++
	switch {
	case r == nil:
	case r.Code == radius.CodeAccessAccept:
		s.counts.Accepts++
	case r.Code == radius.CodeAccessChallenge:
		s.counts.Challenges++
	default:
		s.counts.Rejects++
	}
	s.mu.Unlock()
	return r
}

// sign encodes a reply with Message-Authenticator, the first attribute, and
// Response Authenticator.
func (s *Server) sign(r, request *radius.Packet, how *Behaviour) []byte {
	secret := s.cfg.Secret
	if how.Lying {
		secret = append([]byte("not "), secret...)
	}
	for _, a := range request.Attributes {
		if a.Type == rfc2865.ProxyState_Type {
			r.Attributes = append(r.Attributes, a)
		}
	}
	sign := r.Code != radius.CodeAccountingResponse && !how.Unsigned
	if sign {
		first := &radius.AVP{Type: rfc2869.MessageAuthenticator_Type, Attribute: make(radius.Attribute, 16)}
		r.Attributes = append(radius.Attributes{first}, r.Attributes...)
	}
	b, err := r.MarshalBinary()
	if err != nil {
		return nil
	}
	if sign {
		copy(b[22:38], messageAuthenticator(b, request.Authenticator, secret))
	}
	h := md5.New()
	h.Write(b)
	h.Write(secret)
	copy(b[4:20], h.Sum(nil))
	return b
}

// messageAuthenticator computes that of packet b, with auth for its
// Authenticator (RFC 3579 section 3.2).
func messageAuthenticator(b []byte, auth [16]byte, secret []byte) []byte {
	b = bytes.Clone(b)
	copy(b[4:20], auth[:])
	for at := 20; at+2 <= len(b) && b[at+1] >= 2; at += int(b[at+1]) {
		if radius.Type(b[at]) == rfc2869.MessageAuthenticator_Type && b[at+1] == 18 {
			clear(b[at+2 : at+18])
		}
	}
	h := hmac.New(md5.New, secret)
	h.Write(b)
	return h.Sum(nil)
}
