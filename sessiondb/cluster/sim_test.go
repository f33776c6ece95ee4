package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	x1 = netip.MustParseAddrPort("192.0.2.1:1701")
	x2 = netip.MustParseAddrPort("192.0.2.2:1701")
)

// sim is a cluster in virtual time: nodes, a network that can be cut, and a database.
type sim struct {
	t     *testing.T
	rnd   *rand.Rand
	now   time.Duration
	nodes map[string]*simNode
	order []string
	db    simDB
	// cut are pairs "a b" that hear nothing of each other, "a db" too.
	cut    map[string]bool
	events []simEvent
	trace  []string
	// served is how long each address has been answered for by nobody, so far in a row.
	dark map[netip.AddrPort]time.Duration
	// answerers has who answered last, by address.
	last map[netip.AddrPort]string
}

type simEvent struct {
	at time.Duration
	do func()
}

type simNode struct {
	name   string
	m      *Machine
	cfg    Config
	saved  *Saved
	frozen bool
	dead   bool
	// offset is that of its clock: no two nodes have the same.
	offset time.Duration
	// gate is until when each address is answered for, as the data plane has it.
	gate  map[netip.AddrPort]time.Duration
	inbox []func(*Effects)
	life  int
}

// simDB is what the transactions of the real one do.
type simDB struct {
	away            bool
	members, claims uint64
	nodes           map[string]*Node
	addresses       map[netip.AddrPort]*Address
}

func newSim(t *testing.T, seed uint64, names ...string) *sim {
	s := &sim{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), nodes: map[string]*simNode{}, cut: map[string]bool{},
		dark: map[netip.AddrPort]time.Duration{}, last: map[netip.AddrPort]string{},
		db: simDB{members: 1, nodes: map[string]*Node{}, addresses: map[netip.AddrPort]*Address{
			x1: {Local: x1, Epoch: 1}, x2: {Local: x2, Epoch: 1}}}}
	for i, name := range names {
		n := &simNode{name: name, offset: time.Duration(i) * 7 * time.Hour}
		n.cfg = Config{Node: name, Serves: []netip.AddrPort{x1, x2}}
		if i < 2 {
			n.cfg.Prefer = []netip.AddrPort{[]netip.AddrPort{x1, x2}[i]}
		}
		s.nodes[name] = n
		s.order = append(s.order, name)
		s.start(n)
	}
	return s
}

func (s *sim) start(n *simNode) {
	n.life++
	n.cfg.Epoch = uint64(n.life)
	n.dead, n.frozen, n.inbox, n.gate = false, false, nil, map[netip.AddrPort]time.Duration{}
	m, err := New(n.cfg, s.now+n.offset, n.saved)
	if err != nil {
		s.t.Fatal(err)
	}
	n.m = m
}

func (s *sim) isCut(a, b string) bool { return s.cut[a+" "+b] || s.cut[b+" "+a] }

func (s *sim) after(d time.Duration, f func()) {
	s.events = append(s.events, simEvent{s.now + d, f})
}

// latency is a few milliseconds, and now and then much more.
func (s *sim) latency() time.Duration {
	d := time.Duration(s.rnd.Int64N(int64(5 * time.Millisecond)))
	if s.rnd.IntN(50) == 0 {
		d += time.Duration(s.rnd.Int64N(int64(3 * time.Second)))
	}
	return d
}

const step = 20 * time.Millisecond

// run lets d pass and checks the invariant at every step.
func (s *sim) run(d time.Duration) {
	for end := s.now + d; s.now < end; s.now += step {
		var due []simEvent
		s.events = slices.DeleteFunc(s.events, func(e simEvent) bool {
			if e.at <= s.now {
				due = append(due, e)
			}
			return e.at <= s.now
		})
		slices.SortStableFunc(due, func(a, b simEvent) int { return int(a.at - b.at) })
		for _, e := range due {
			e.do()
		}
		for _, name := range s.order {
			s.turn(s.nodes[name])
			s.check()
		}
	}
}

// turn is what a node's goroutine does when it gets the processor.
func (s *sim) turn(n *simNode) {
	if n.dead || n.frozen {
		return
	}
	var fx Effects
	inbox := n.inbox
	n.inbox = nil
	for _, f := range inbox {
		f(&fx)
	}
	if now := s.now + n.offset; now >= n.m.Deadline() {
		n.m.Tick(now, &fx)
	}
	s.carryOut(n, &fx)
}

func (s *sim) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf("%10v ", s.now)+fmt.Sprintf(format, args...))
}

func (s *sim) carryOut(n *simNode, fx *Effects) {
	for _, l := range fx.Log {
		s.note("%s: %s %v", n.name, l.Text, l.Args)
	}
	for _, c := range fx.Changed {
		s.note("%s: %v", n.name, c)
	}
	if fx.Save != nil {
		saved := *fx.Save
		saved.View.Nodes, saved.View.Addresses = slices.Clone(saved.View.Nodes), slices.Clone(saved.View.Addresses)
		n.saved = &saved
		n.m.Saved(&saved)
	}
	for _, a := range n.cfg.Serves {
		n.gate[a] = n.m.Until(s.now+n.offset, a)
	}
	life, m := n.life, n.m
	// back gives an answer to the node, should it still live.
	back := func(f func(*Effects)) {
		s.after(s.latency(), func() {
			if n.life == life && !n.dead {
				n.inbox = append(n.inbox, f)
			}
		})
	}
	// transact runs f in the database, some time from now; lost says that its answer got lost.
	transact := func(f func() func(*Effects), lost func(*Effects)) {
		s.after(s.latency(), func() {
			if s.db.away || s.isCut(n.name, "db") {
				back(lost)
				return
			}
			answer := f()
			if s.isCut(n.name, "db") || s.rnd.IntN(200) == 0 {
				answer = lost
			}
			back(answer)
		})
	}
	local := func() time.Duration { return s.now + n.offset }
	if r := fx.Renew; r != nil {
		transact(func() func(*Effects) {
			v := s.db.renew(n, r)
			return func(fx *Effects) { m.Renewed(local(), v, fx) }
		}, func(fx *Effects) { m.RenewFailed(local(), fx) })
	}
	for _, c := range fx.Claims {
		transact(func() func(*Effects) {
			r := s.db.claim(n, c)
			return func(fx *Effects) { m.Claimed(local(), c, r, fx) }
		}, func(fx *Effects) { m.Claimed(local(), c, Unknown, fx) })
	}
	for _, e := range fx.Expel {
		transact(func() func(*Effects) { s.db.expel(e); return func(*Effects) {} }, func(*Effects) {})
	}
	for _, o := range fx.Send {
		to := s.nodes[o.At]
		s.after(s.latency(), func() {
			if s.isCut(n.name, to.name) || to.dead {
				return
			}
			msg := o.Message
			to.inbox = append(to.inbox, func(fx *Effects) { to.m.Receive(s.now+to.offset, n.name, &msg, fx) })
		})
	}
}

func (d *simDB) renew(n *simNode, r *Renewal) View {
	row := d.nodes[n.name]
	if row == nil {
		row = &Node{Name: n.name, At: n.name, Lease: n.m.cfg.Lease, Serves: n.cfg.Serves}
		d.nodes[n.name] = row
	}
	if !row.Member {
		d.members++
		row.Member, row.Joined = true, d.members
	}
	row.Epoch, row.Beat, row.Seen = n.cfg.Epoch, row.Beat+1, max(row.Seen, r.Seen)
	v := View{Members: d.members, Claims: d.claims}
	for _, n := range d.nodes {
		v.Nodes = append(v.Nodes, *n)
	}
	for _, a := range d.addresses {
		v.Addresses = append(v.Addresses, *a)
	}
	slices.SortFunc(v.Nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(v.Addresses, func(a, b Address) int { return a.Local.Compare(b.Local) })
	return v
}

func (d *simDB) claim(n *simNode, c Claim) Result {
	a, self := d.addresses[c.Local], d.nodes[n.name]
	if a.Epoch != c.Epoch || a.Owner != c.From || !self.Member || self.Epoch != n.cfg.Epoch {
		return Lost
	}
	if from := d.nodes[c.From]; c.From != "" && (from.Beat != c.Beat || self.Joined > from.Seen) {
		return Lost
	}
	a.Owner, a.Lingers = n.name, 0
	a.Epoch++
	d.claims++
	return Won
}

func (d *simDB) expel(e Expel) {
	if n := d.nodes[e.Node]; n.Beat == e.Beat && n.Member {
		for _, a := range d.addresses {
			if a.Owner == e.Node {
				return
			}
		}
		n.Member = false
		d.members++
	}
}

// answers gives who answers for an address at this moment.
func (s *sim) answers(a netip.AddrPort) (names []string) {
	for _, name := range s.order {
		n := s.nodes[name]
		if !n.dead && !n.frozen && n.gate[a] > s.now+n.offset {
			names = append(names, name)
		}
	}
	return names
}

// check is the invariant: no address is answered for by two.
func (s *sim) check() {
	for _, a := range []netip.AddrPort{x1, x2} {
		names := s.answers(a)
		if len(names) > 1 {
			s.t.Fatalf("%v: %v answer for %v\n%s", s.now, names, a, strings.Join(s.trace, "\n"))
		}
		if len(names) == 1 {
			s.last[a] = names[0]
		}
	}
}

// want says who has to answer for the addresses now.
func (s *sim) want(one, two string) {
	s.t.Helper()
	got := fmt.Sprint(s.answers(x1), s.answers(x2))
	if want := fmt.Sprintf("[%s] [%s]", one, two); got != want {
		s.t.Fatalf("%v: %s answer, want %s\n%s", s.now, got, want, strings.Join(s.trace, "\n"))
	}
}
