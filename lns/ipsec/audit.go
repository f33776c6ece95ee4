package ipsec

import (
	"context"
	"net"
	"slices"
	"sort"
	"strings"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// auditEvery is how often charon is asked whether it still has what was loaded.
const auditEvery = 15 * time.Second

// audit loads again what somebody else has taken out of charon: `swanctl --load-all`, which
// strongSwan's own unit runs at each start and reload, unloads all connections and keys that are not in
// swanctl.conf. SAs that there are do not suffer from it.
func (s *session) audit(ctx context.Context, now time.Time) error {
	m := s.m
	if now.Sub(m.lastAudit) < auditEvery || len(m.loaded) == 0 {
		return nil
	}
	m.lastAudit = now
	var lost []string
	for _, q := range []struct{ command, list, kind string }{{"get-conns", "conns", "conn"}, {"get-shared", "keys", "shared"}, {"get-keys", "keys", "key"}} {
		answer, err := s.call(ctx, q.command, nil)
		if err != nil {
			if err := s.tolerate("charon did not list what it has", err, "command", q.command); err != nil {
				return err
			}
			continue
		}
		lost = append(lost, m.missing(q.kind, answer.GetList(q.list))...)
	}
	if len(lost) == 0 {
		return nil
	}
	for _, key := range lost {
		delete(m.loaded, key)
	}
	sort.Strings(lost)
	m.cfg.Log.Warn("somebody has taken connections or keys of LAC profiles out of charon (swanctl --load-all does, as it knows swanctl.conf alone); they are loaded again",
		"lost", strings.Join(lost, ", "))
	return s.load(ctx)
}

// missing lists what was loaded of a kind and is not among what charon has.
func (m *Manager) missing(kind string, have []string) (lost []string) {
	there := make(map[string]bool, len(have))
	for _, name := range have {
		there[name] = true
	}
	for key := range m.loaded {
		k, name, _ := strings.Cut(key, " ")
		if k != kind {
			continue
		}
		if kind == "key" {
			if name = m.keys[key]; name == "" {
				continue // this charon does not name keys
			}
		}
		if !there[name] {
			lost = append(lost, key)
		}
	}
	return lost
}

// hostHas says whether this host has one of its addresses for IKE. In a cluster they may all be another node's, whose LACs
// it is to call.
func hostHas(list []string) bool {
	have, err := net.InterfaceAddrs()
	if err != nil || len(list) == 0 {
		return true // charon will say what is wrong
	}
	return slices.ContainsFunc(have, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && slices.Contains(list, n.IP.String())
	})
}

// initiate calls LACs that we are to call and that have no SA.
func (s *session) initiate(ctx context.Context, now time.Time) error {
	m := s.m
	for i := range m.loading {
		p := &m.loading[i]
		if p.IPsecMode() == lns.IPsecNever || !p.IPsec.Initiate || now.Sub(m.tried[p.Name]) < initiateEvery {
			continue
		}
		m.tried[p.Name] = now
		if len(p.Prefixes) != 1 || !p.Prefixes[0].IsSingleIP() || m.tab.count()[p.Name] > 0 || !hostHas(m.cfg.localAddrs()) {
			continue
		}
		var args vici.Section
		args.Set("ike", connName(p.Name, 0))
		args.Set("child", childName)
		args.Set("timeout", "-1")
		args.Set("init-limits", "no")
		_, err := s.call(ctx, "initiate", args)
		if err := s.tolerate("a LAC was not called", err, "profile", p.Name); err != nil {
			return err
		}
	}
	return nil
}
