package ipsec

import (
	"context"
	"fmt"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// session is one connection to charon, from greeting to end. It belongs to the manager's goroutine.
type session struct {
	m   *Manager
	cmd *vici.Conn
	// same says that this is the charon of the last connection, which has only been deaf, or slow.
	same bool
}

// call gives one command its time.
func (s *session) call(ctx context.Context, command string, args vici.Section) (vici.Section, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTime, fmt.Errorf("charon has not answered %s within %v", command, callTime))
	defer cancel()
	return s.cmd.Call(ctx, command, args)
}

// greet learns who is there.
func (s *session) greet(ctx context.Context) error {
	v, err := s.call(ctx, "version", nil)
	if err != nil {
		return err
	}
	s.m.cfg.Log.Info("charon is there", "daemon", v.Get("daemon"), "version", v.Get("version"), "socket", s.m.cfg.Socket)
	s.m.away = ""
	pid := s.cmd.PID()
	s.same = pid != 0 && pid == s.m.charonPID
	s.m.charonPID = pid
	s.m.setConnected(true, v.Get("version"))
	return nil
}

// begin finds the SAs that there are, clears away what a charon that died has left in the
// kernel, and loads everything. In this order: a charon begun anew hands out marks from 1
// again, so no peer may come in before the SAs of the last one are gone.
func (s *session) begin(ctx context.Context) error {
	m := s.m
	m.ikes, m.childless, m.unsure = ikeLog{}, nil, nil
	clear(m.ours)
	if !s.same {
		m.tab.exhume()
	}
	if err := s.resync(ctx, !s.same); err != nil {
		return err
	}
	m.wants, m.loaded, m.lastAudit = nil, nil, time.Now()
	if err := s.load(ctx); err != nil {
		return err
	}
	m.cleaned = true
	return nil
}

// follow does what comes up, until the connection ends.
func (s *session) follow(ctx context.Context, events <-chan arrived) error {
	tick := time.NewTicker(settleTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-events:
			if e.err != nil {
				return fmt.Errorf("charon has gone: %w", e.err)
			}
			s.m.event(e.name, e.body)
			continue
		case <-s.m.wake:
			if err := s.words(ctx); err != nil {
				return err
			}
		case <-tick.C:
		}
		if err := s.timed(ctx, time.Now()); err != nil {
			return err
		}
	}
}

// words does what others have asked for.
func (s *session) words(ctx context.Context) error {
	m := s.m
	m.mu.Lock()
	changed, endings := m.changed, m.endings
	m.endings = nil
	m.mu.Unlock()
	if changed {
		m.takeProfiles()
		if err := s.load(ctx); err != nil {
			return err
		}
	}
	for _, e := range endings {
		if err := s.terminate(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// timed does what is due by the clock.
func (s *session) timed(ctx context.Context, now time.Time) error {
	m := s.m
	m.settle(now)
	if err := s.endDoubtful(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	missed := m.missed
	m.mu.Unlock()
	if missed && now.Sub(m.lastMiss) >= missPause {
		m.mu.Lock()
		m.missed = false
		m.mu.Unlock()
		m.lastMiss = now
		return s.resync(ctx, false)
	}
	if now.Sub(m.lastSync) >= resyncEvery {
		return s.resync(ctx, false)
	}
	if err := s.audit(ctx, now); err != nil {
		return err
	}
	return s.initiate(ctx, now)
}

// terminate ends one SA with its IKE SA.
func (s *session) terminate(ctx context.Context, e ending) error {
	m := s.m
	sa, ok := m.tab.lookup(e.mark)
	if !ok {
		return nil // it has ended by itself
	}
	m.ours[sa.IKEID] = ended{lns.SAEndLocal, e.why}
	m.cfg.Log.Info("ending an SA", "profile", sa.Profile, "identity", sa.Identity, "remote", sa.Remote, "mark", e.mark, "why", e.why)
	var args vici.Section
	args.Set("ike-id", fmt.Sprint(sa.IKEID))
	args.Set("timeout", "-1")
	_, err := s.call(ctx, "terminate", args)
	return s.tolerate("an SA was not ended", err, "profile", sa.Profile, "mark", e.mark)
}

// tolerate logs charon's refusal of a command; any other error ends the session.
func (s *session) tolerate(what string, err error, keys ...any) error {
	if err == nil {
		return nil
	}
	if !refusal(err) {
		return err
	}
	s.m.cfg.Log.Warn(what, append(keys, "err", err)...)
	return nil
}
