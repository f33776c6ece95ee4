package lns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"culvert/aaa"
	"culvert/sessiondb"
)

// keep puts a provisioned LAC profile into the journal, or takes it out.
func (s *Server) keep(op sessiondb.Op, name string, payload []byte) error {
	c := []sessiondb.Change{{Op: op, Object: &sessiondb.Object{Kind: objectLAC, Name: name, Payload: payload}}}
	if err := s.cfg.Journal.Apply(context.Background(), c); err != nil {
		return fmt.Errorf("LAC profile %q is not kept: %w", name, err)
	}
	if s.cfg.Sink != nil {
		s.cfg.Sink.Submit(c)
	}
	return nil
}

// loadObjects puts the configured profiles in force, then those an operator has provisioned.
func (s *Server) loadObjects() error {
	for _, p := range s.cfg.LACs {
		if err := s.canProtect(&p); err != nil {
			return err
		}
		q, err := newProfile(p, s.cfg.Node, s.cfg.Rand)
		if err != nil {
			return fmt.Errorf("lac %q: %w", p.Name, err)
		}
		s.profiles.put(q)
	}
	for o, err := range s.cfg.Journal.Objects(context.Background(), objectLAC) {
		if err != nil {
			return fmt.Errorf("journal: LAC profiles: %w", err)
		}
		var p LACProfile
		q := (*profile)(nil)
		if err = json.Unmarshal(o.Payload, &p); err == nil {
			q, err = newProfile(p, s.cfg.Node, s.cfg.Rand)
		}
		if err != nil {
			// One bad object must not keep a node from serving the others.
			s.log.Error("a provisioned LAC profile cannot be used; put it again", "profile", o.Name, "err", err)
			continue
		}
		s.profiles.put(q)
	}
	return nil
}

// leftoverBatch is how many leftovers are settled in one piece.
const leftoverBatch = 1000

// settleLeftovers closes what an earlier life of this node, which did not
// end by Shutdown, has left in the journal: the LACs' sessions are gone or
// will be soon, as nobody answers for them, so each gets its accounting Stop, with
// what was last known of its counters, and its record goes.
func (s *Server) settleLeftovers() error {
	ctx := context.Background()
	var changes []sessiondb.Change
	var usages []aaa.Usage
	n := 0
	flush := func() error {
		if len(changes) == 0 {
			return nil
		}
		if err := s.cfg.Journal.Apply(ctx, changes); err != nil {
			return fmt.Errorf("journal: cannot settle the sessions that were left: %w", err)
		}
		if s.cfg.Sink != nil {
			s.cfg.Sink.Submit(changes) // before the ledger, as in commit
		}
		s.cfg.Ledger.Submit(usages)
		changes, usages = nil, nil
		return nil
	}
	var errs []error
	for rec, err := range s.cfg.Journal.Sessions(ctx) {
		if err != nil {
			return fmt.Errorf("journal: sessions: %w", err)
		}
		n++
		c, u, err := s.settle(&rec)
		if err != nil {
			errs = append(errs, err)
		} else {
			usages = append(usages, u)
		}
		changes = append(changes, c...)
		if len(changes) >= leftoverBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	for rec, err := range s.cfg.Journal.Tunnels(ctx) {
		if err != nil {
			return fmt.Errorf("journal: tunnels: %w", err)
		}
		changes = append(changes, sessiondb.Change{Op: sessiondb.DropTunnel, Tunnel: &sessiondb.Tunnel{Key: rec.Key, Node: rec.Node}})
	}
	if err := errors.Join(errs...); err != nil {
		s.log.Error("some leftover sessions get no accounting Stop: their records cannot be read", "err", err)
	}
	if n > 0 {
		s.log.Warn("sessions of an earlier life of this node were closed", "sessions", n, "cause", CauseNodeRestart)
	}
	return flush()
}

// settle makes the Stop and the end of one leftover session.
func (s *Server) settle(rec *sessiondb.Session) ([]sessiondb.Change, aaa.Usage, error) {
	// The session lived at least until its record was last written; nothing later is known.
	end := &sessiondb.End{
		At: rec.Updated, Cause: CauseNodeRestart.String(),
		InOctets: rec.InOctets, OutOctets: rec.OutOctets, InPackets: rec.InPackets, OutPackets: rec.OutPackets,
	}
	changes := []sessiondb.Change{{Op: sessiondb.DropSession, Session: rec, End: end}}
	u, err := aaa.ParseUsage(rec.State)
	if err != nil {
		return changes, u, fmt.Errorf("session %s of %s: %w", rec.AcctSessionID, rec.User, err)
	}
	u.Seq, u.Kind, u.Cause = s.lastSeq.Add(1), aaa.UsageStop, CauseNodeRestart.Acct()
	// At and Duration stay what they were then: from the wall clock, which may have
	// jumped, Acct-Session-Time could come out less than an interim has told.
	u.InOctets, u.OutOctets, u.InPackets, u.OutPackets = rec.InOctets, rec.OutOctets, rec.InPackets, rec.OutPackets
	payload, err := aaa.AppendUsage(nil, &u)
	if err != nil {
		return changes, u, fmt.Errorf("session %s of %s: %w", rec.AcctSessionID, rec.User, err)
	}
	return append(changes, sessiondb.Change{Op: sessiondb.PutEntry, Entry: &sessiondb.Entry{
		Seq: u.Seq, Node: s.cfg.Node, Session: u.Identity.AcctSessionID, Payload: payload,
	}}), u, nil
}
