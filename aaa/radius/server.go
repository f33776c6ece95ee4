package radius

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	mrand "math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// probeEvery is how often a dead server is probed, at most.
const probeEvery = 5 * time.Second

// Why a server did not answer.
var (
	errTimeout  = errors.New("no answer")
	errDead     = errors.New("server is dead")
	errOverload = errors.New("too many requests are waiting")
)

// server is one RADIUS server in one role. Its sending goroutine is run; each
// socket has a reading one.
type server struct {
	// Immutable.
	cfg        Server
	role       Role
	index      int // in its group
	log        *slog.Logger
	maxSockets int
	// elsewhere takes an exchange that this server did not answer.
	elsewhere func(*exchange)
	wake      chan struct{}
	closing   chan struct{}
	wg        sync.WaitGroup
	limits    struct{ bad, unsigned, malformed, send, overflow, short limiter }

	// enc belongs to the sending goroutine.
	enc *encoder
	// load is in flight plus queued, alive what choosing a server looks at.
	load  atomic.Int64
	alive atomic.Bool

	mu       sync.Mutex
	closed   bool
	sockets  []*socket
	free     []slotID // a ring: the one that has been free longest is used first
	freeHead int
	freeLen  int
	queue    fifo
	timers   timers
	inFlight int
	health   health
	stats    ServerStats
}

// health is when a server last did what; guarded by its mu.
type health struct {
	lastReply, lastRefusal time.Time
	// retryAt is when a dead server may get a trial, probeAt when it is probed next.
	retryAt, probeAt time.Time
	trial            bool // one is on its way
	status           bool // it has answered a Status-Server
}

func newServer(cfg Server, role Role, nasID string, nasAddr netip.Addr, log *slog.Logger) (*server, error) {
	s := &server{
		cfg: cfg, role: role, log: log.With("server", cfg.Name, "role", string(role)),
		wake: make(chan struct{}, 1), closing: make(chan struct{}),
	}
	perRequest := 1
	if role == RoleAcct {
		perRequest = 1 + cfg.Retries
	}
	// One more for probes and for identifiers that rest after use.
	s.maxSockets = (cfg.InFlight*perRequest+255)/256 + 1
	s.stats = ServerStats{Name: cfg.Name, Role: role, Address: cfg.Address, Since: time.Now()}
	s.alive.Store(true)
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("radius server %s: %w", cfg.Name, err)
	}
	if !nasAddr.IsValid() {
		local, _ := netip.ParseAddrPort(s.sockets[0].conn.LocalAddr().String())
		nasAddr = local.Addr().WithZone("")
	}
	s.enc = &encoder{signer: newSigner(cfg.Secret), nasID: nasID, nasAddr: nasAddr}
	s.wg.Add(1)
	go s.run()
	return s, nil
}

// open adds a socket and its identifiers. The caller holds mu, or nobody else
// knows the server yet.
func (s *server) open() error {
	conn, err := dial(s.cfg.Source, s.cfg.Address)
	if err != nil {
		return err
	}
	k := newSocket(len(s.sockets), conn)
	s.sockets = append(s.sockets, k)
	ring := make([]slotID, 256*len(s.sockets))
	for i := range s.freeLen {
		ring[i] = s.free[(s.freeHead+i)%len(s.free)]
	}
	for id := range 256 {
		ring[s.freeLen+id] = slotID(k.index<<8 | id)
	}
	s.free, s.freeHead, s.freeLen = ring, 0, s.freeLen+256
	s.wg.Add(1)
	go k.read(s)
	return nil
}

func (s *server) slot(id slotID) *slot { return &s.sockets[id>>8].slots[id&0xff] }

// take gives the exchange one more identifier, with auth for its Request
// Authenticator. The caller holds mu.
func (s *server) take(x *exchange) (slotID, bool) {
	if s.freeLen < 64 && len(s.sockets) < s.maxSockets {
		if err := s.open(); err != nil {
			s.limits.send.warn(s.log, "cannot open another socket towards the RADIUS server", "err", err)
		}
	}
	if s.freeLen == 0 {
		return 0, false
	}
	id := s.free[s.freeHead]
	s.freeHead = (s.freeHead + 1) % len(s.free)
	s.freeLen--
	sl := s.slot(id)
	sl.x, sl.before = x, sl.auth
	_, _ = rand.Read(sl.auth[:])
	x.slots = append(x.slots, id)
	return id, true
}

// offer takes an exchange into the queue, or says why not.
func (s *server) offer(x *exchange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.inFlight+s.queue.len() >= s.cfg.InFlight+s.cfg.Queue:
		s.stats.Overflows++
		s.limits.overflow.warn(s.log, "RADIUS server has too many requests waiting",
			"in_flight", s.inFlight, "queued", s.queue.len())
		return errOverload
	}
	x.due = time.Now().Add(s.cfg.MaxWait)
	x.sent, x.timer, x.finish, x.slots = 0, -1, false, x.slots[:0]
	s.queue.push(x)
	s.load.Add(1)
	s.poke()
	return nil
}

// poke wakes the sending goroutine.
func (s *server) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sending is one transmission to make.
type sending struct {
	x  *exchange
	id slotID
	// fresh packets are encoded; the others sent again as they are.
	fresh bool
	auth  [16]byte
	at    time.Time
}

// run sends what is queued and sends again what is due, until close.
func (s *server) run() {
	defer s.wg.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var out []sending
	var lost []*exchange
	for {
		now := time.Now()
		s.mu.Lock()
		out, lost = s.expire(now, out[:0], lost[:0])
		out, lost = s.admit(now, out, lost)
		out = s.probe(now, out)
		next := s.nextDue(now)
		s.mu.Unlock()
		s.transmit(out)
		for i, x := range lost {
			s.elsewhere(x)
			lost[i] = nil
		}
		clear(out)
		timer.Reset(next)
		select {
		case <-s.wake:
		case <-timer.C:
		case <-s.closing:
			return
		}
	}
}

// expire collects what to send again and what got no answer. The caller holds mu.
func (s *server) expire(now time.Time, out []sending, lost []*exchange) ([]sending, []*exchange) {
	for len(s.timers) > 0 && !s.timers[0].due.After(now) {
		x := s.timers[0]
		if x.sent <= s.cfg.Retries && !x.trial && !x.probe() && s.worthwhile(x) {
			out = s.again(x, now, out)
			continue
		}
		if x.trial {
			s.health.retryAt = now.Add(s.cfg.DeadTime)
		}
		s.settle(x)
		if x.probe() {
			continue
		}
		s.stats.Timeouts++
		if s.health.lastReply.Before(x.first) {
			s.die(now)
		}
		x.last = fmt.Errorf("server %s: %w", s.cfg.Name, errTimeout)
		lost = append(lost, x)
	}
	return out, lost
}

// worthwhile says whether an answer may still come: not from a dead server,
// nor when its host has said that nobody listens.
func (s *server) worthwhile(x *exchange) bool {
	return s.alive.Load() && !(s.health.lastRefusal.After(x.first) && s.health.lastReply.Before(x.first))
}

// again makes the next transmission of an exchange. Accounting gets a new
// identifier when its Acct-Delay-Time has changed (RFC 2866 section 5.2), and
// keeps the old ones as well: an answer to any of them will do.
func (s *server) again(x *exchange, now time.Time, out []sending) []sending {
	send := sending{x: x, id: x.slots[len(x.slots)-1], at: now}
	if x.usage != nil && delay(x.usage, now) != x.delay {
		if id, ok := s.take(x); ok {
			send.id, send.fresh = id, true
		}
	}
	s.stats.Retransmits++
	s.schedule(x, now)
	return append(out, send)
}

// schedule sets the timer of a transmission that is made now.
func (s *server) schedule(x *exchange, now time.Time) {
	s.timers.remove(x)
	x.sent++
	// Spread, lest retransmissions come in the bursts of their requests (RFC 5080 section 2.2.1).
	x.due = now.Add(time.Duration(float64(s.cfg.Timeout) * (0.9 + 0.2*mrand.Float64())))
	s.timers.push(x)
}

// admit moves exchanges from the queue into flight. The caller holds mu.
func (s *server) admit(now time.Time, out []sending, lost []*exchange) ([]sending, []*exchange) {
	for s.queue.len() > 0 {
		x := s.queue.peek()
		var why error
		switch {
		case !s.alive.Load() && !x.trial:
			why = errDead
		case !x.due.After(now):
			s.stats.Expired++
			x.tried = math.MaxUint64 // It has waited long enough.
			why = errOverload
		case s.inFlight >= s.cfg.InFlight:
			return out, lost
		}
		if why != nil {
			s.queue.pop()
			s.load.Add(-1)
			s.endTrial(x)
			x.last = fmt.Errorf("server %s: %w", s.cfg.Name, why)
			lost = append(lost, x)
			continue
		}
		id, ok := s.take(x)
		if !ok {
			return out, lost
		}
		s.queue.pop()
		s.inFlight++
		s.stats.Requests++
		x.first = now
		out = append(out, sending{x: x, id: id, fresh: true, auth: s.slot(id).auth, at: now})
		s.schedule(x, now)
	}
	return out, lost
}

// nextDue is how long the sending goroutine may sleep. The caller holds mu.
func (s *server) nextDue(now time.Time) time.Duration {
	next := time.Hour
	if len(s.timers) > 0 {
		next = min(next, s.timers[0].due.Sub(now))
	}
	if s.queue.len() > 0 {
		next = min(next, s.queue.peek().due.Sub(now))
	}
	if !s.health.probeAt.IsZero() {
		next = min(next, s.health.probeAt.Sub(now))
	}
	return max(next, 0)
}

// settle takes an exchange out of flight and frees its identifiers. The caller holds mu.
func (s *server) settle(x *exchange) {
	s.timers.remove(x)
	s.endTrial(x)
	x.finish = true
	for _, id := range x.slots {
		s.slot(id).x = nil
		s.free[(s.freeHead+s.freeLen)%len(s.free)] = id
		s.freeLen++
	}
	x.slots = x.slots[:0]
	if !x.probe() {
		s.inFlight--
		s.load.Add(-1)
	}
}

// close fails everything and waits for the goroutines.
func (s *server) close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	var left []*exchange
	for len(s.timers) > 0 {
		left = append(left, s.timers[0])
		s.settle(s.timers[0])
	}
	for s.queue.len() > 0 {
		left = append(left, s.queue.pop())
		s.load.Add(-1)
	}
	close(s.closing)
	for _, k := range s.sockets {
		_ = k.conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	for _, x := range left {
		x.fail(unavailable(ErrClosed))
	}
}
