package lns

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lac/subscriber"
	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
	"culvert/proto/l2tp"
	"culvert/sessiondb"
)

// rig is a Server whose shards are stepped by hand in virtual time, with LACs
// and subscribers around it that are the real machines of the other side.
type rig struct {
	t       *testing.T
	srv     *Server
	plane   *planetest.Plane
	journal *memJournal
	aaa     *fakeAAA
	clock   *fakeClock
	lacs    map[netip.AddrPort]*rigLAC
	// lose, where set, says of each datagram whether it is lost.
	lose func(toLNS bool, b []byte) bool
	sent []dataplane.Datagram // by the LNS, on their way
	core [][]byte             // IP packets that came out at the core
}

var (
	lnsAddress = netip.MustParseAddrPort("192.0.2.1:1701")
	localAddr  = netip.MustParseAddr("100.64.0.1")
)

type fakeClock struct{ now time.Duration }

func (c *fakeClock) Mono() time.Duration { return c.now }
func (c *fakeClock) Wall() time.Time     { return time.Unix(1_800_000_000, 0).Add(c.now) }

// newRig makes a rig; change may change the configuration.
func newRig(t *testing.T, change func(*Config)) *rig {
	r := &rig{t: t, clock: &fakeClock{}, lacs: map[netip.AddrPort]*rigLAC{}, journal: newMemJournal()}
	r.aaa = &fakeAAA{rig: r, held: map[netip.Addr]heldAddress{}, next: netip.MustParseAddr("100.64.1.0")}
	r.start(change)
	return r
}

// start starts a life of the node on what the journal holds.
func (r *rig) start(change func(*Config)) {
	plane, err := planetest.New(planetest.Config{
		Listen: []netip.AddrPort{lnsAddress}, Shards: 2, Address: localAddr,
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
	if err := r.srv.settleLeftovers(); err != nil {
		r.t.Fatal(err)
	}
	if err := plane.Start(r.srv); err != nil {
		r.t.Fatal(err)
	}
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
		sent := r.sent
		r.sent = nil
		for _, d := range sent {
			again = true
			if l := r.lacs[d.Peer]; l != nil && (r.lose == nil || !r.lose(false, d.B)) {
				l.receive(d.B)
			}
		}
		for _, l := range r.lacs {
			again = l.flush() || again
		}
	}
}

// run lets d pass in steps of a tick.
func (r *rig) run(d time.Duration) {
	for end := r.clock.now + d; r.clock.now < end; r.clock.now += wheelTick {
		for _, l := range r.lacs {
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

// rigLAC is a LAC with one tunnel.
type rigLAC struct {
	r       *rig
	address netip.AddrPort
	t       *l2tp.Tunnel
	fx      l2tp.Effects
	calls   map[uint16]*rigCall
	lastID  uint16
	up      bool
	down    *l2tp.Event
	early   bool // send PPP before the ICCN
	// sequencing: require sequence numbers in data messages.
	sequencing bool
	queue      [][]byte
}

// rigCall is one call of a LAC, with its subscriber.
type rigCall struct {
	lac     *rigLAC
	call    l2tp.Call
	client  subscriber.Client
	up      bool
	closed  bool // the subscriber's link has ended
	reason  subscriber.Reason
	message string
	cdn     *l2tp.Result // why the call ended, from whichever side
	packets [][]byte
}

var lacConfigs sync.Map // by secret: a Tunnel's configuration must not change

func (r *rig) lac(n int, secret string) *rigLAC {
	c, _ := lacConfigs.LoadOrStore(secret, &l2tp.TunnelConfig{
		HostName: "lac", VendorName: "test", Secret: []byte(secret), Rand: rand.NewChaCha8([32]byte{2}),
	})
	l := &rigLAC{
		r: r, calls: map[uint16]*rigCall{},
		address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 1701),
		t:       l2tp.NewTunnel(l2tp.RoleLAC, uint16(100+n), c.(*l2tp.TunnelConfig)),
	}
	r.lacs[l.address] = l
	l.t.Open(r.clock.now, &l.fx)
	return l
}

// dial places a call for user, whose password is "secret".
func (l *rigLAC) dial(user string, change func(*l2tp.Message)) *rigCall {
	l.lastID++
	c := &rigCall{lac: l, call: l2tp.NewCall(l2tp.RoleLAC, l.lastID)}
	l.calls[l.lastID] = c
	m := &l2tp.Message{CallSerial: uint32(l.lastID), CallingNumber: []byte("0123")}
	m.Set(l2tp.AVPCallSerial, l2tp.AVPCallingNumber)
	if change != nil {
		change(m)
	}
	var fx l2tp.CallEffects
	c.call.Dial(m, &fx)
	l.t.Send(l.r.clock.now, fx.Send, 0, &l.fx)
	var sfx subscriber.Effects
	c.client.Start(l.r.clock.now, &subscriberConfig, user, "secret", rand.New(rand.NewPCG(uint64(l.lastID), 7)), &sfx)
	return c
}

var subscriberConfig = subscriber.DefaultConfig()

func (l *rigLAC) receive(b []byte) {
	h, frame, err := l2tp.ParseHeader(b)
	if err != nil {
		l.r.t.Fatalf("the LNS sent %x: %v", b, err)
	}
	if !h.Control {
		if c := l.calls[h.SessionID]; c != nil && h.TunnelID == l.t.LocalID() {
			c.frame(frame)
		}
		return
	}
	_ = l.t.Receive(l.r.clock.now, b, &l.fx)
}

func (l *rigLAC) tick() {
	now := l.r.clock.now
	if l.t.Deadline() <= now {
		l.t.Tick(now, &l.fx)
	}
	for _, c := range l.calls {
		if c.call.State() == l2tp.CallEstablished && c.client.Deadline() <= now {
			var fx subscriber.Effects
			c.client.Tick(now, &fx)
			c.effects(&fx)
		}
	}
}

// flush gives the LNS what the LAC wants to send, and says whether that was anything.
func (l *rigLAC) flush() bool {
	for i := 0; i < len(l.fx.Events); i++ {
		l.event(&l.fx.Events[i])
	}
	packets := append(slices.Clone(l.queue), l.fx.Packets...)
	any := len(packets) > 0
	for i := range packets {
		packets[i] = slices.Clone(packets[i])
	}
	l.queue = nil
	l.fx.Reset()
	for _, p := range packets {
		if l.r.lose == nil || !l.r.lose(true, p) {
			l.r.plane.Inject(0, l.address, p)
		}
	}
	return any
}

func (l *rigLAC) event(e *l2tp.Event) {
	switch e.Kind {
	case l2tp.EventUp:
		l.up = true
	case l2tp.EventDown:
		l.down = &l2tp.Event{Kind: e.Kind, Local: e.Local, Reason: e.Reason, Result: e.Result}
	case l2tp.EventMessage:
		c := l.calls[e.SessionID]
		if c == nil {
			return
		}
		var fx l2tp.CallEffects
		iccn := &l2tp.Message{TxSpeed: 80_000_000, FramingType: l2tp.FramingSync}
		iccn.Set(l2tp.AVPTxSpeed, l2tp.AVPFramingType)
		if l.sequencing {
			iccn.SequencingRequired = true
			iccn.Set(l2tp.AVPSequencingRequired)
		}
		c.call.Receive(&e.Message, iccn, &fx)
		if e.Message.Type == l2tp.MessageICRP && l.early {
			c.lcpRequest() // on the wire before the ICCN
		}
		if fx.Send != nil {
			l.t.Send(l.r.clock.now, fx.Send, c.call.PeerID(), &l.fx)
		}
		if fx.Down {
			c.cdn = &fx.Result
		}
	}
}

// data queues a PPP frame to the LNS.
func (c *rigCall) data(frame []byte) {
	b := binary.BigEndian.AppendUint16([]byte{0, 2}, c.lac.t.PeerID())
	b = binary.BigEndian.AppendUint16(b, c.call.PeerID())
	c.lac.queue = append(c.lac.queue, append(b, frame...))
}

// lcpRequest sends a Configure-Request without options.
func (c *rigCall) lcpRequest() { c.data([]byte{0xff, 3, 0xc0, 0x21, 1, 9, 0, 4}) }

func (c *rigCall) frame(frame []byte) {
	var fx subscriber.Effects
	c.client.Receive(c.lac.r.clock.now, frame, &fx)
	c.effects(&fx)
}

func (c *rigCall) effects(fx *subscriber.Effects) {
	for _, f := range fx.Frames {
		c.data(f)
	}
	if fx.Packet != nil {
		c.packets = append(c.packets, slices.Clone(fx.Packet))
	}
	c.up = (c.up || fx.Up) && !fx.Down
	if fx.Message != nil {
		c.message = string(fx.Message)
	}
	if fx.Down {
		c.closed, c.reason = true, fx.Reason
	}
}

// ping sends an IP packet of n octets from src.
func (c *rigCall) ping(src netip.Addr, n int) {
	var fx subscriber.Effects
	c.client.Send(ipPacket(src, netip.MustParseAddr("203.0.113.5"), n), &fx)
	c.effects(&fx)
}

// ipPacket is a UDP packet without a checksum, n octets long.
func ipPacket(src, dst netip.Addr, n int) []byte {
	p := make([]byte, n)
	p[0], p[8], p[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(p[2:], uint16(n))
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(p[24:], uint16(n-20))
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
	return p
}

func (c *rigCall) hangUp() {
	var fx l2tp.CallEffects
	c.call.Close(l2tp.Result{Code: l2tp.CDNLostCarrier}, nil, &fx)
	c.lac.t.Send(c.lac.r.clock.now, fx.Send, c.call.PeerID(), &c.lac.fx)
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
	ends     []sessiondb.End
	fail     error
}

func newMemJournal() *memJournal {
	return &memJournal{
		tunnels: map[sessiondb.TunnelKey]sessiondb.Tunnel{}, sessions: map[sessiondb.SessionKey]sessiondb.Session{},
		entries: map[uint64]sessiondb.Entry{}, objects: map[string]sessiondb.Object{},
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
			j.tunnels[c.Tunnel.Key] = *c.Tunnel
		case sessiondb.DropTunnel:
			delete(j.tunnels, c.Tunnel.Key)
		case sessiondb.PutSession:
			j.sessions[c.Session.Key] = *c.Session
		case sessiondb.DropSession:
			delete(j.sessions, c.Session.Key)
			j.ends = append(j.ends, *c.End)
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

func (j *memJournal) Entries(context.Context) iter.Seq2[sessiondb.Entry, error] {
	return inOrder(j.entries, cmp.Compare[uint64])
}

func (j *memJournal) Objects(context.Context, string) iter.Seq2[sessiondb.Object, error] {
	return inOrder(j.objects, cmp.Compare[string])
}
