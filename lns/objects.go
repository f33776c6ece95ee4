package lns

import (
	"context"
	"encoding/json"
	"fmt"

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
		if err := s.hasIPsec(&p); err != nil {
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
