package ipsec

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// load makes charon's configuration equal to the profiles in force. Where charon
// refuses something, the profile is named in the log and the others are loaded nevertheless.
func (s *session) load(ctx context.Context) error {
	m := s.m
	wants := map[string]*wanted{}
	var names []string
	for i := range m.loading {
		if w := m.cfg.want(&m.loading[i], m.ring); w != nil {
			wants[w.profile.Name] = w
			names = append(names, w.profile.Name)
		}
	}
	// Those with keys before those with certificates: of connections for one address charon looks for an IKEv1 key in the
	// order they came in, see remoteIDs.
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(len(wants[b].shared), len(wants[a].shared))
	})
	m.forgetProblems(wants)
	first := m.loaded == nil
	if first {
		m.loaded, m.keys = map[string]string{}, map[string]string{}
	}
	if err := s.unload(ctx, wants, first); err != nil {
		return err
	}
	conflicts := m.warnKeys()
	refused, err := s.loadKeys(ctx, wants, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		w := wants[name]
		err := refused[name]
		if err == nil {
			err = s.loadProfile(ctx, w)
		}
		if err != nil && !refusal(err) {
			return err
		}
		m.problem(name, cmp.Or(err, conflicts[name]))
		if err != nil {
			m.cfg.Log.Error("charon refused a LAC profile's IPsec; its LACs cannot set up SAs", "profile", name, "err", err)
			continue
		}
		if was := m.wants[name]; was != nil && was.access != w.access {
			if err := s.endProfile(ctx, w.conns, "its LAC profile was changed"); err != nil {
				return err
			}
		}
	}
	m.wants = wants
	return nil
}

// loadKeys loads the shared keys of all profiles, before any connection: an identity that goes from one profile to another is
// then never both of the first one's key and in the second one's connection. It gives what charon has refused, by profile.
func (s *session) loadKeys(ctx context.Context, wants map[string]*wanted, names []string) (refused map[string]error, err error) {
	refused = map[string]error{}
	for _, name := range names {
		w := wants[name]
		if len(w.shared) == 0 {
			continue
		}
		if err := s.loadOne(ctx, "shared "+connName(name, 0), "load-shared", w.shared); refusal(err) {
			refused[name] = err
		} else if err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// loadProfile loads certificates and their keys before connections, so that no LAC meets one without the other.
func (s *session) loadProfile(ctx context.Context, w *wanted) error {
	name := connName(w.profile.Name, 0)
	for i, c := range w.certs {
		if err := s.loadOne(ctx, fmt.Sprintf("cert %s %d", name, i), "load-cert", c); err != nil {
			return err
		}
	}
	for i, k := range w.keys {
		if err := s.loadOne(ctx, fmt.Sprintf("key %s %d", name, i), "load-key", k); err != nil {
			return err
		}
	}
	changed := false
	for _, it := range w.conns {
		before := s.m.loaded["conn "+it.Name]
		if err := s.loadOne(ctx, "conn "+it.Name, "load-conn", vici.Section{it}); err != nil {
			return err
		}
		changed = changed || before != s.m.loaded["conn "+it.Name]
	}
	if changed {
		s.m.cfg.Log.Info("loaded a LAC profile into charon", "profile", w.profile.Name, "mode", string(w.profile.IPsecMode()),
			"auth", w.profile.IPsec.Auth, "connections", len(w.conns))
		if list := weak(w.profile.IPsec); len(list) > 0 {
			s.m.cfg.Log.Warn("a LAC profile takes weak algorithms; leave them out as soon as its LACs can do better",
				"profile", w.profile.Name, "weak", strings.Join(list, " "))
		}
	}
	return nil
}

// loadOne sends what charon does not have yet.
func (s *session) loadOne(ctx context.Context, key, command string, args vici.Section) error {
	b, err := args.Append(nil)
	if err != nil {
		return fmt.Errorf("%s: %w", command, &vici.Error{Command: command, Message: err.Error()})
	}
	if s.m.loaded[key] == string(b) {
		return nil
	}
	answer, err := s.call(ctx, command, args)
	if err != nil {
		return err
	}
	s.m.loaded[key] = string(b)
	if id := answer.Get("id"); command == "load-key" && id != "" {
		s.m.keys[key] = id
	}
	return nil
}

// unload takes away what no profile wants. The first time that is asked of charon, since an
// earlier life of ours may have loaded it.
func (s *session) unload(ctx context.Context, wants map[string]*wanted, first bool) error {
	keep := map[string]bool{}
	for _, w := range wants {
		for _, it := range w.conns {
			keep["conn "+it.Name] = true
		}
		if len(w.shared) > 0 {
			keep["shared "+w.shared.Get("id")] = true
		}
	}
	have, err := s.have(ctx, first)
	if err != nil {
		return err
	}
	for _, key := range have {
		kind, name, _ := strings.Cut(key, " ")
		if keep[key] || kind != "conn" && kind != "shared" {
			continue
		}
		delete(s.m.loaded, key)
		var args vici.Section
		args.Set(map[string]string{"conn": "name", "shared": "id"}[kind], name)
		_, err := s.call(ctx, "unload-"+kind, args)
		if err := s.tolerate("charon did not unload something", err, "what", key); err != nil {
			return err
		}
		if kind == "conn" {
			if err := s.endProfile(ctx, vici.Section{{Name: name}}, "its LAC profile was removed"); err != nil {
				return err
			}
		}
	}
	return nil
}

// have lists what charon has of ours, as keys of loaded.
func (s *session) have(ctx context.Context, ask bool) ([]string, error) {
	var keys []string
	if !ask {
		for k := range s.m.loaded {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		return keys, nil
	}
	for _, q := range []struct{ command, list, kind string }{{"get-conns", "conns", "conn"}, {"get-shared", "keys", "shared"}} {
		answer, err := s.call(ctx, q.command, nil)
		if err := s.tolerate("charon did not list what it has", err, "command", q.command); err != nil {
			return nil, err
		}
		for _, name := range answer.GetList(q.list) {
			if _, ours := profileOf(name); ours {
				keys = append(keys, q.kind+" "+name)
			}
		}
	}
	return keys, nil
}

// endProfile ends the SAs of connections.
func (s *session) endProfile(ctx context.Context, conns vici.Section, why string) error {
	for _, it := range conns {
		any := false
		for _, p := range s.m.tab.peers {
			if p.conn == it.Name {
				s.m.ours[p.sa.IKEID], any = ended{lns.SAEndProfile, why}, true
			}
		}
		if !any {
			continue
		}
		s.m.cfg.Log.Info("ending the SAs of a LAC profile", "connection", it.Name, "why", why)
		var args vici.Section
		args.Set("ike", it.Name)
		args.Set("timeout", "-1")
		_, err := s.call(ctx, "terminate", args)
		if err := s.tolerate("SAs were not ended", err, "connection", it.Name); err != nil {
			return err
		}
	}
	return nil
}
