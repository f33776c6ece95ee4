package cluster

import (
	"slices"
	"time"
)

// What the database says of nodes and addresses, and what a node makes of it.

// RenewNow makes the next Tick renew, as when a peer says that there is news.
func (m *Machine) RenewNow(now time.Duration) { m.renewAt = now }

// RenewFailed says that the renewal that was asked for did not work, or that
// nobody knows.
func (m *Machine) RenewFailed(now time.Duration, fx *Effects) {
	m.renewing = false
	m.renewAt = now + m.cfg.RenewEvery()/2
	m.judge(now, fx)
}

// Renewed takes the answer to a renewal.
func (m *Machine) Renewed(now time.Duration, v View, fx *Effects) {
	m.renewing = false
	m.renewAt = max(m.asked+m.cfg.RenewEvery(), now)
	m.keepNewer(&v)
	m.noteLingering(now, &v)
	m.view, m.viewed, m.known = v, m.asked, true
	m.leased = m.asked + m.cfg.Lease
	m.settleClaims()
	m.learn(now, fx)
	if m.lapsed && now < m.leased {
		m.lapsed = false // the database knows who owns what
	}
	m.adopt(now, fx)
	m.save(fx)
	m.judge(now, fx)
}

// keepNewer leaves in a new view what this node knows better: an address that it has
// claimed or given away while the renewal was on its way. The next one tells the truth.
func (m *Machine) keepNewer(v *View) {
	for i := range v.Addresses {
		a := &v.Addresses[i]
		at, changed := m.changedAt[a.Local]
		if !changed || at < m.asked {
			delete(m.changedAt, a.Local)
			continue
		}
		for _, known := range m.view.Addresses {
			if known.Local == a.Local && known.Epoch > a.Epoch {
				*a = known
				v.Claims = max(v.Claims, m.view.Claims)
			}
		}
	}
}

// knows tells whether nothing later than a is known of its address.
func (m *Machine) knows(a Address) bool {
	return slices.ContainsFunc(m.view.Addresses, func(x Address) bool { return x == a })
}

// changeOwner notes in the view that a transaction of this node's gave an address to a
// node, unless a renewal has told so already.
func (m *Machine) changeOwner(now time.Duration, a Address) {
	m.changedAt[a.Local] = now
	for i := range m.view.Addresses {
		if known := &m.view.Addresses[i]; known.Local == a.Local && known.Epoch < a.Epoch {
			*known = a
			m.view.Claims++
		}
	}
}

// save has a view written down whose members or owners are news.
func (m *Machine) save(fx *Effects) {
	v := m.view
	v.Nodes, v.Addresses = slices.Clone(v.Nodes), slices.Clone(v.Addresses)
	fx.Save = &Saved{View: v, Seen: v.Members}
}

// Saved says that what Effects.Save asked for is on disk.
func (m *Machine) Saved(s *Saved) { m.saved = max(m.saved, s.Seen) }

// settleClaims drops failed claims that this renewal, begun later, has settled:
// it waits for the rows that a claim has locked.
func (m *Machine) settleClaims() {
	for a, c := range m.claiming {
		if c.failed && m.asked >= c.at {
			delete(m.claiming, a)
		}
	}
}

// learn takes what the view says of the other nodes.
func (m *Machine) learn(now time.Duration, fx *Effects) {
	for i := range m.view.Nodes {
		n := &m.view.Nodes[i]
		if n.Name == m.cfg.Node {
			continue
		}
		p := m.peer(n.Name, now)
		if n.Beat != p.beat || n.Epoch != p.epoch {
			p.beat, p.epoch, p.beatAt = n.Beat, n.Epoch, now
		}
		if n.Lease != m.cfg.Lease && n.Member {
			fx.log("the nodes of the cluster have different leases; give all the same", "node", n.Name, "its", n.Lease, "ours", m.cfg.Lease)
		}
	}
	for _, a := range m.view.Addresses {
		if _, ok := m.vacant[a.Local]; a.Owner == "" && !ok {
			m.vacant[a.Local] = now
		} else if a.Owner != "" {
			delete(m.vacant, a.Local)
		}
	}
}

// adopt compares what this node takes for its own with what the view says.
func (m *Machine) adopt(now time.Duration, fx *Effects) {
	for _, a := range m.view.Addresses {
		o := m.mine[a.Local]
		if o != nil && (a.Owner != m.cfg.Node || a.Epoch != o.epoch) {
			m.disown(now, a.Local)
			fx.Changed = append(fx.Changed, Change{Address: a})
			o = nil
		}
		if a.Owner == m.cfg.Node && o == nil && slices.Contains(m.cfg.Serves, a.Local) {
			m.own(now, a, fx)
		}
	}
}

func (m *Machine) own(now time.Duration, a Address, fx *Effects) {
	known := m.before[a.Local] == a.Epoch && a.Epoch != 0
	m.mine[a.Local] = &owned{epoch: a.Epoch, from: m.freeFrom(now, a)}
	delete(m.leaving, a.Local)
	delete(m.before, a.Local) // in this life it is not the journal alone that knows
	fx.Changed = append(fx.Changed, Change{Address: a, Mine: true, Known: known})
}

// judge looks at the deadlines of this node and at what others have left.
func (m *Machine) judge(now time.Duration, fx *Effects) {
	if m.known && !m.lapsed && now >= m.until() {
		m.lapsed = true
		if len(m.mine) > 0 {
			fx.log("this node has no lease, and not the word of all others that they will not claim: it stops answering",
				"addresses", len(m.mine), "missing", m.missing(now))
		}
	}
	if m.lapsed {
		m.resume(now, fx)
	}
	m.claim(now, fx)
	m.expel(now, fx)
}

// resume goes on without the database when everybody who could have claimed
// says that nobody has.
func (m *Machine) resume(now time.Duration, fx *Effects) {
	if m.leased <= now && m.promisedUntil() <= now {
		return
	}
	if now >= m.leased {
		for _, n := range m.claimants() {
			if p := m.peers[n.Name]; p == nil || p.toldEpoch != n.Epoch || p.told > m.view.Claims {
				return
			}
		}
	}
	m.lapsed = false
	for _, a := range m.view.Addresses {
		if a.Owner == m.cfg.Node && m.mine[a.Local] == nil && slices.Contains(m.cfg.Serves, a.Local) {
			m.own(now, a, fx)
		}
	}
	fx.log("this node answers again", "addresses", len(m.mine))
}
