package lns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"culvert/aaa"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// plan is all that a simulation does, made from its seed.
type plan struct {
	seed    uint64
	verbose bool

	lacs, tunnels, users      int // tunnels of each LAC
	shards, listeners         int
	pool                      int // addresses
	maxSettingUp, maxSessions int
	profile                   LACProfile
	lacWindow                 uint16
	hide, early, sequencing   bool
	lowIDs, lazy              bool
	weather                   weather
	acctLoss                  float64
	concurrency               int
	memoryRecords             int
	contracts                 []contract
	downTime                  time.Duration
	// big: there are thousands of users, so that not everything is looked at after every step.
	big bool
	// What some LACs and subscribers do besides, as shares of the calls.
	proxied, guests, impatient float64
	async, speeds              bool
	surf                       time.Duration // between two packets of a user, at most
	stall                      time.Duration // the longest that the journal may hold a shard up
	methods                    []ppp.Auth    // that subscribers agree to
	chaos                      time.Duration
	actions                    []action
	ending                     ending
	cluster                    *clusterPlan // nil for one node
}

// contract is what a subscriber's provider has agreed with it.
type contract struct {
	fixed         bool // an address of its own
	routed        bool // a network of its own
	session, idle time.Duration
}

// newPlan makes a plan of a seed.
func newPlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 0))
	p := &plan{
		seed: seed, lacs: 1 + r.IntN(4), tunnels: 1 + r.IntN(3), shards: 1 + r.IntN(4), listeners: 1 + r.IntN(2),
		lacWindow: pick[uint16](r, 1, 2, 4, 16, 100), hide: r.IntN(4) == 0, early: r.IntN(4) == 0, sequencing: r.IntN(4) == 0,
		lowIDs: r.IntN(2) == 0, lazy: r.IntN(3) > 0, concurrency: pick(r, 1, 4, 64), memoryRecords: pick(r, 1, 8, 1<<16),
		downTime: time.Duration(r.Int64N(int64(20 * time.Second))), ending: ending(r.IntN(int(endings))),
		chaos: 30*time.Second + time.Duration(r.Int64N(int64(60*time.Second))),
	}
	p.users = p.lacs * p.tunnels * (1 + r.IntN(6))
	if p.big = seed%bigSeeds == bigSeed; p.big {
		p.enlarge(r)
	}
	p.pool = p.users
	if r.IntN(5) == 0 {
		p.pool = max(1, p.users*2/3)
		p.maxSessions = pick(r, 0, p.users, max(1, p.users/2))
	}
	if r.IntN(4) == 0 {
		p.maxSettingUp = 1 + r.IntN(4)
		if p.big {
			p.maxSettingUp *= 100
		}
	}
	p.profile = testProfile("lac", func(q *LACProfile) {
		q.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		q.Window = pick[uint16](r, 1, 2, 8, 128)
		q.Hello, q.EchoInterval, q.EchoFailures = 5*time.Second, 5*time.Second, 3
		q.Auth = pick(r, []string{"chap"}, []string{"pap"}, []string{"pap", "chap"})
		q.BusyResult = pick(r, l2tp.ResultCode(2), 4)
		if p.hide || r.IntN(2) == 0 {
			q.Secret = "secret"
		}
	})
	p.habits(r)
	for range p.users {
		c := contract{fixed: r.IntN(3) == 0, routed: r.IntN(4) == 0}
		if r.IntN(6) == 0 {
			c.session = 5*time.Second + time.Duration(r.Int64N(int64(20*time.Second)))
		}
		if r.IntN(6) == 0 {
			c.idle = 3*time.Second + time.Duration(r.Int64N(int64(10*time.Second)))
		}
		p.contracts = append(p.contracts, c)
	}
	p.weather = randomWeather(r, !p.big && r.IntN(3) > 0)
	if r.IntN(3) == 0 {
		p.acctLoss = r.Float64() * 0.5
	}
	p.plan(r)
	if seed%rivalSeeds == rivalSeed {
		p.rival(r)
	}
	return p
}

// Of bigSeeds seeds one has a big world.
const bigSeeds, bigSeed = 50, 17

// enlarge makes a world of thousands of subscribers, for a shorter time.
func (p *plan) enlarge(r *rand.Rand) {
	p.users = 1000 + r.IntN(3001)
	p.lacs, p.tunnels = 5+r.IntN(60), 1+r.IntN(3)
	p.chaos = 20*time.Second + time.Duration(r.Int64N(int64(15*time.Second)))
	p.lacWindow = max(p.lacWindow, 4)
}

// habits says what LACs and subscribers do besides, and how the profile treats it.
func (p *plan) habits(r *rand.Rand) {
	q := &p.profile
	p.surf, p.methods = 3*time.Second, subscriberConfig.Auth
	p.async, p.speeds = r.IntN(4) == 0, r.IntN(4) == 0
	q.FloatPeer = r.IntN(3) == 0
	q.Address = lacAddress(0)
	if r.IntN(3) == 0 {
		p.guests = r.Float64() * 0.5
	}
	if r.IntN(4) == 0 {
		q.Auth, p.methods = pick(r, []string{"eap"}, []string{"eap", "chap"}), []ppp.Auth{ppp.AuthEAP}
	}
	if r.IntN(3) == 0 {
		p.impatient = r.Float64()
	}
	if r.IntN(3) == 0 {
		p.proxied = r.Float64()
	}
	q.Proxy = pick(r, "accept", "on-mismatch", "strict", "always")
	if q.Proxy != "strict" && r.IntN(2) == 0 {
		q.MRU = 1400 // less than what LACs agree to
	}
	q.Sequencing = pick(r, SequencingRequired, SequencingRequired, SequencingNegotiation, SequencingAlways)
	if r.IntN(3) == 0 {
		q.ReorderPackets, q.ReorderTime = 1+r.IntN(32), time.Duration(1+r.IntN(500))*time.Millisecond
	}
	if p.big {
		// What would be most of the work, and tells nothing new, is done less often.
		p.surf, q.EchoInterval = 20*time.Second, 20*time.Second
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomWeather(r *rand.Rand, bad bool) weather {
	w := fair
	if !bad {
		return w
	}
	w.loss, w.dup = r.Float64()*0.25, r.Float64()*0.2
	w.delay = time.Duration(r.Int64N(int64(80 * time.Millisecond)))
	w.jitter = time.Duration(r.Int64N(int64(300 * time.Millisecond)))
	if r.IntN(10) == 0 {
		w.corrupt = 0.004
	}
	return w
}

// action is one thing that goes wrong, or that an operator does, in a plan.
type action struct {
	index int
	at    time.Duration
	text  string
	do    func(*world)
	skip  bool // taken out of the plan to see whether it matters
}

func (a *action) String() string { return a.text }

// plan fills in what happens when.
func (p *plan) plan(r *rand.Rand) {
	for range r.IntN(14) {
		make := kinds[r.IntN(len(kinds))]
		text, do := make(p, r)
		p.actions = append(p.actions, action{at: time.Duration(r.Int64N(int64(p.chaos))), text: text, do: do})
	}
	p.inOrder()
}

// String describes the plan and lists its events.
func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d LACs with %d tunnels, %d users, %d shards, %d listeners, %d addresses, windows %d and %d,\n",
		p.seed, p.lacs, p.tunnels, p.users, p.shards, p.listeners, p.pool, p.profile.Window, p.lacWindow)
	fmt.Fprintf(&b, "  hide %v, early %v, sequencing %v, low ids %v, lazy %v, down %v, set-ups %d, sessions %d, ending %v\n",
		p.hide, p.early, p.sequencing, p.lowIDs, p.lazy, p.downTime, p.maxSettingUp, p.maxSessions, p.ending)
	fmt.Fprintf(&b, "  proxied %.2f by %s, MRU %d, guests %.2f, impatient %.2f, asynchronous %v, speeds %v, methods %v, floating %v, data numbered %s, reordered %d for %v\n",
		p.proxied, p.profile.Proxy, p.profile.MRU, p.guests, p.impatient, p.async, p.speeds, p.profile.Auth, p.profile.FloatPeer, p.profile.Sequencing, p.profile.ReorderPackets, p.profile.ReorderTime)
	fmt.Fprintf(&b, "  weather %+v, accounting loses %.2f, keeps %d, sends %d\n", p.weather, p.acctLoss, p.memoryRecords, p.concurrency)
	if c := p.cluster; c != nil {
		fmt.Fprintf(&b, "  a cluster of %d, lease %v, durability cluster %v, then %v\n", c.nodes, c.lease, c.confirm, c.acts)
	}
	for i := range p.actions {
		if a := &p.actions[i]; !a.skip {
			fmt.Fprintf(&b, "  event %2d at %7.3fs: %s\n", a.index, a.at.Seconds(), a.text)
		}
	}
	return b.String()
}

// kinds make the actions.
var kinds = []func(*plan, *rand.Rand) (string, func(*world)){
	killing, killing, killing, cutting, raining, asking, accounting, storing, stalling, jumping,
	restarting, disconnecting, stopping, draining, unprofiling, shuttingDown, moving, calling, calling,
}

func seconds(r *rand.Rand, max int) time.Duration {
	return time.Duration(r.Int64N(int64(time.Duration(max) * time.Second)))
}

func killing(_ *plan, r *rand.Rand) (string, func(*world)) {
	n := r.IntN(60)
	return fmt.Sprintf("lnsd is killed after %d more effects", n), func(w *world) {
		switch l := w.life; {
		case l == nil:
		case n == 0:
			l.die(w.plan.downTime)
		default:
			l.dieIn = n
		}
	}
}

func cutting(p *plan, r *rand.Rand) (string, func(*world)) {
	n, d, up, down := r.IntN(p.lacs), seconds(r, 60), r.IntN(3) > 0, r.IntN(3) > 0
	return fmt.Sprintf("LAC %d is cut off for %v (to the LNS %v, from it %v)", n, d, up, down), func(w *world) {
		w.lacs[n].weather.up, w.lacs[n].weather.down = up, down
		w.after(d, func() { w.lacs[n].weather.up, w.lacs[n].weather.down = false, false })
	}
}

func raining(p *plan, r *rand.Rand) (string, func(*world)) {
	n, d, c := r.IntN(p.lacs), seconds(r, 30), randomWeather(r, true)
	return fmt.Sprintf("LAC %d has %+v for %v", n, c, d), func(w *world) {
		if !w.calm {
			w.lacs[n].weather = c
			w.after(d, func() {
				if !w.calm {
					w.lacs[n].weather = w.plan.weather
				}
			})
		}
	}
}

func asking(_ *plan, r *rand.Rand) (string, func(*world)) {
	return asks(radiusMode(1+r.IntN(int(radiusModes)-1)), seconds(r, 40))
}

// asks has RADIUS answer in some way for a while.
func asks(m radiusMode, d time.Duration) (string, func(*world)) {
	return fmt.Sprintf("RADIUS authentication is %v for %v", m, d), func(w *world) {
		w.radius.mode = m
		w.after(d, func() { w.radius.mode = radiusWell })
	}
}

func accounting(_ *plan, r *rand.Rand) (string, func(*world)) {
	m, d := radiusMode(1+r.IntN(int(radiusDead))), seconds(r, 60)
	return fmt.Sprintf("RADIUS accounting is %v for %v", m, d), func(w *world) {
		w.books.mode = m
		w.after(d, func() { w.books.mode = radiusWell })
	}
}

func storing(_ *plan, r *rand.Rand) (string, func(*world)) {
	d := seconds(r, 20)
	return fmt.Sprintf("the journal fails for %v", d), func(w *world) {
		w.store.failing = true
		w.after(d, func() { w.store.failing = false })
	}
}

func stalling(p *plan, r *rand.Rand) (string, func(*world)) {
	d, stall := seconds(r, 20), seconds(r, 3)
	if r.IntN(3) == 0 {
		stall = seconds(r, 60)
	}
	p.stall = max(p.stall, stall)
	return fmt.Sprintf("the journal stalls for up to %v, for %v", stall, d), func(w *world) {
		w.store.stall = stall
		w.after(d, func() { w.store.stall = 0 })
	}
}

func jumping(_ *plan, r *rand.Rand) (string, func(*world)) {
	d := seconds(r, 7200) - time.Hour
	if r.IntN(2) == 0 {
		d *= time.Duration(1 + r.IntN(1000)) // weeks
	}
	return fmt.Sprintf("the wall clock jumps by %v", d), func(w *world) { w.wall += d }
}

func restarting(p *plan, r *rand.Rand) (string, func(*world)) {
	n, again, tell := r.IntN(p.lacs), r.IntN(2) == 0, r.IntN(3) == 0
	return fmt.Sprintf("LAC %d restarts (with the same ids %v, saying so %v)", n, again, tell), func(w *world) {
		w.lacs[n].restart(again, tell)
	}
}

func disconnecting(p *plan, r *rand.Rand) (string, func(*world)) {
	sel := Selector{User: userName(r.IntN(p.users))}
	switch r.IntN(4) {
	case 0:
		sel = Selector{Peer: lacAddress(r.IntN(p.lacs)).Addr()}
	case 1:
		sel = Selector{Profile: "lac"}
	}
	cause := pick(r, aaa.CauseAdminReset, aaa.CauseNASRequest)
	return fmt.Sprintf("an operator disconnects %+v", sel), func(w *world) {
		w.operator(func(s *Server) { _, _ = s.Disconnect(sel, cause, "simulated") })
	}
}

func stopping(_ *plan, r *rand.Rand) (string, func(*world)) {
	n := r.IntN(1 << 16)
	return "an operator stops a tunnel", func(w *world) {
		w.operator(func(s *Server) {
			if list := s.Tunnels(); len(list) > 0 {
				t := list[n%len(list)]
				_ = s.StopTunnel(t.Local, t.ID, "simulated")
			}
		})
	}
}

func draining(_ *plan, r *rand.Rand) (string, func(*world)) {
	d := seconds(r, 30)
	return fmt.Sprintf("an operator drains the node for %v", d), func(w *world) {
		w.operator(func(s *Server) { s.Drain(true) })
		w.after(d, func() { w.operator(func(s *Server) { s.Drain(false) }) })
	}
}

func unprofiling(_ *plan, r *rand.Rand) (string, func(*world)) {
	d := seconds(r, 30)
	return fmt.Sprintf("an operator deletes the LACs' profile for %v", d), func(w *world) {
		w.operator(func(s *Server) { _ = s.DeleteLAC("lac") })
		w.after(d, w.profiled)
	}
}

// profiled has an operator put the LACs' profile, until the journal takes it.
func (w *world) profiled() {
	w.operator(func(s *Server) {
		if s.PutLAC(w.plan.profile) != nil {
			w.after(time.Second, w.profiled)
		}
	})
}

// moving gives a LAC another port: a NAT before it has forgotten it, or it has failed over.
func moving(p *plan, r *rand.Rand) (string, func(*world)) {
	n, port := r.IntN(p.lacs), uint16(20000+r.IntN(20000))
	return fmt.Sprintf("LAC %d sends from port %d", n, port), func(w *world) {
		if p.profile.FloatPeer {
			w.lacs[n].move(netip.AddrPortFrom(lacAddress(n).Addr(), port))
		}
	}
}

// calling has an operator call some users, through a tunnel that is there or is opened for it.
func calling(p *plan, r *rand.Rand) (string, func(*world)) {
	users := make([]int, 1+r.IntN(5))
	for i := range users {
		users[i] = r.IntN(p.users)
	}
	return fmt.Sprintf("an operator calls the users %v", users), func(w *world) {
		for _, u := range users {
			w.operator(func(s *Server) {
				_, err := s.place(OutgoingCall{LAC: "lac", Number: strconv.Itoa(u)})
				w.tell("an operator calls user %d: %v", u, err)
			})
		}
	}
}

func shuttingDown(_ *plan, r *rand.Rand) (string, func(*world)) {
	d := seconds(r, 10)
	return fmt.Sprintf("lnsd is stopped by SIGTERM, and waits for up to %v", d), func(w *world) {
		if w.life != nil {
			w.life.shutdown(d)
		}
	}
}

// operator does what an operator wants done, if there is a process to do it.
func (w *world) operator(f func(*Server)) {
	if l := w.life; l != nil {
		l.guard(func() { f(l.srv) })
	}
}

// shutdown does what Server.Shutdown does, then begins another life.
func (l *life) shutdown(wait time.Duration) {
	if l.stopped {
		return
	}
	l.stopped = true
	l.guard(func() {
		l.srv.Drain(true)
		l.srv.each(func(sh *shard) { sh.shutdown() })
	})
	end := l.w.now + wait
	var look func()
	look = func() {
		switch {
		case l.w.life != l:
		case l.w.now < end && l.srv.busyShards():
			l.w.after(20*time.Millisecond, look)
		default:
			l.die(l.w.plan.downTime)
		}
	}
	l.w.after(20*time.Millisecond, look)
}
