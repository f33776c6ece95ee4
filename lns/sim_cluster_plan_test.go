package lns

import (
	"fmt"
	"math/rand/v2"
	"time"

	"culvert/aaa"
)

// clusterPlan is what a plan of several nodes has beside that of one.
type clusterPlan struct {
	nodes    int
	lease    time.Duration
	confirm  bool  // durability: cluster
	pending  int64 // what may wait for the database, in octets; 0 is the default
	remember int   // how many free addresses are kept for who had them; 0 is the default
	acts     []act
	skipActs bool
}

// newClusterPlan makes a plan of a seed.
func newClusterPlan(seed uint64) *plan {
	base := seed
	for base%bigSeeds == bigSeed || base%rivalSeeds == rivalSeed {
		base += 1 << 50 // a cluster is never big, nor its subscribers rivals
	}
	p := newPlan(base)
	p.seed = seed
	r := rand.New(rand.NewPCG(seed, 2))
	p.cluster = &clusterPlan{
		nodes: 2 + r.IntN(2), confirm: r.IntN(2) == 0, lease: pick(r, 3*time.Second, 5*time.Second, 10*time.Second),
	}
	p.listeners = 1 + r.IntN(3)
	p.tunnels = max(p.tunnels, (p.listeners+p.lacs-1)/p.lacs)
	p.users = p.lacs * p.tunnels * (1 + r.IntN(4))
	for len(p.contracts) < p.users {
		p.contracts = append(p.contracts, contract{})
	}
	p.pool, p.maxSessions = min(250, 3*p.users), 0
	switch seed % 4 {
	case 0:
		p.cluster.pending = 30_000
	case 1:
		p.pool = min(250, p.users+3)
	}
	p.weather.corrupt = 0
	p.downTime = time.Duration(r.Int64N(int64(3 * time.Second)))
	p.actions = nil
	for range r.IntN(12) {
		text, do := clusterKinds[r.IntN(len(clusterKinds))](p, r)
		p.actions = append(p.actions, action{at: time.Duration(r.Int64N(int64(p.chaos))), text: text, do: do})
	}
	for range 1 + r.IntN(2) {
		p.cluster.acts = append(p.cluster.acts, act{kind: actKind(r.IntN(int(actKinds))), address: r.IntN(3), to: r.IntN(3), lasts: 2*p.cluster.lease + 15*time.Second})
	}
	p.addPlots()
	p.inOrder()
	return p
}

// clusterKinds make the actions.
var clusterKinds = []func(*plan, *rand.Rand) (string, func(*world)){
	killingNode, killingNode, losingMachine, freezing, freezing, cuttingDB, cuttingDB, cuttingPeers, isolating, isolating,
	databaseAway, databaseStalls, movingAll, movingAll, cuttingLACs,
	cutting, raining, askingWell, accounting, restarting, disconnectingAnywhere, stoppingAnywhere,
}

func nodeName(p *plan, r *rand.Rand) (func(*world) *simHost, string) {
	n := r.IntN(p.cluster.nodes)
	return func(w *world) *simHost { return w.cluster.nodes[n] }, fmt.Sprintf("sim%d", n+1)
}

func killingNode(p *plan, r *rand.Rand) (string, func(*world)) {
	h, name := nodeName(p, r)
	n := r.IntN(60)
	return fmt.Sprintf("%s is killed after %d more effects", name, n), func(w *world) {
		w.cluster.kill(h(w), n, 0)
	}
}

func losingMachine(p *plan, r *rand.Rand) (string, func(*world)) {
	h, name := nodeName(p, r)
	d := seconds(r, 90)
	return fmt.Sprintf("the machine of %s is off for %v", name, d), func(w *world) { w.cluster.kill(h(w), 0, d) }
}

// kill has a node's process die, and its machine for a while.
func (c *simCluster) kill(h *simHost, effects int, down time.Duration) {
	c.trouble(h)
	if down > 0 {
		h.downFor = c.w.now + down
		h.boot += 100
		clear(h.addrs)
	}
	l := h.life
	if l == nil {
		return
	}
	c.w.on(h, func() {
		if effects > 0 {
			l.dieIn = effects
			return
		}
		h.frozen, h.deferred = false, nil
		l.die(c.w.plan.downTime)
	})
}

func freezing(p *plan, r *rand.Rand) (string, func(*world)) {
	h, name := nodeName(p, r)
	d := seconds(r, 60)
	return fmt.Sprintf("%s is frozen for %v", name, d), func(w *world) {
		c := w.cluster
		c.trouble(h(w))
		c.freeze(h(w))
		w.after(d, func() { c.thaw(h(w)); c.trouble(h(w)) })
	}
}

// severs cuts ways for a while.
func severs(w *world, d time.Duration, h *simHost, ways ...[2]string) {
	c := w.cluster
	for _, way := range ways {
		c.cut[way] = true
	}
	c.trouble(h)
	w.after(d, func() {
		for _, way := range ways {
			delete(c.cut, way)
		}
		c.trouble(h)
	})
}

func cuttingDB(p *plan, r *rand.Rand) (string, func(*world)) {
	h, name := nodeName(p, r)
	d, way := seconds(r, 60), r.IntN(3)
	return fmt.Sprintf("%s is cut off from the database for %v (0 there, 1 back, 2 both: %d)", name, d, way), func(w *world) {
		ways := [][2]string{{name, "db"}, {"db", name}}
		if way < 2 {
			ways = ways[way : way+1]
		}
		severs(w, d, h(w), ways...)
	}
}

func cuttingPeers(p *plan, r *rand.Rand) (string, func(*world)) {
	h, name := nodeName(p, r)
	d, one, back := seconds(r, 60), r.IntN(p.cluster.nodes), r.IntN(3) > 0
	other := fmt.Sprintf("sim%d", one+1)
	return fmt.Sprintf("%s hears nothing of %s for %v, and back %v", name, other, d, back), func(w *world) {
		ways := [][2]string{{other, name}}
		if back {
			ways = append(ways, [2]string{name, other})
		}
		severs(w, d, h(w), ways...)
	}
}

func isolating(p *plan, r *rand.Rand) (string, func(*world)) {
	h, name := nodeName(p, r)
	d, lacs := seconds(r, 60), r.IntN(2) == 0
	return fmt.Sprintf("%s is cut off from nodes and database for %v, from LACs %v", name, d, lacs), func(w *world) {
		severs(w, d, h(w), w.cluster.around(h(w), lacs)...)
	}
}

// around are all ways to and from a node.
func (c *simCluster) around(h *simHost, lacs bool) [][2]string {
	ways := [][2]string{{h.name, "db"}, {"db", h.name}}
	for _, o := range c.nodes {
		ways = append(ways, [2]string{h.name, o.name}, [2]string{o.name, h.name})
	}
	if lacs {
		ways = append(ways, [2]string{h.name, "lacs"}, [2]string{"lacs", h.name})
	}
	return ways
}

func cuttingLACs(p *plan, r *rand.Rand) (string, func(*world)) {
	h, name := nodeName(p, r)
	d, way := seconds(r, 20), r.IntN(2)
	return fmt.Sprintf("%s is cut off from the LACs for %v (0 there, 1 back: %d)", name, d, way), func(w *world) {
		severs(w, d, h(w), [][2]string{{name, "lacs"}, {"lacs", name}}[way])
	}
}

func databaseAway(_ *plan, r *rand.Rand) (string, func(*world)) {
	d := seconds(r, 60)
	return fmt.Sprintf("the database is away for %v", d), func(w *world) {
		c := w.cluster
		c.db.away = true
		c.troubleAll()
		w.after(d, func() { c.db.away = false; c.troubleAll() })
	}
}

func databaseStalls(_ *plan, r *rand.Rand) (string, func(*world)) {
	d := seconds(r, 60)
	return fmt.Sprintf("the database stalls for %v", d), func(w *world) {
		c := w.cluster
		c.db.stalled = true
		c.troubleAll()
		w.after(d, func() { c.db.goOn(); c.troubleAll() })
	}
}

func movingAll(p *plan, r *rand.Rand) (string, func(*world)) {
	h, name := nodeName(p, r)
	to, d := fmt.Sprintf("sim%d", 1+r.IntN(p.cluster.nodes)), seconds(r, 30)
	return fmt.Sprintf("%s is drained to %s, and takes again after %v", name, to, d), func(w *world) {
		w.cluster.drain(h(w), to)
		w.after(d, func() { w.cluster.undrain(h(w)) })
	}
}

// drain is lnsctl node drain --to.
func (c *simCluster) drain(h *simHost, to string) {
	w, l := c.w, h.life
	if l == nil || l.runner == nil {
		return
	}
	w.on(h, func() {
		l.spawn(func() {
			moved, err := l.runner.MoveAll(background, to)
			w.tell("%s was drained to %s: %v, %v", h.name, to, moved, err)
		})
	})
}

func askingWell(_ *plan, r *rand.Rand) (string, func(*world)) {
	m, d := pick(r, radiusSlow, radiusDead, radiusRejecting), seconds(r, 40)
	return fmt.Sprintf("RADIUS authentication is %v for %v", m, d), func(w *world) {
		w.radius.mode = m
		w.after(d, func() { w.radius.mode = radiusWell })
	}
}

// eachNode has an operator do something on every node.
func (c *simCluster) eachNode(f func(*Server)) {
	for _, h := range c.nodes {
		if l := h.life; l != nil && l.srv != nil && !h.frozen {
			c.w.on(h, func() { l.guard(func() { f(l.srv) }) })
		}
	}
}

func disconnectingAnywhere(p *plan, r *rand.Rand) (string, func(*world)) {
	sel := Selector{User: userName(r.IntN(p.users))}
	if r.IntN(3) == 0 {
		sel = Selector{Peer: lacAddress(r.IntN(p.lacs)).Addr()}
	}
	return fmt.Sprintf("an operator disconnects %+v", sel), func(w *world) {
		w.cluster.eachNode(func(s *Server) { _, _ = s.Disconnect(sel, aaa.CauseAdminReset, "simulated") })
	}
}

func stoppingAnywhere(_ *plan, r *rand.Rand) (string, func(*world)) {
	n := r.IntN(1000)
	return "an operator stops a tunnel", func(w *world) {
		w.cluster.eachNode(func(s *Server) {
			if list := s.Tunnels(); len(list) > 0 {
				t := list[n%len(list)]
				_ = s.StopTunnel(t.Local, t.ID, "simulated")
			}
		})
	}
}

// act is something that nobody may notice, while all else is well.
type act struct {
	kind    actKind
	address int // whose owner it happens to
	to      int
	lasts   time.Duration
}

type actKind int

const (
	actKill     actKind = iota // the machine is off
	actFreeze                  // the process is stopped
	actIsolate                 // it is cut off from nodes and database
	actDrain                   // an operator moves its addresses
	actRestart                 // the process is killed, and started again
	actAway                    // the database is away, for all
	actStall                   // the database is stopped
	actCutDB                   // the database is away, for this node
	actCutPeers                // the nodes hear nothing of each other
	actKinds
)

func (k actKind) String() string {
	if k >= actKinds {
		return plotNames[k-actKinds]
	}
	return [...]string{"kill", "freeze", "isolate", "drain", "restart", "database away", "database stalls", "no way to the database", "no way between nodes"}[k]
}

// moves says whether the design promises that addresses move; dark whether nobody answers for them meanwhile.
func (k actKind) moves() bool {
	return k <= actDrain || k == actLateClaim || k == actLateRenewal || k == actUnwritten
}
func (k actKind) dark() bool { return k <= actIsolate || k == actLateClaim || k == actUnwritten }

func (a act) String() string { return fmt.Sprintf("%v of the owner of address %d", a.kind, a.address) }

// do does it to a node.
func (a act) do(c *simCluster, h *simHost) {
	w := c.w
	switch a.kind {
	case actKill:
		c.kill(h, 0, a.lasts+time.Second)
	case actFreeze:
		c.freeze(h)
	case actIsolate:
		for _, way := range c.around(h, false) {
			c.cut[way] = true
		}
	case actDrain:
		to := c.nodes[a.to%len(c.nodes)]
		if to == h {
			to = c.nodes[(h.index+1)%len(c.nodes)]
		}
		c.drain(h, to.name)
	case actRestart:
		c.kill(h, 0, 0)
	case actAway:
		c.db.away = true
	case actStall:
		c.db.stalled = true
	case actCutDB:
		c.cut[[2]string{h.name, "db"}], c.cut[[2]string{"db", h.name}] = true, true
	case actCutPeers:
		for _, o := range c.nodes {
			for _, p := range c.nodes {
				c.cut[[2]string{o.name, p.name}] = true
			}
		}
	default:
		a.plot(c, h)
	}
	w.simHost = c.outside
}
