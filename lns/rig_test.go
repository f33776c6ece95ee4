package lns

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
	"culvert/sessiondb"
)

// rig is a Server whose shards are stepped by hand in virtual time, with LACs
// and subscribers around it that are the real machines of the other side.
type rig struct {
	t       testing.TB
	srv     *Server
	plane   *planetest.Plane
	journal *memJournal
	aaa     *fakeAAA
	clock   *fakeClock
	lacs    map[netip.AddrPort]*rigLAC
	secured map[source]*rigLAC // those that come through an SA
	// lose, where set, says of each datagram whether it is lost.
	lose func(toLNS bool, b []byte) bool
	// mangle, where set, changes what LACs send.
	mangle func(b []byte) []byte
	// listen are the addresses that LACs may call.
	listen []netip.AddrPort
	sent   []dataplane.Datagram // by the LNS, on their way
	core   [][]byte             // IP packets that came out at the core
}

var (
	lnsAddress = netip.MustParseAddrPort("192.0.2.1:1701")
	localAddr  = netip.MustParseAddr("100.64.0.1")
)

// fakeClock's wall is ahead of its now; boot grows when a test has the machine boot.
type fakeClock struct {
	now, wall time.Duration
	boot      uint64
}

func (c *fakeClock) Mono() time.Duration { return c.now }
func (c *fakeClock) Wall() time.Time     { return time.Unix(1_800_000_000, 0).Add(c.now + c.wall) }
func (c *fakeClock) Boot() uint64        { return 1 + c.boot }

// newRig makes a rig; change may change the configuration.
func newRig(t testing.TB, change func(*Config)) *rig {
	return newRigOn(t, []netip.AddrPort{lnsAddress}, change)
}

// newRigOn makes a rig whose LNS has these addresses.
func newRigOn(t testing.TB, listen []netip.AddrPort, change func(*Config)) *rig {
	r := &rig{t: t, listen: listen, clock: &fakeClock{}, lacs: map[netip.AddrPort]*rigLAC{}, journal: newMemJournal()}
	r.aaa = &fakeAAA{rig: r, held: map[netip.Addr]heldAddress{}, next: netip.MustParseAddr("100.64.1.0")}
	t.Cleanup(func() { // the plane reads packets from the core, in large buffers
		if r.plane != nil {
			r.plane.Close()
		}
	})
	r.start(change)
	return r
}

// start starts a life of the node on what the journal holds.
func (r *rig) start(change func(*Config)) {
	r.t.Helper()
	if err := r.life(change); err != nil {
		r.t.Fatal(err)
	}
}

// life is start; its error is what the node cannot recover from.
func (r *rig) life(change func(*Config)) error {
	if r.plane != nil {
		r.plane.Close()
	}
	r.aaa.held = map[netip.Addr]heldAddress{} // the pool is the process'
	plane, err := planetest.New(planetest.Config{
		Marks:  true,
		Listen: r.listen, Shards: 2, Address: localAddr, Now: r.clock.Mono,
		OnSend: func(d dataplane.Datagram) {
			d.B = slices.Clone(d.B)
			r.sent = append(r.sent, d)
		},
		OnCore: func(p []byte) { r.core = append(r.core, slices.Clone(p)) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	lacs := testProfile("lac", func(p *LACProfile) {
		p.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		p.Secret = "tunnel secret"
	})
	r.journal.epoch++
	cfg := Config{
		Node: "lns1", Plane: plane, Authorizer: r.aaa, Ledger: r.aaa, Addresses: r.aaa, Journal: r.journal,
		LACs: []LACProfile{lacs}, Clock: r.clock, Rand: rand.NewChaCha8([32]byte{1}),
		Subscriber: SubscriberDefaults{LocalAddress: localAddr, DNS: [2]netip.Addr{netip.MustParseAddr("9.9.9.9")}, Interim: 10 * time.Minute, ClampMSS: true},
	}
	if change != nil {
		change(&cfg)
	}
	r.plane = plane
	if r.srv, err = New(cfg); err != nil {
		r.t.Fatal(err)
	}
	if err := r.srv.recoverJournal(); err != nil {
		return err
	}
	if err := plane.Start(r.srv); err != nil {
		r.t.Fatal(err)
	}
	return nil
}

// step lets everything happen that happens at one moment.
func (r *rig) step() {
	for again := true; again; {
		again = false
		for _, sh := range r.srv.shards {
			sh.inbox.take(&sh.spare)
			again = again || len(sh.spare.grams)+len(sh.spare.msgs) > 0
			sh.step(r.clock.now, &sh.spare)
		}
		again = r.aaa.answer() || again
		r.plane.Tick()
		sent := r.sent
		r.sent = nil
		for _, d := range sent {
			again = true
			if l := r.lacOf(d); l != nil && (r.lose == nil || !r.lose(false, d.B)) {
				l.receive(d.B)
			}
		}
		for _, l := range r.allLACs() {
			again = l.flush() || again
		}
	}
}

// lacOf is the LAC that a datagram reaches: one with a mark goes through its SA. What does
// not come from the address that the LAC has called reaches nobody, as behind a NAT.
func (r *rig) lacOf(d dataplane.Datagram) *rigLAC {
	if d.Mark != 0 {
		return r.secured[source{d.Peer, d.Mark}]
	}
	if l := r.lacs[d.Peer]; l != nil && l.listener == d.Listener {
		return l
	}
	return nil
}

func (r *rig) allLACs() []*rigLAC {
	return append(slices.Collect(maps.Values(r.lacs)), slices.Collect(maps.Values(r.secured))...)
}

// run lets d pass in steps of a tick.
func (r *rig) run(d time.Duration) {
	for end := r.clock.now + d; r.clock.now < end; r.clock.now += wheelTick {
		for _, l := range r.allLACs() {
			l.tick()
		}
		r.step()
	}
}

// until runs until ok, and fails the test when that takes longer than d.
func (r *rig) until(d time.Duration, what string, ok func() bool) {
	r.t.Helper()
	for end := r.clock.now + d; !ok(); {
		if r.clock.now > end {
			r.t.Fatalf("after %v: not %s", d, what)
		}
		r.run(wheelTick)
	}
}

func (r *rig) onShards(f func(*shard)) {
	for _, sh := range r.srv.shards {
		sh.now = r.clock.now
		f(sh)
		sh.settle()
		sh.flush()
	}
	r.step()
}

// session finds the only session of a user.
func (r *rig) session(user string) *session {
	for _, sh := range r.srv.shards {
		for _, s := range sh.sessions {
			if s.who.User == user {
				return s
			}
		}
	}
	return nil
}

func (r *rig) counts() (tunnels, sessions, timers int) {
	for _, sh := range r.srv.shards {
		tunnels += len(sh.tunnels)
		sessions += len(sh.sessions)
		timers += sh.wheel.count
	}
	return
}

func (r *rig) stats() Stats {
	t := Stats{Downs: map[string]uint64{}, Rejects: map[string]uint64{}, Dropped: map[string]uint64{}}
	for _, sh := range r.srv.shards {
		sh.stats.addTo(&t)
	}
	return t
}

// checkEmpty fails the test when anything is left of tunnels and sessions.
func (r *rig) checkEmpty() {
	r.t.Helper()
	tunnels, sessions, timers := r.counts()
	if tunnels+sessions+timers != 0 || len(r.aaa.held) != 0 || r.srv.settingUp.Load() != 0 || r.srv.sessions.Load() != 0 {
		r.t.Errorf("left: %d tunnels, %d sessions, %d timers, %d addresses, %d setting up, %d sessions counted",
			tunnels, sessions, timers, len(r.aaa.held), r.srv.settingUp.Load(), r.srv.sessions.Load())
	}
	if len(r.journal.sessions)+len(r.journal.tunnels) != 0 {
		r.t.Errorf("left in the journal: %d sessions, %d tunnels", len(r.journal.sessions), len(r.journal.tunnels))
	}
	for _, p := range *r.srv.profiles.cur.Load() {
		if p.use.sessions.Load() != 0 || p.use.tunnels.Load() != 0 {
			r.t.Errorf("profile %s still counts %d sessions, %d tunnels", p.Name, p.use.sessions.Load(), p.use.tunnels.Load())
		}
	}
}

// checkAccounting fails the test unless every Start has exactly one Stop.
func (r *rig) checkAccounting(sessions int) {
	r.t.Helper()
	starts, stops := map[string]int{}, map[string]int{}
	for _, u := range r.aaa.usages {
		switch u.Kind {
		case aaa.UsageStart:
			starts[u.Identity.AcctSessionID]++
		case aaa.UsageStop:
			stops[u.Identity.AcctSessionID]++
		}
	}
	if len(starts) != sessions || !maps.Equal(starts, stops) {
		r.t.Errorf("%d sessions started, want %d; starts %v, stops %v", len(starts), sessions, starts, stops)
	}
	for id, n := range starts {
		if n != 1 {
			r.t.Errorf("%s has %d Starts", id, n)
		}
	}
}

// fakeAAA is RADIUS, accounting and the pool of a rig.
type fakeAAA struct {
	rig *rig
	// decide answers a request; nil lets everybody in. asked are those that wait while hold is set.
	decide func(aaa.Request) (*aaa.Grant, error)
	hold   bool
	asked  []pendingAsk
	usages []aaa.Usage
	reqs   []aaa.Request
	held   map[netip.Addr]heldAddress
	next   netip.Addr
	full   bool
	// acquired, where set, is told the name of the pool of every address asked for.
	acquired func(pool string)
}

type pendingAsk struct {
	req  aaa.Request
	done func(*aaa.Grant, error)
}

type heldAddress struct {
	user  string
	owner uint64
}

func (f *fakeAAA) Authorize(req aaa.Request, done func(*aaa.Grant, error)) {
	f.reqs = append(f.reqs, req)
	f.asked = append(f.asked, pendingAsk{req, done})
}

func (f *fakeAAA) answer() bool {
	if f.hold || len(f.asked) == 0 {
		return false
	}
	asked := f.asked
	f.asked = nil
	for _, a := range asked {
		g, err := &aaa.Grant{}, error(nil)
		if f.decide != nil {
			g, err = f.decide(a.req)
		}
		a.done(g, err)
	}
	return true
}

func (f *fakeAAA) Submit(list []aaa.Usage) {
	for _, u := range list {
		if _, ok := f.rig.journal.entries[u.Seq]; !ok && f.rig.journal.fail == nil {
			f.rig.t.Errorf("record %d was submitted before it was journaled", u.Seq)
		}
	}
	f.usages = append(f.usages, list...)
}

func (f *fakeAAA) Acquire(pool string, want netip.Addr, user string, owner uint64) (netip.Addr, error) {
	if f.acquired != nil {
		f.acquired(pool)
	}
	if f.full {
		return netip.Addr{}, fmt.Errorf("pool %q: %w", pool, aaa.ErrPoolFull)
	}
	if !want.IsValid() {
		want, f.next = f.next, f.next.Next()
	}
	if h, ok := f.held[want]; ok {
		return netip.Addr{}, &aaa.AddressInUseError{Address: want, Owner: h.owner, User: h.user}
	}
	f.held[want] = heldAddress{user, owner}
	return want, nil
}

func (f *fakeAAA) Release(a netip.Addr, owner uint64) {
	if f.held[a].owner == owner {
		delete(f.held, a)
	}
}

// memJournal is a journal in memory.
type memJournal struct {
	epoch    uint32
	tunnels  map[sessiondb.TunnelKey]sessiondb.Tunnel
	sessions map[sessiondb.SessionKey]sessiondb.Session
	entries  map[uint64]sessiondb.Entry
	objects  map[string]sessiondb.Object
	calls    map[sessiondb.SessionKey]sessiondb.Call
	ends     []sessiondb.End
	fail     error
	puts     int // of tunnels
}

func newMemJournal() *memJournal {
	return &memJournal{
		tunnels: map[sessiondb.TunnelKey]sessiondb.Tunnel{}, sessions: map[sessiondb.SessionKey]sessiondb.Session{},
		entries: map[uint64]sessiondb.Entry{}, objects: map[string]sessiondb.Object{},
		calls: map[sessiondb.SessionKey]sessiondb.Call{},
	}
}

func (j *memJournal) Epoch() uint32 { return j.epoch }
func (j *memJournal) Close() error  { return nil }

func (j *memJournal) Apply(_ context.Context, changes []sessiondb.Change) error {
	if j.fail != nil {
		return j.fail
	}
	for _, c := range changes {
		switch c.Op {
		case sessiondb.PutTunnel:
			j.puts++
			j.tunnels[c.Tunnel.Key] = *c.Tunnel
		case sessiondb.DropTunnel:
			delete(j.tunnels, c.Tunnel.Key)
		case sessiondb.PutSession:
			j.sessions[c.Session.Key] = *c.Session
		case sessiondb.DropSession:
			delete(j.sessions, c.Session.Key)
			j.ends = append(j.ends, *c.End)
		case sessiondb.PutCall:
			j.calls[c.Call.Key] = *c.Call
		case sessiondb.DropCall:
			delete(j.calls, c.Call.Key)
		case sessiondb.PutEntry:
			j.entries[c.Entry.Seq] = *c.Entry
		case sessiondb.DropEntry:
			delete(j.entries, c.Entry.Seq)
		case sessiondb.PutObject:
			j.objects[c.Object.Name] = *c.Object
		case sessiondb.DropObject:
			delete(j.objects, c.Object.Name)
		}
	}
	return nil
}

// inOrder yields a map's values by key.
func inOrder[K comparable, V any](m map[K]V, less func(a, b K) int) iter.Seq2[V, error] {
	keys := slices.SortedFunc(maps.Keys(m), less)
	return func(yield func(V, error) bool) {
		for _, k := range keys {
			if !yield(m[k], nil) {
				return
			}
		}
	}
}

func (j *memJournal) Tunnels(context.Context) iter.Seq2[sessiondb.Tunnel, error] {
	return inOrder(j.tunnels, func(a, b sessiondb.TunnelKey) int { return cmp.Compare(a.ID, b.ID) })
}

func (j *memJournal) Sessions(context.Context) iter.Seq2[sessiondb.Session, error] {
	return inOrder(j.sessions, func(a, b sessiondb.SessionKey) int {
		return cmp.Or(cmp.Compare(a.Tunnel.ID, b.Tunnel.ID), cmp.Compare(a.ID, b.ID))
	})
}

func (j *memJournal) Calls(context.Context) iter.Seq2[sessiondb.Call, error] {
	return inOrder(j.calls, sessiondb.SessionKey.Compare)
}

func (j *memJournal) Entries(context.Context) iter.Seq2[sessiondb.Entry, error] {
	return inOrder(j.entries, cmp.Compare[uint64])
}

func (j *memJournal) Objects(context.Context, string) iter.Seq2[sessiondb.Object, error] {
	return inOrder(j.objects, cmp.Compare[string])
}
