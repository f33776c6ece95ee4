package lns

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"time"

	"culvert/lac/subscriber"
	"culvert/proto/l2tp"
)

// The simulator runs a whole LNS, real but for its plane and its sockets, with
// LACs, subscribers, RADIUS, a network and a journal around it, in one
// goroutine and virtual time, and breaks all of them on purpose. Everything
// that happens follows from a plan, and the plan from a seed:
//
//	sim_test.go           what go test runs, and how a failure is shrunk
//	sim_plan_test.go      seeds to plans: sizes, habits, and what goes wrong when
//	sim_rival_test.go     plans in which subscribers and LACs get into their own way
//	sim_world_test.go     time, chance, and the order of events
//	sim_life_test.go      one life of lnsd, from its start to its death
//	sim_store_test.go     the journal: it fails, stalls, and survives
//	sim_plane_test.go     the plane's twin, and what may leave it when
//	sim_aaa_test.go       RADIUS authentication
//	sim_acct_test.go      RADIUS accounting, and the books that must balance
//	sim_net_test.go       the network, and what is checked of what passes it
//	sim_lac_test.go       LACs
//	sim_call_test.go      calls that the LNS asks LACs for
//	sim_user_test.go      subscribers
//	sim_eap_test.go       EAP, on both sides of the LNS
//	sim_check_test.go     what must be true after each step
//	sim_single_test.go    what only one of two may have
//	sim_end_test.go       what must be true in the end
//	sim_mutation_test.go  faults put into the code, each of which must be caught

// world is everything.
type world struct {
	plan  *plan
	rnd   *rand.Rand // network, RADIUS, scheduling
	now   time.Duration
	wall  time.Duration // how far the wall clock has jumped
	queue eventQueue
	last  uint64 // numbers events

	// simHost is the host that things happen on at the moment; there is only one but in a cluster.
	*simHost
	cluster *simCluster // nil outside of a cluster
	radius  *simRADIUS
	books   *books
	net     *simNet
	lacs    []*simLAC
	users   []*simUser // by their numbers
	// subscriber is how all users' modems are configured.
	subscriber *subscriber.Config
	calm       bool // the chaos is over: nothing is broken any more
	// seen are the sessions that were ever seen, by Acct-Session-Id.
	seen   map[string]*session
	causes map[string]string // by Acct-Session-Id: why it ended
	// tunnelIDs says in which life each was used last.
	tunnelIDs map[tunnelID]int
	history   history
	cur       *proc // the coroutine that runs
	events    int
}

// simHost is a machine that lnsd runs on.
type simHost struct {
	life  *life // nil while lnsd is dead
	lives int
	store *simStore
	*clusterHost
}

// maxEvents is far more than any plan makes.
const maxEvents = 20_000_000

// event is something that happens at a time; of those at one time, the first planned comes first.
type event struct {
	at   time.Duration
	n    uint64
	do   func()
	host *simHost
}

type eventQueue []event

func (e eventQueue) Len() int { return len(e) }
func (e eventQueue) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e eventQueue) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

// Push is that of heap.Interface.
func (e *eventQueue) Push(x any) { *e = append(*e, x.(event)) }

// Pop is that of heap.Interface.
func (e *eventQueue) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}

// violation is the end of a simulation that has found something. Invariant is
// one of the names in the list of invariants.
type violation struct{ invariant, text string }

func (v *violation) Error() string { return v.invariant + ": " + v.text }

// fail ends the simulation.
func (w *world) fail(invariant, format string, args ...any) {
	panic(&violation{invariant, fmt.Sprintf(format, args...)})
}

// simulate runs a plan and gives what it found, nil where all was as it must be.
func simulate(p *plan) (v *violation, w *world) {
	w = newWorld(p)
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *violation:
			v = r
		default:
			v = &violation{"no panic", fmt.Sprintf("%v\n%s", r, debug.Stack())}
		}
		w.life.abandon()
	}()
	w.open()
	w.chaos()
	w.heal()
	w.close()
	return nil, w
}

func newWorld(p *plan) *world {
	w := &world{
		plan: p, rnd: rand.New(rand.NewPCG(p.seed, 1)), simHost: &simHost{},
		seen: map[string]*session{}, causes: map[string]string{}, tunnelIDs: map[tunnelID]int{},
	}
	modems := subscriber.DefaultConfig()
	modems.Auth, modems.AuthTries = p.methods, 40
	w.subscriber = &modems
	w.store, w.radius, w.books, w.net = newSimStore(w), newSimRADIUS(w), newBooks(w), newSimNet(w)
	return w
}

// after has f done d from now.
func (w *world) after(d time.Duration, f func()) { w.at(w.now+d, f) }

func (w *world) at(at time.Duration, f func()) {
	w.last++
	heap.Push(&w.queue, event{max(at, w.now), w.last, f, w.simHost})
}

// run lets time pass until end.
func (w *world) run(end time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		w.happen(e)
		if w.events++; w.events > maxEvents {
			w.fail("all have an end", "%d events, and no end", w.events)
		}
		w.wake()
	}
	w.now = max(w.now, end)
}

// happen has an event happen on its host.
func (w *world) happen(e event) {
	if w.cluster != nil && w.cluster.defers(e) {
		return
	}
	w.simHost = e.host
	e.do()
}

// on has f happen on a host.
func (w *world) on(h *simHost, f func()) {
	was := w.simHost
	w.simHost = h
	f()
	w.simHost = was
}

// wake has those who have something to do get to it.
func (w *world) wake() {
	switch {
	case w.cluster != nil:
		w.cluster.wake()
	case w.life != nil:
		w.life.wake()
	}
}

// await lets time pass until ok, for d at the most. It looks twice a second.
func (w *world) await(d time.Duration, ok func() bool) bool {
	for end := w.now + d; w.now < end; {
		if ok() {
			return true
		}
		w.run(w.now + 500*time.Millisecond)
	}
	return ok()
}

// chance is true in p of all cases.
func (w *world) chance(p float64) bool { return p > 0 && w.rnd.Float64() < p }

// upTo is a duration of less than d.
func (w *world) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rnd.Int64N(int64(d)))
}

// Mono implements Clock.
func (w *world) Mono() time.Duration { return w.now }

// Boot implements BootClock: the machine of a simulation is never booted.
func (w *world) Boot() uint64 { return 1 }

// Wall implements Clock. It jumps.
func (w *world) Wall() time.Time { return time.Unix(1_800_000_000, 0).Add(w.now + w.wall) }

// history is the last things that happened, for the report of a failure.
type history struct {
	lines [20000]string
	n     int
}

// tell notes what happens. It costs nothing unless somebody will read it.
func (w *world) tell(format string, args ...any) {
	if w.plan.verbose {
		w.history.lines[w.history.n%len(w.history.lines)] = fmt.Sprintf("%10.3fs  ", w.now.Seconds()) + fmt.Sprintf(format, args...)
		w.history.n++
	}
}

func (h *history) last() []string {
	n := len(h.lines)
	if h.n <= n {
		return h.lines[:h.n]
	}
	return append(append([]string(nil), h.lines[h.n%n:]...), h.lines[:h.n%n]...)
}

// open starts lnsd and the LACs, and puts what will go wrong into the queue.
func (w *world) open() {
	w.start()
	for i := range w.plan.lacs {
		w.lacs = append(w.lacs, newSimLAC(w, i))
	}
	for i := range w.plan.users {
		newSimUser(w, i)
	}
	for i := range w.plan.actions {
		a := &w.plan.actions[i]
		if !a.skip {
			w.at(a.at, func() {
				if !w.calm {
					w.tell("* %v", a)
					a.do(w)
				}
			})
		}
	}
}

func (w *world) chaos() { w.run(w.plan.chaos) }

// time, toLNS and broken make the world a lacHost.
func (w *world) time() time.Duration { return w.now }

func (w *world) toLNS(l *rigLAC, b []byte) { w.lacs[lacIndex(l.address)].send(l, b) }

func (w *world) broken(b []byte, err error) {
	if !w.net.corrupted {
		w.fail("well-formed", "the LNS sent %x: %v", b, err)
	}
}

// describe says in a few words what a datagram is.
func describe(b []byte) string {
	h, payload, err := l2tp.ParseHeader(b)
	if err != nil {
		return fmt.Sprintf("%x: %v", b, err)
	}
	if !h.Control {
		return fmt.Sprintf("data %d.%d %x", h.TunnelID, h.SessionID, payload[:min(len(payload), 10)])
	}
	return fmt.Sprintf("%s %d.%d ns %d nr %d", controlType(payload), h.TunnelID, h.SessionID, h.Ns, h.Nr)
}

// controlType is the type of a control message.
func controlType(payload []byte) string {
	if len(payload) < 8 {
		return "ZLB"
	}
	return l2tp.MessageType(uint16(payload[6])<<8 | uint16(payload[7])).String()
}

// lacAddress is the address of the nth LAC.
func lacAddress(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n + 1)}), 1701)
}

func lacIndex(a netip.AddrPort) int { return int(a.Addr().As4()[3]) - 1 }
