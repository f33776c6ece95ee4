package cluster

import (
	"net/netip"
	"time"
)

// Until when a node may serve an address, and for whose word that waits.

// Until says until when this node may answer for an address: a time that has
// passed when it may not.
func (m *Machine) Until(now time.Duration, local netip.AddrPort) time.Duration {
	o, lingers := m.mine[local], m.leaving[local]
	switch {
	case m.lapsed:
		return 0
	case o == nil:
		return min(lingers, m.until())
	case o.moving:
		return min(o.lingers, m.until())
	case now < o.from:
		return 0
	}
	return m.until()
}

// Stopped says that the node which has given an address away answers for it no more.
func (m *Machine) Stopped(local netip.AddrPort, epoch uint64) {
	if o := m.mine[local]; o != nil && o.epoch == epoch {
		o.from = 0
	}
}

// Arriving says for how long yet the node that has given an address away may go on.
func (m *Machine) Arriving(now time.Duration, local netip.AddrPort) time.Duration {
	if o := m.mine[local]; o != nil {
		return max(0, o.from-now)
	}
	return 0
}

func (m *Machine) until() time.Duration { return max(m.leased, m.promisedUntil()) }

// claimants are the nodes that could claim from this one.
func (m *Machine) claimants() []Node {
	var list []Node
	for _, n := range m.view.Nodes {
		if n.Name != m.cfg.Node && n.Member {
			list = append(list, n)
		}
	}
	return list
}

// promisedUntil is the end of the shortest promise of those who could claim.
func (m *Machine) promisedUntil() time.Duration {
	if !m.known {
		return 0
	}
	at := Forever
	for _, n := range m.claimants() {
		p := m.peers[n.Name]
		if p == nil {
			return 0
		}
		at = min(at, p.promised)
	}
	return at
}

func (m *Machine) missing(now time.Duration) []string {
	var names []string
	for _, n := range m.claimants() {
		if p := m.peers[n.Name]; p == nil || p.promised <= now {
			names = append(names, n.Name)
		}
	}
	return names
}

// Deadlines gives the end of the lease and of the shortest promise, and
// whether this node had to stop.
func (m *Machine) Deadlines() (lease, promise time.Duration, stopped bool) {
	return m.leased, m.promisedUntil(), m.lapsed
}
