package radius

import (
	"errors"
	"syscall"
	"time"
)

// isRefusal says whether an error is an ICMP error that the kernel reports on
// a connected socket.
func isRefusal(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// die takes the server out of use. The caller holds mu.
func (s *server) die(now time.Time) {
	if !s.alive.CompareAndSwap(true, false) {
		return
	}
	s.stats.Deaths++
	s.stats.Since = now
	s.health.retryAt = now.Add(s.cfg.DeadTime)
	if !s.cfg.NoProbe {
		s.health.probeAt = now
	}
	s.log.Warn("RADIUS server is dead: it answers nothing",
		"address", s.cfg.Address.String(), "waiting", s.inFlight+s.queue.len(), "retry_in", s.cfg.DeadTime)
}

// live notes that the server has answered x. The caller holds mu.
func (s *server) live(now time.Time, x *exchange) {
	s.health.lastReply = now
	if x.probe() {
		s.health.status = true
	}
	if s.alive.CompareAndSwap(false, true) {
		s.health.probeAt = time.Time{}
		s.log.Info("RADIUS server is alive again", "address", s.cfg.Address.String(), "dead_for", now.Sub(s.stats.Since))
		s.stats.Since = now
	}
}

// probe sends a Status-Server if one is due. The caller holds mu.
func (s *server) probe(now time.Time, out []sending) []sending {
	if s.health.probeAt.IsZero() || s.health.probeAt.After(now) {
		return out
	}
	s.health.probeAt = now.Add(min(probeEvery, max(s.cfg.DeadTime/4, 10*time.Millisecond)))
	x := &exchange{timer: -1, first: now}
	id, ok := s.take(x)
	if !ok {
		return out
	}
	s.stats.Probes++
	s.schedule(x, now)
	return append(out, sending{x: x, id: id, fresh: true, auth: s.slot(id).auth, at: now})
}

// tryTrial says whether a dead server may get one request to try. A server that
// knows Status-Server is judged by its answers to that alone.
func (s *server) tryTrial() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alive.Load() || s.health.trial || s.health.status || time.Now().Before(s.health.retryAt) {
		return false
	}
	s.health.trial = true
	return true
}

// endTrial lets the next trial begin if x was one. The caller holds mu.
func (s *server) endTrial(x *exchange) {
	if x.trial {
		s.health.trial = false
	}
}

// cancelTrial gives a trial back that was not made.
func (s *server) cancelTrial() {
	s.mu.Lock()
	s.health.trial = false
	s.mu.Unlock()
}

// snapshot gives the state and counters.
func (s *server) snapshot() ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Alive, st.InFlight, st.Queued, st.Sockets = s.alive.Load(), s.inFlight, s.queue.len(), len(s.sockets)
	return st
}
