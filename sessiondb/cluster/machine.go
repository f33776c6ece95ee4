package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Forever is the deadline of an owner from whom nobody could claim.
const Forever = time.Duration(1<<63 - 1)

// Machine is one node's part in the cluster. It is not safe for concurrent
// use. All times that it is given are of one clock that never jumps back and
// counts while the machine is suspended (CLOCK_BOOTTIME).
type Machine struct {
	cfg   Config
	began time.Duration
	// quiet is since when this node has been awake without a gap: it claims
	// nothing before it has listened for a while.
	quiet, ticked time.Duration
	// before are the epochs of what this node owned in an earlier life.
	before map[netip.AddrPort]uint64

	view   View
	viewed time.Duration // when the view was asked for; never
	known  bool          // there is a view
	saved  uint64        // the members of the view that is on disk

	renewing bool
	asked    time.Duration
	renewAt  time.Duration
	leased   time.Duration // the end of the lease

	peers map[string]*peer
	// mine are the addresses that this node owns as far as it knows.
	mine map[netip.AddrPort]*owned
	// leaving are those that it has given away, and until when it goes on for them.
	leaving map[netip.AddrPort]time.Duration
	// claiming are claims without a settled answer, by the owner they are
	// made against. A failed one is settled by a renewal that began later.
	claiming map[netip.AddrPort]pendingClaim
	// vacant is since when an address is known to be nobody's.
	vacant map[netip.AddrPort]time.Duration
	// changedAt is when this node knew of a transaction of its own that gave an address to somebody.
	changedAt map[netip.AddrPort]time.Duration
	// lapsed says that this node had to stop, and may go on only when it knows
	// that nobody has claimed meanwhile.
	lapsed   bool
	draining bool
	probeAt  time.Duration
}

// peer is what is known of another node at first hand.
type peer struct {
	// beat was first seen at beatAt.
	beat   uint64
	beatAt time.Duration
	epoch  uint64
	// answered is when it last answered a probe; ours until promised.
	answered, promised time.Duration
	heard              bool
	// stopped says that its last message said that it answers for nothing.
	stopped bool
	// gave is the end of the promise that it has from us.
	gave time.Duration
	// told is how many claims it knew of at its last answer, and its epoch then.
	told      uint64
	toldEpoch uint64
}

type owned struct {
	epoch uint64
	// moving is set while the address is being given away, lingers until when it is answered for then.
	moving  bool
	lingers time.Duration
	// from is when who has given it away has stopped for certain.
	from time.Duration
}

type pendingClaim struct {
	from   string
	failed bool
	at     time.Duration // when it failed
}

// New makes the machine of a node that starts now. saved is what an earlier
// life has kept, if anything.
func New(cfg Config, now time.Duration, saved *Saved) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Machine{
		cfg: cfg.withDefaults(), began: now, quiet: now, ticked: now, renewAt: now, probeAt: now,
		before: map[netip.AddrPort]uint64{},
		peers:  map[string]*peer{}, mine: map[netip.AddrPort]*owned{}, leaving: map[netip.AddrPort]time.Duration{},
		claiming: map[netip.AddrPort]pendingClaim{}, vacant: map[netip.AddrPort]time.Duration{},
		changedAt: map[netip.AddrPort]time.Duration{},
	}
	if saved != nil {
		// What the database said last. It is no lease, but with the promises of
		// all who could claim it is enough to go on; and it has to be found out
		// that none of them did while this node was away.
		m.view, m.known, m.saved, m.lapsed = saved.View, true, saved.Seen, true
		for _, n := range m.view.Nodes {
			m.peer(n.Name, now).epoch = n.Epoch
		}
		for _, a := range m.view.Addresses {
			if a.Owner == cfg.Node {
				m.before[a.Local] = a.Epoch
			}
		}
	}
	return m, nil
}

func (m *Machine) peer(name string, now time.Duration) *peer {
	p := m.peers[name]
	if p == nil {
		p = &peer{beatAt: now, answered: now}
		m.peers[name] = p
	}
	return p
}

// Deadline is when Tick wants to be called at the latest.
func (m *Machine) Deadline() time.Duration {
	at := m.probeAt
	if !m.renewing {
		at = min(at, m.renewAt)
	}
	return at
}

// Tick does what is due.
func (m *Machine) Tick(now time.Duration, fx *Effects) {
	if now-m.ticked > m.cfg.Promise()/2 {
		m.quiet = now // it slept, and may have missed what it would have heard
	}
	m.ticked = now
	if !m.renewing && now >= m.renewAt {
		m.renewing, m.asked = true, now
		fx.Renew = &Renewal{Seen: m.saved}
	}
	if now >= m.probeAt {
		m.probeAt = now + m.cfg.ProbeEvery()
		m.probe(now, fx)
	}
	m.judge(now, fx)
}

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
	// Clocks do not run at exactly the same speed, hence the grace.
	m.mine[a.Local] = &owned{epoch: a.Epoch, from: now + a.Lingers + a.Lingers/5}
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

// SetDraining says whether this node claims nothing, because an operator
// wants it empty.
func (m *Machine) SetDraining(on bool) { m.draining = on }

// MayMove says why an address cannot be moved to a node, and where that node is asked.
func (m *Machine) MayMove(now time.Duration, local netip.AddrPort, to string) (a Address, at string, err error) {
	o := m.mine[local]
	if o == nil || o.moving {
		return a, "", fmt.Errorf("%v is not this node's", local)
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

// Lease is how long a renewal holds.
func (m *Machine) Lease() time.Duration { return m.cfg.Lease }

// Draining tells whether an operator wants this node empty.
func (m *Machine) Draining() bool { return m.draining }

// View is what the database said last, and when it was asked.
func (m *Machine) View() (v View, asked time.Duration) { return m.view, m.viewed }

// Answered says when a node last answered directly.
func (m *Machine) Answered(node string) (at time.Duration, ever bool) {
	p := m.peers[node]
	return valueOf(p).answered, valueOf(p).heard
}

func valueOf(p *peer) peer {
	if p == nil {
		return peer{}
	}
	return *p
}

// Deadlines gives the end of the lease and of the shortest promise, and
// whether this node had to stop.
func (m *Machine) Deadlines() (lease, promise time.Duration, stopped bool) {
	return m.leased, m.promisedUntil(), m.lapsed
}

// MoveFailed says that the address stays this node's.
func (m *Machine) MoveFailed(local netip.AddrPort) {
	if o := m.mine[local]; o != nil {
		o.moving, o.lingers = false, 0
	}
}

func (fx *Effects) log(text string, args ...any) { fx.Log = append(fx.Log, Line{text, args}) }
