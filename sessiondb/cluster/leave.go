package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Planned moves: addresses that a node gives to another.

// SetDraining says whether this node claims nothing, because an operator
// wants it empty.
func (m *Machine) SetDraining(on bool) { m.draining = on }

// MayMove says why an address cannot be moved to a node, and where that node is asked.
func (m *Machine) MayMove(now time.Duration, local netip.AddrPort, to string) (a Address, at string, err error) {
	o := m.mine[local]
	if o == nil || o.moving {
		return a, "", fmt.Errorf("%v is not this node's", local)
	}
	if now < o.from {
		return a, "", fmt.Errorf("%v has just come, and the node that it came from may answer for it yet", local)
	}
	i := slices.IndexFunc(m.view.Nodes, func(n Node) bool { return n.Name == to })
	switch {
	case to == m.cfg.Node:
		return a, "", fmt.Errorf("%v is on %s already", local, to)
	case i < 0:
		return a, "", fmt.Errorf("there is no node %q; lnsctl cluster status lists them", to)
	case now >= m.leased:
		return a, "", fmt.Errorf("the database does not answer, and nothing moves without it")
	}
	n, p := &m.view.Nodes[i], m.peer(to, now)
	switch {
	case !n.Member || now-p.beatAt > n.Lease:
		err = fmt.Errorf("node %s has not renewed its lease for %v", to, (now - p.beatAt).Round(time.Second))
	case !p.heard || now-p.answered > m.cfg.Promise():
		err = fmt.Errorf("node %s does not answer this one at %s", to, n.At)
	case n.Draining:
		err = fmt.Errorf("node %s is draining itself", to)
	case !slices.Contains(n.Serves, local):
		err = fmt.Errorf("node %s cannot serve %v: add it to l2tp.listen there", to, local)
	}
	return Address{Local: local, Owner: m.cfg.Node, Epoch: o.epoch}, n.At, err
}

// BeginMove begins to give an address away, if MayMove has nothing against it. This node
// answers for it for lingers more at most, or until Left; 0 stops at once. The transaction that
// has the address change hands begins after BeginMove and says the same time.
// Moved or MoveFailed follows.
func (m *Machine) BeginMove(now time.Duration, local netip.AddrPort, to string, lingers time.Duration) (Address, error) {
	a, _, err := m.MayMove(now, local, to)
	if err != nil {
		return Address{}, err
	}
	o := m.mine[local]
	o.moving, o.lingers = true, 0
	if a.Lingers = lingers; lingers > 0 {
		o.lingers = now + lingers
	}
	return a, nil
}

// Left says that this node answers no more for an address that it has given away.
func (m *Machine) Left(local netip.AddrPort) {
	delete(m.leaving, local)
	if o := m.mine[local]; o != nil {
		o.lingers = 0
	}
}

// Moved says that the address is another node's now, and has that one told.
func (m *Machine) Moved(now time.Duration, local netip.AddrPort, to string, fx *Effects) {
	if o := m.mine[local]; o != nil { // else a renewal has told already
		m.disown(now, local)
		m.changeOwner(now, Address{Local: local, Owner: to, Epoch: o.epoch + 1})
	}
	m.save(fx)
	m.tell(now, to, KindNews, fx)
}

// disown forgets an address that is another's, but not for how long this node may go on.
func (m *Machine) disown(now time.Duration, local netip.AddrPort) {
	if o := m.mine[local]; o != nil && o.lingers > now {
		m.leaving[local] = o.lingers
	}
	delete(m.mine, local)
}

// Draining tells whether an operator wants this node empty.
func (m *Machine) Draining() bool { return m.draining }

// MoveFailed says that the address stays this node's.
func (m *Machine) MoveFailed(local netip.AddrPort) {
	if o := m.mine[local]; o != nil {
		o.moving, o.lingers = false, 0
	}
}
