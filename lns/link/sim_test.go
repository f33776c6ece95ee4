package link

import (
	"bytes"
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"
)

// flight is one frame on its way.
type flight struct {
	at       time.Duration
	seq      int
	toServer bool
	frame    []byte
}

// flights is a heap of frames by arrival.
type flights []flight

func (h flights) Len() int { return len(h) }
func (h flights) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h flights) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *flights) Push(x any)   { *h = append(*h, x.(flight)) }
func (h *flights) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// sim runs one server and one client in virtual time over a bad path.
type sim struct {
	now       time.Duration
	rnd       *rand.Rand
	s         *server
	c         *client
	path      flights
	seq       int
	loss, dup float64
	delay     time.Duration
	jitter    time.Duration
	// cut loses everything.
	cut bool
}

func newSim(seed uint64, cfg *Config, m Method) *sim {
	rnd := rand.New(rand.NewPCG(seed, 1))
	x := &sim{rnd: rnd, delay: 10 * time.Millisecond, c: newClient(rnd, m)}
	x.s = &server{fx: NewEffects(16), net: testNetwork(), password: "secret", delay: 5 * time.Millisecond}
	x.s.link.Start(0, cfg, seeded(seed), nil, x.s.fx)
	x.c.start(0)
	x.collect()
	return x
}

// collect puts what both ends sent on the path.
func (x *sim) collect() {
	for _, f := range x.s.drain(x.now) {
		x.put(f, false)
	}
	for _, f := range x.c.out {
		x.put(f, true)
	}
	x.c.out = nil
}

func (x *sim) put(f []byte, toServer bool) {
	copies := 1
	if x.cut || x.rnd.Float64() < x.loss {
		copies = 0
	} else if x.rnd.Float64() < x.dup {
		copies = 2
	}
	for range copies {
		at := x.now + x.delay
		if x.jitter > 0 {
			at += time.Duration(x.rnd.Int64N(int64(x.jitter)))
		}
		x.seq++
		heap.Push(&x.path, flight{at, x.seq, toServer, bytes.Clone(f)})
	}
}

// run goes on until done reports true or the time is over; it reports done.
func (x *sim) run(until time.Duration, done func() bool) bool {
	for !done() {
		at := min(x.s.deadline(), x.c.deadline())
		if len(x.path) > 0 {
			at = min(at, x.path[0].at)
		}
		if at > until {
			x.now = until
			return false
		}
		x.now = max(at, x.now)
		for len(x.path) > 0 && x.path[0].at <= x.now {
			f := heap.Pop(&x.path).(flight)
			if f.toServer {
				x.s.link.Receive(x.now, f.frame, x.s.fx)
			} else {
				x.c.receive(x.now, f.frame)
			}
			x.collect()
		}
		x.s.tick(x.now)
		x.c.tick(x.now)
		x.collect()
	}
	return true
}

func (x *sim) bothUp() bool { return x.s.link.Phase() == PhaseUp && x.c.up }

// testConfig is a valid configuration with the methods given.
func testConfig(t testing.TB, methods ...Method) *Config {
	t.Helper()
	c := DefaultConfig()
	c.Auth, c.Name = methods, "lns"
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestBackToBack(t *testing.T) {
	all := []Method{MethodCHAP, MethodMSCHAPv2, MethodPAP, MethodEAP}
	for _, m := range []Method{MethodNone, MethodPAP, MethodCHAP, MethodMSCHAPv2, MethodEAP} {
		t.Run(m.String(), func(t *testing.T) {
			methods := all
			if m == MethodNone {
				methods = nil
			}
			x := newSim(1, testConfig(t, methods...), m)
			if !x.run(time.Second, x.bothUp) {
				t.Fatalf("not up: server %v, client %v %v", x.s.link.Phase(), x.c.lcp.State(), x.c.ipcp.State())
			}
			if x.s.link.Method() != m || x.c.address != x.s.net.Peer || x.c.dns != x.s.net.DNS[0] {
				t.Errorf("method %v, address %v, DNS %v", x.s.link.Method(), x.c.address, x.c.dns)
			}
			if m == MethodMSCHAPv2 && !x.c.serverProof {
				t.Error("the success string did not reach the client as granted")
			}
			x.s.link.Close(x.now, x.s.fx)
			x.collect()
			if !x.run(x.now+time.Minute, func() bool { return len(x.s.downs) > 0 }) || x.s.downs[0] != ReasonLocal {
				t.Errorf("after Close: downs %v", x.s.downs)
			}
		})
	}
}

// Under loss, duplication, delay and reordering every link comes up, or ends once
// with a reason; most come up.
func TestBackToBackUnderLoss(t *testing.T) {
	methods := []Method{MethodPAP, MethodCHAP, MethodMSCHAPv2, MethodEAP}
	up := 0
	const seeds = 4000
	for seed := range uint64(seeds) {
		m := methods[seed%4]
		x := newSim(seed, testConfig(t, MethodMSCHAPv2, MethodCHAP, MethodPAP, MethodEAP), m)
		x.loss, x.dup = 0.2, 0.1
		x.delay, x.jitter = time.Duration(x.rnd.Int64N(int64(400*time.Millisecond))), 50*time.Millisecond
		ended := func() bool { return x.bothUp() || x.s.link.Phase() == PhaseDown }
		if !x.run(5*time.Minute, ended) {
			t.Fatalf("seed %d: neither up nor down after 5 minutes: server %v, client %v %v",
				seed, x.s.link.Phase(), x.c.lcp.State(), x.c.ipcp.State())
		}
		if x.bothUp() {
			up++
			if x.c.address != x.s.net.Peer {
				t.Fatalf("seed %d: address %v", seed, x.c.address)
			}
		}
		x.loss = 0
		endOnce(t, seed, x)
	}
	if up < seeds*95/100 {
		t.Errorf("only %d of %d links came up", up, seeds)
	}
}

// endOnce closes a link and waits long enough to see a second Down.
func endOnce(t *testing.T, seed uint64, x *sim) {
	t.Helper()
	x.s.link.Close(x.now, x.s.fx)
	x.collect()
	x.run(x.now+time.Minute, func() bool { return false })
	if len(x.s.downs) != 1 {
		t.Fatalf("seed %d: ended %d times: %v", seed, len(x.s.downs), x.s.downs)
	}
	if d := x.s.link.Deadline(); d != Never {
		t.Fatalf("seed %d: a timer of an ended link is left: %v", seed, d)
	}
}
