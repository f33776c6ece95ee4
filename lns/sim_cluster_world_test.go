package lns

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"culvert/lns/cluster"
	"culvert/lns/dataplane"
	machine "culvert/sessiondb/cluster"
)

// The cluster's simulation is that of one node several times over, on one
// PostgreSQL: each node has its shards, its journal, its write-behind, the lease
// machine and its runner, all real. In its files:
//
//	sim_cluster_test.go           what go test runs
//	sim_cluster_plan_test.go      seeds to plans, and what goes wrong
//	sim_cluster_world_test.go     hosts, partitions, who hears whom
//	sim_cluster_proc_test.go      what waits for the database, as coroutines
//	sim_cluster_node_test.go      one life of a node
//	sim_cluster_db_test.go        PostgreSQL, sim_cluster_slow_test.go how it takes its time, sim_cluster_conn_test.go what it is asked
//	sim_cluster_books_test.go     accounting over all nodes
//	sim_cluster_check_test.go     what must be true at any time
//	sim_cluster_acts_test.go      takeovers that the design promises
//	sim_cluster_plots_test.go     those in which more than one thing happens
//	sim_cluster_mutation_test.go  faults, each of which must be caught

// simCluster is what a world of several nodes has beside one of a single node.
type simCluster struct {
	w       *world
	nodes   []*simHost
	outside *simHost // where LACs, routers and the database are
	db      *simDB
	books   *clusterBooks
	lives   int
	// cut has pairs of who hears nothing of whom: nodes by name, "db", "lacs".
	cut map[[2]string]bool
	// heard is which host the routers were told of for an address.
	heard map[netip.Addr]*simHost
	uses  map[dataplane.Key]idUse
	has   map[netip.Addr]addressUse
	// informed are the tunnels and sessions that somebody was told of.
	informed map[string]bool
	// given is what sessions had counted when their address was moved last.
	given map[string]uint64
	// troubled is until when each node's way to the database may have been bad.
	troubled map[string]time.Duration
	// redialled are users whose calls an act has ended; came is told when the next address has come to a life.
	redialled map[int]bool
	came      func(*life)
	strict    bool // an act is on since acted: nothing may be lost that was there before
	acted     time.Time
}

// clusterHost is a node's machine.
type clusterHost struct {
	name     string
	index    int
	frozen   bool
	deferred []event
	offset   time.Duration
	addrs    map[netip.Addr]time.Duration // on it, until when
	config   machine.Config
	downFor  time.Duration // the machine is dead until then
	boot     uint64
	deaths   int
}

func newSimCluster(w *world) *simCluster {
	c := &simCluster{w: w, cut: map[[2]string]bool{}, heard: map[netip.Addr]*simHost{}, uses: map[dataplane.Key]idUse{}, has: map[netip.Addr]addressUse{}, informed: map[string]bool{}, given: map[string]uint64{},
		troubled: map[string]time.Duration{}, redialled: map[int]bool{}}
	w.cluster = c
	c.outside = &simHost{clusterHost: &clusterHost{name: "outside"}, store: newSimStore(w)}
	w.simHost = c.outside
	c.db, c.books = newSimDB(c), newClusterBooks(c)
	for i := range w.plan.cluster.nodes {
		h := &simHost{store: newSimStore(w), clusterHost: &clusterHost{name: fmt.Sprintf("sim%d", i+1), index: i,
			offset: time.Duration(i) * 7 * time.Hour, addrs: map[netip.Addr]time.Duration{}, boot: uint64(i + 1)}}
		h.config = machine.Config{Node: h.name, Lease: w.plan.cluster.lease, Serves: c.listen()}
		for j, a := range c.listen() {
			if j%w.plan.cluster.nodes == i {
				h.config.Prefer = append(h.config.Prefer, a)
			}
		}
		c.nodes = append(c.nodes, h)
	}
	return c
}

// listen are the service addresses.
func (c *simCluster) listen() []netip.AddrPort { return simListeners[:c.w.plan.listeners] }

func (c *simCluster) node(name string) *simHost {
	for _, h := range c.nodes {
		if h.name == name {
			return h
		}
	}
	return nil
}

func (c *simCluster) isCut(from, to string) bool { return c.cut[[2]string{from, to}] }

// latency is a few milliseconds, and now and then much more.
func (c *simCluster) latency() time.Duration {
	d := c.w.upTo(3 * time.Millisecond)
	if !c.w.calm && c.w.chance(0.01) {
		d += c.w.upTo(clientTime / 2)
	}
	return d
}

// defers puts an event off that happens on a host that is frozen.
func (c *simCluster) defers(e event) bool {
	h := e.host
	if h.frozen {
		h.deferred = append(h.deferred, e)
	}
	return h.frozen
}

// freeze stops a node's process, and thaw has it go on.
func (c *simCluster) freeze(h *simHost) {
	c.w.tell("%s is frozen", h.name)
	h.frozen = true
}

func (c *simCluster) thaw(h *simHost) {
	if !h.frozen {
		return
	}
	c.w.tell("%s goes on", h.name)
	h.frozen = false
	list := h.deferred
	h.deferred = nil
	c.w.on(h, func() {
		for _, e := range list {
			c.w.after(0, e.do)
		}
	})
}

// wake has every node that has something to do get to it.
func (c *simCluster) wake() {
	for _, h := range c.nodes {
		if h.life != nil && !h.frozen {
			c.w.on(h, h.life.wakeNode)
		}
	}
}

// holder is the host that gets what is sent to an address.
func (c *simCluster) holder(a netip.Addr) *simHost {
	has := func(h *simHost) bool { return h != nil && h.addrs[a] > c.w.now }
	if has(c.heard[a]) {
		return c.heard[a]
	}
	for _, h := range c.nodes {
		if has(h) {
			return h
		}
	}
	return nil
}

// arrive brings a LAC's datagram to whoever has the address.
func (c *simCluster) arrive(listener uint16, from netip.AddrPort, b []byte) {
	w := c.w
	h := c.holder(c.listen()[listener].Addr())
	if h == nil || c.isCut("lacs", h.name) {
		return
	}
	w.on(h, func() {
		w.after(0, func() {
			if l := h.life; l != nil {
				l.guard(func() { l.plane.inject(listener, from, b) })
			}
		})
	})
}

// serving is the life that answers for an address, nil while nobody does.
func (c *simCluster) serving(listener uint16) *life {
	h := c.node(c.db.owner(c.listen()[listener]))
	if h == nil || h.life == nil || h.life.runner == nil || !h.life.open(listener) {
		return nil
	}
	return h.life
}

// message brings one node's message to another.
func (c *simCluster) message(from *simHost, o machine.Out) {
	w, to := c.w, c.node(o.At)
	w.on(c.outside, func() {
		w.after(c.latency(), func() {
			if to == nil || c.isCut(from.name, to.name) {
				return
			}
			msg := o.Message
			w.on(to, func() {
				w.after(0, func() {
					if l := to.life; l != nil && l.runner != nil {
						l.guard(func() { l.runner.Receive(from.name, &msg) })
					}
				})
			})
		})
	})
}

// died plans the next life of a node.
func (c *simCluster) died(l *life, down time.Duration) {
	h := c.w.simHost
	procs := l.procs
	l.procs = nil
	for _, p := range procs {
		p.end()
	}
	c.troubled[h.name] = max(c.troubled[h.name], c.w.now+down)
	c.letGo(l)
	h.deaths++
	deaths := h.deaths
	c.w.after(max(down, h.downFor-c.w.now), func() {
		if h.life == nil && h.deaths == deaths {
			c.start(h)
		}
	})
}

// simulateCluster runs a plan and gives what it found, nil where all was as it must be.
func simulateCluster(p *plan) (v *violation, w *world) {
	w = newWorld(p)
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *violation:
			v = r
		default:
			v = &violation{"no panic", fmt.Sprintf("%v\n%s", r, debug.Stack())}
		}
		w.cluster.abandon()
	}()
	c := newSimCluster(w)
	c.open()
	w.run(p.chaos)
	c.heal()
	c.acts()
	c.close()
	return nil, w
}

// abandon ends all coroutines.
func (c *simCluster) abandon() {
	for _, h := range c.nodes {
		h.life.abandon()
		if h.life != nil && h.life.clusterLife != nil {
			for _, p := range h.life.procs {
				p.end()
			}
		}
	}
}

// open starts the nodes and the LACs, and puts what will go wrong into the queue.
func (c *simCluster) open() {
	w := c.w
	for _, h := range c.nodes {
		w.on(h, func() { w.after(w.upTo(2*time.Second), func() { c.start(h) }) })
	}
	for i := range w.plan.lacs {
		w.lacs = append(w.lacs, newSimLAC(w, i))
	}
	for i := range w.plan.users {
		newSimUser(w, i)
	}
	for i := range w.plan.actions {
		if a := &w.plan.actions[i]; !a.skip {
			w.at(a.at, func() {
				if !w.calm {
					w.tell("* %v", a)
					a.do(w)
				}
			})
		}
	}
}

// proc is a coroutine of a node: what waits for the database, in the order in
// which it would in a goroutine.
type proc struct {
	w     *world
	l     *life
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	done  bool
	died  bool
	// ok is what it waits for; serial numbers its waits.
	ok     func() bool
	serial int
}

// spawn runs f soon, in a coroutine that ends with the life.
func (l *life) spawn(f func()) {
	p := &proc{w: l.w, l: l}
	p.next, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(killed); !ok {
					panic(r)
				}
				p.died = true
			}
		}()
		p.yield = yield
		f()
	})
	l.procs = append(l.procs, p)
	l.w.after(0, p.resume)
}

// resume has the coroutine go on until it waits again.
func (p *proc) resume() {
	l := p.l
	if p.done || l.w.life != l {
		return
	}
	l.guard(func() {
		was := p.w.cur
		p.w.cur = p
		_, more := p.next()
		p.w.cur = was
		if more {
			return
		}
		p.done = true
		l.procs = slices.DeleteFunc(l.procs, func(o *proc) bool { return o == p })
		if p.died {
			panic(killed{})
		}
	})
}

// end ends a coroutine that waits.
func (p *proc) end() {
	if !p.done && p.w.cur != p {
		p.done = true
		was := p.w.cur
		p.w.cur = p
		p.stop()
		p.w.cur = was
	}
}

// poke has a coroutine look whether what it waits for is there.
func (p *proc) poke() {
	if p.ok != nil && p.ok() {
		p.serial++
		p.ok = nil
		p.resume()
	}
}

// wait has the coroutine that runs wait until ok, or for the time; it is poked when ok may have become true.
func (w *world) wait(until time.Duration, ok func() bool) {
	p := w.cur
	if p.died || p.yield == nil {
		panic(killed{})
	}
	if ok != nil && ok() {
		return
	}
	p.serial++
	serial := p.serial
	p.ok = ok
	if until < never {
		w.at(until, func() {
			if p.serial == serial {
				p.serial++
				p.ok = nil
				p.resume()
			}
		})
	}
	if !p.yield(struct{}{}) {
		p.died = true
		panic(killed{})
	}
}

// sleep has the coroutine that runs wait.
func (w *world) sleep(d time.Duration) { w.wait(w.now+d, nil) }

// poll has it wait until ok, looking now and then.
func (w *world) poll(until time.Duration, ok func() bool) {
	for !ok() && w.now < until {
		w.sleep(time.Millisecond)
	}
}

// nodeClock is a node's clock: none has another's boot.
type nodeClock struct {
	*world
	h *simHost
}

// Boot implements BootClock.
func (c nodeClock) Boot() uint64 { return c.h.boot }

// newManual is what runs a node's runner.
func (l *life) newManual(h *simHost) *cluster.Manual {
	w := l.w
	return &cluster.Manual{
		Now:   func() time.Duration { return w.now + h.offset },
		Wake:  func() { l.planRunner(w.now) },
		Go:    l.spawn,
		Sleep: w.sleep,
		Wait:  func(ok func() bool) { w.poll(never, ok) },
		Send:  func(o machine.Out) { w.cluster.message(h, o) },
	}
}

// seedOf is for what a life draws by itself.
func seedOf(p *plan, n int) (seed [32]byte) {
	r := rand.New(rand.NewPCG(p.seed, uint64(n)))
	for i := range seed {
		seed[i] = byte(r.Uint32())
	}
	return seed
}

var background = context.Background()
