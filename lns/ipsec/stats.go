package ipsec

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// Stats is what a Manager has counted since its start, and how things are.
type Stats struct {
	// Wanted says that a LAC profile uses IPsec; Connected that charon is there; Version is its.
	Wanted, Connected bool
	Version           string
	// SAs is how many peers each profile has.
	SAs map[string]int
	// Up counts peers that came, Gone those that went by cause, Rekeyed new keys of CHILD_SAs.
	Up, Rekeyed uint64
	// Early counts ESP packets that had come before their SA had keys, and were given to the kernel again (IKEv1).
	Early uint64
	Gone  map[lns.SACause]uint64
	// IKEUp and IKEDown count IKE SAs; Failures attempts that failed, by reason.
	IKEUp, IKEDown uint64
	Failures       map[lns.IKEReason]uint64
}

type counters struct {
	up, rekeyed, ikeUp, ikeDown, early atomic.Uint64

	mu       sync.Mutex
	gone     map[lns.SACause]uint64
	failures map[lns.IKEReason]uint64
}

func (c *counters) end(cause lns.SACause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone == nil {
		c.gone = map[lns.SACause]uint64{}
	}
	c.gone[cause]++
}

func (c *counters) fail(r lns.IKEReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures == nil {
		c.failures = map[lns.IKEReason]uint64{}
	}
	c.failures[r]++
}

// Stats may be called from any goroutine, and does not wait for charon.
func (m *Manager) Stats() Stats {
	s := Stats{
		SAs: m.tab.count(), Up: m.stats.up.Load(), Rekeyed: m.stats.rekeyed.Load(), Early: m.stats.early.Load(),
		IKEUp: m.stats.ikeUp.Load(), IKEDown: m.stats.ikeDown.Load(),
		Gone: map[lns.SACause]uint64{}, Failures: map[lns.IKEReason]uint64{},
	}
	m.stats.mu.Lock()
	for k, v := range m.stats.gone {
		s.Gone[k] = v
	}
	for k, v := range m.stats.failures {
		s.Failures[k] = v
	}
	m.stats.mu.Unlock()
	m.mu.Lock()
	s.Wanted, s.Connected, s.Version = m.wanted(), m.connected, m.version
	m.mu.Unlock()
	return s
}

// Rekey has charon make new keys for an SA, and waits until charon has begun. ErrNoSA where the mark has none. It may be
// called from any goroutine, and has a connection of its own.
func (m *Manager) Rekey(ctx context.Context, mark uint32) error {
	sa, ok := m.tab.lookup(mark)
	if !ok {
		return fmt.Errorf("%w: mark %d", lns.ErrNoSA, mark)
	}
	c, err := vici.Dial(ctx, m.cfg.Socket)
	if err != nil {
		return fmt.Errorf("charon: %w", err)
	}
	defer c.Close()
	var args vici.Section
	args.Set("child-id", fmt.Sprint(sa.ChildID))
	if _, err := c.Call(ctx, "rekey", args); err != nil {
		return err
	}
	m.cfg.Log.Info("an operator asked for new keys", saKeys(&sa)...)
	return nil
}

// SAs are all that there are, in any order. It may be called from any goroutine, and does not wait for charon.
func (m *Manager) SAs() []lns.SA { return m.tab.all() }

// wanted says whether a profile that was applied uses IPsec; mu is held.
func (m *Manager) wanted() bool {
	return slices.ContainsFunc(m.profiles, func(p lns.LACProfile) bool { return p.IPsecMode() != lns.IPsecNever })
}

// Warnings are sentences for an operator on what is wrong now.
func (m *Manager) Warnings() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	if m.wanted() && !m.connected {
		list = append(list, "charon is away: LACs that need IPsec cannot set up SAs")
	}
	for name, what := range m.problems {
		list = append(list, fmt.Sprintf("IPsec of LAC profile %q: %s", name, what))
	}
	sort.Strings(list)
	return list
}
