package lns

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"culvert/lns/cluster"
	"culvert/sessiondb"
	machine "culvert/sessiondb/cluster"
)

// simDB is the cluster's PostgreSQL: what its transactions do happens in one
// moment, with the conditions of sessiondb/postgres. It may die, stall and be out of reach.
type simDB struct {
	c       *simCluster
	away    bool // refuses connections
	stalled bool // takes requests, and answers when it goes on
	waiting []func()
	slowness
	members, claims uint64
	nodes           map[string]*machine.Node
	addresses       map[netip.AddrPort]*machine.Address
	tunnels         map[sessiondb.TunnelKey]*sessiondb.Tunnel
	sessions        map[sessiondb.SessionKey]*sessiondb.Session
	entries         map[entryKey]*sessiondb.Entry
}

type entryKey struct {
	node string
	seq  uint64
}

func newSimDB(c *simCluster) *simDB {
	d := &simDB{
		c: c, slowness: slowness{renewals: map[string]time.Duration{}, stuck: map[string]bool{}}, members: 1, nodes: map[string]*machine.Node{}, addresses: map[netip.AddrPort]*machine.Address{},
		tunnels: map[sessiondb.TunnelKey]*sessiondb.Tunnel{}, sessions: map[sessiondb.SessionKey]*sessiondb.Session{},
		entries: map[entryKey]*sessiondb.Entry{},
	}
	for _, a := range c.listen() {
		d.addresses[a] = &machine.Address{Local: a, Epoch: 1}
	}
	return d
}

// owner is who has an address, nobody "".
func (d *simDB) owner(local netip.AddrPort) string { return d.addresses[local].Owner }

// renew is postgres.Store.Renew.
func (d *simDB) renew(h *simHost, m *machine.Node, seen uint64, draining bool) (v machine.View, err error) {
	row := d.nodes[m.Name]
	if row != nil && row.Epoch > m.Epoch {
		return v, cluster.ErrSuperseded
	}
	if row == nil {
		row = &machine.Node{Name: m.Name}
		d.nodes[m.Name] = row
	}
	if !row.Member {
		d.members++
		row.Member, row.Joined = true, d.members
	}
	row.Epoch, row.At, row.Lease, row.Serves = m.Epoch, m.At, m.Lease, m.Serves
	row.Beat, row.Seen, row.Draining = row.Beat+1, max(row.Seen, seen), draining
	v = machine.View{Members: d.members, Claims: d.claims}
	for _, name := range slices.Sorted(maps.Keys(d.nodes)) {
		v.Nodes = append(v.Nodes, *d.nodes[name])
	}
	for _, a := range d.c.listen() {
		v.Addresses = append(v.Addresses, *d.addresses[a])
	}
	return v, nil
}

// claim is postgres.Store.Claim.
func (d *simDB) claim(node string, epoch uint64, c machine.Claim) machine.Result {
	a, self := d.addresses[c.Local], d.nodes[node]
	if a.Epoch != c.Epoch || a.Owner != c.From || self == nil || !self.Member || self.Epoch != epoch {
		return machine.Lost
	}
	if from := d.nodes[c.From]; c.From != "" && (from == nil || from.Beat != c.Beat || self.Joined > from.Seen) {
		return machine.Lost
	}
	d.own(a, node)
	return machine.Won
}

// own gives an address to a node, with all that is on it.
func (d *simDB) own(a *machine.Address, node string) {
	d.c.w.tell("database: %v is %s's, was %s's", a.Local, node, a.Owner)
	d.c.moved(a, node)
	a.Owner = node
	a.Epoch++
	d.claims++
	for k, t := range d.tunnels {
		if k.Local == a.Local {
			x := *t
			x.Node = node
			d.tunnels[k] = &x
		}
	}
	for k, s := range d.sessions {
		if k.Tunnel.Local == a.Local {
			x := *s
			x.Node = node
			d.sessions[k] = &x
		}
	}
}

// errNotOwner is postgres.ErrNotOwner.
var errNotOwner = errors.New("simulated: the address belongs to another node")

// transfer is postgres.Store.Transfer.
func (d *simDB) transfer(node string, a machine.Address, to string, last []sessiondb.Change) error {
	row := d.addresses[a.Local]
	switch {
	case row.Owner == to && row.Epoch == a.Epoch+1:
		return nil
	case row.Owner != node || row.Epoch != a.Epoch:
		return errNotOwner
	}
	if refused := d.apply(node, last, false); refused != nil {
		return refused
	}
	for i := range last {
		if s := last[i].Session; last[i].Op == sessiondb.PutSession {
			d.c.given[s.AcctSessionID] = s.InOctets
		}
	}
	d.own(row, to)
	return nil
}

// expel is postgres.Store.Expel.
func (d *simDB) expel(e machine.Expel) {
	n := d.nodes[e.Node]
	if n == nil || n.Beat != e.Beat || !n.Member {
		return
	}
	for _, a := range d.addresses {
		if a.Owner == e.Node {
			return
		}
	}
	n.Member = false
	d.members++
}

// apply is postgres.Store.Apply: what frees a key or an address comes first, rows of addresses
// that are another node's and rows that break a constraint are refused.
func (d *simDB) apply(node string, changes []sessiondb.Change, fenced bool) *sessiondb.ConflictError {
	refused := &sessiondb.ConflictError{}
	no := func(c *sessiondb.Change, err error) {
		refused.Changes, refused.Errs = append(refused.Changes, *c), append(refused.Errs, err)
	}
	var puts []*sessiondb.Change
	for i := range changes {
		c := &changes[i]
		if local, has := localOfChange(c); has && fenced && d.owner(local) != node {
			no(c, errNotOwner)
			continue
		}
		switch c.Op {
		case sessiondb.DropTunnel:
			if t := d.tunnels[c.Tunnel.Key]; t != nil && t.Node == node {
				delete(d.tunnels, c.Tunnel.Key)
			}
		case sessiondb.DropSession:
			if s := d.sessions[c.Session.Key]; s != nil && s.Node == node {
				delete(d.sessions, c.Session.Key)
			}
		case sessiondb.DropEntry:
			delete(d.entries, entryKey{node, c.Entry.Seq})
		case sessiondb.PutTunnel, sessiondb.PutSession, sessiondb.PutEntry:
			if last(changes, i) {
				puts = append(puts, c)
			}
		}
	}
	for _, c := range puts {
		if err := d.put(node, c); err != nil {
			no(c, err)
		}
	}
	if len(refused.Changes) == 0 {
		return nil
	}
	return refused
}

// last tells whether no later change is about the same key.
func last(changes []sessiondb.Change, i int) bool {
	a := &changes[i]
	for j := i + 1; j < len(changes); j++ {
		b := &changes[j]
		switch {
		case a.Tunnel != nil && b.Tunnel != nil && a.Tunnel.Key == b.Tunnel.Key,
			a.Session != nil && b.Session != nil && a.Session.Key == b.Session.Key,
			a.Entry != nil && b.Entry != nil && a.Entry.Seq == b.Entry.Seq:
			return false
		}
	}
	return true
}

func localOfChange(c *sessiondb.Change) (netip.AddrPort, bool) {
	switch {
	case c.Tunnel != nil:
		return c.Tunnel.Key.Local, true
	case c.Session != nil:
		return c.Session.Key.Tunnel.Local, true
	}
	return netip.AddrPort{}, false
}

// put inserts or replaces a row.
func (d *simDB) put(node string, c *sessiondb.Change) error {
	switch c.Op {
	case sessiondb.PutTunnel:
		t := *c.Tunnel
		t.Node = node
		d.tunnels[t.Key] = &t
	case sessiondb.PutEntry:
		e := *c.Entry
		e.Node = node
		d.entries[entryKey{node, e.Seq}] = &e
	case sessiondb.PutSession:
		s := *c.Session
		s.Node = node
		for k, o := range d.sessions {
			if k != s.Key && (o.Address == s.Address || o.AcctSessionID == s.AcctSessionID) {
				return fmt.Errorf("simulated: %v has %v and %s already", k, o.Address, o.AcctSessionID)
			}
		}
		d.sessions[s.Key] = &s
	}
	return nil
}

// rowsOf lists rows in key order.
func rowsOf[K comparable, V any](rows map[K]*V, compare func(a, b K) int, want func(*V) bool) (list []V) {
	for _, k := range slices.SortedFunc(maps.Keys(rows), compare) {
		if want(rows[k]) {
			list = append(list, *rows[k])
		}
	}
	return list
}

func compareEntries(a, b entryKey) int {
	return cmp.Or(strings.Compare(a.node, b.node), cmp.Compare(a.seq, b.seq))
}

// query yields what f finds, in one transaction.
func query[T any](s simConn, f func() []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var list []T
		if err := s.transact(asksRows, "", func() error { list = f(); return nil }); err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// elsewhere is postgres.Store.AddressesElsewhere.
func (d *simDB) elsewhere(h *simHost) []netip.Addr {
	pool := nodePool(h.index, d.c.w.plan.pool)
	var list []netip.Addr
	for _, s := range rowsOf(d.sessions, sessiondb.SessionKey.Compare, func(s *sessiondb.Session) bool { return s.Node != h.name }) {
		if s.Address.Compare(pool.First) >= 0 && s.Address.Compare(pool.Last) <= 0 {
			list = append(list, s.Address)
		}
	}
	return list
}

// leftEntries are the accounting records that postgres.Store.TakeEntries gives.
func (d *simDB) leftEntries(h *simHost) []sessiondb.Entry {
	return rowsOf(d.entries, compareEntries, func(e *sessiondb.Entry) bool {
		n := d.nodes[e.Node]
		return e.Node != h.name && n != nil && !n.Member && !d.ownsAny(e.Node)
	})
}

func (d *simDB) ownsAny(node string) bool {
	for _, a := range d.addresses {
		if a.Owner == node {
			return true
		}
	}
	return false
}

// taken forgets records that another node has.
func (d *simDB) taken(list []sessiondb.Entry) {
	for i := range list {
		delete(d.entries, entryKey{list[i].Node, list[i].Seq})
	}
}
