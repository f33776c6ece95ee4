package l2tp

import (
	"math/rand/v2"
	"testing"
	"time"
)

// seeded is a deterministic io.Reader for challenges and vectors.
type seeded struct{ *rand.Rand }

func newSeeded(seed uint64) seeded { return seeded{rand.New(rand.NewPCG(seed, 1))} }

func (s seeded) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s.Uint32())
	}
	return len(p), nil
}

// flight is a datagram on its way.
type flight struct {
	at   time.Duration
	to   int
	data []byte
}

// pair is two tunnels back to back in virtual time: 0 is the LAC, 1 the LNS.
type pair struct {
	t       *testing.T
	now     time.Duration
	ends    [2]*Tunnel
	fx      [2]Effects
	wire    []flight
	rnd     *rand.Rand
	loss    float64
	dup     float64
	jitter  time.Duration
	latency time.Duration
	lost    bool // the wire is cut
	// act is told every event with the end it happened at.
	act    func(end int, e *Event)
	events [2][]Event
	steps  int
}

func newPair(t *testing.T, lac, lns *TunnelConfig) *pair {
	p := &pair{t: t, rnd: rand.New(rand.NewPCG(1, 2)), latency: time.Millisecond}
	p.ends[0] = NewTunnel(RoleLAC, 11, lac)
	p.ends[1] = NewTunnel(RoleLNS, 22, lns)
	return p
}

// open starts the LAC.
func (p *pair) open() {
	p.ends[0].Open(p.now, &p.fx[0])
	p.settle(0)
}

// settle puts what an end sent on the wire, and tells its events.
func (p *pair) settle(end int) {
	fx := &p.fx[end]
	for {
		for _, d := range fx.Packets {
			p.send(1-end, d)
		}
		events := make([]Event, len(fx.Events))
		for i := range fx.Events {
			events[i] = fx.Events[i]
			events[i].Message = fx.Events[i].Message.Clone()
		}
		fx.Reset()
		if len(events) == 0 {
			return
		}
		for i := range events {
			p.events[end] = append(p.events[end], events[i])
			if p.act != nil {
				p.act(end, &events[i])
			}
		}
	}
}

func (p *pair) send(to int, data []byte) {
	if p.lost || p.rnd.Float64() < p.loss {
		return
	}
	n := 1
	if p.rnd.Float64() < p.dup {
		n = 2
	}
	for range n {
		at := p.now + p.latency
		if p.jitter > 0 {
			at += time.Duration(p.rnd.Int64N(int64(p.jitter)))
		}
		p.wire = append(p.wire, flight{at, to, append([]byte(nil), data...)})
	}
}

// step does the next thing that is due and reports whether there was one before
// the limit.
func (p *pair) step(limit time.Duration) bool {
	best, at := -1, limit
	for i, f := range p.wire {
		if f.at < at {
			best, at = i, f.at
		}
	}
	ticks := -1
	for end, tun := range p.ends {
		if d := tun.Deadline(); d < at {
			ticks, at = end, d
		}
	}
	if ticks >= 0 {
		p.tick(ticks, at)
		return true
	}
	if best < 0 {
		return false
	}
	f := p.wire[best]
	p.wire = append(p.wire[:best], p.wire[best+1:]...)
	p.now = max(p.now, f.at)
	_ = p.ends[f.to].Receive(p.now, f.data, &p.fx[f.to])
	p.settle(f.to)
	return true
}

// tick lets an end do what is due.
func (p *pair) tick(end int, due time.Duration) {
	p.t.Helper()
	p.now = max(p.now, due)
	tun := p.ends[end]
	tun.Tick(p.now, &p.fx[end])
	if tun.Deadline() <= p.now {
		p.t.Fatalf("end %d: deadline %v is not in the future after Tick at %v", end, tun.Deadline(), p.now)
	}
	p.settle(end)
}

// run goes on until the limit is reached or nothing is left to do.
func (p *pair) run(d time.Duration) {
	limit := p.now + d
	for p.step(limit) {
		if p.steps++; p.steps > 2_000_000 {
			p.t.Fatal("no end in sight")
		}
	}
	p.now = limit
}

func (p *pair) kinds(end int) (kinds []EventKind) {
	for _, e := range p.events[end] {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// last returns the last event of an end.
func (p *pair) last(end int) Event {
	p.t.Helper()
	if len(p.events[end]) == 0 {
		p.t.Fatalf("end %d: no event", end)
	}
	return p.events[end][len(p.events[end])-1]
}

func testConfig(name, secret string, seed uint64) *TunnelConfig {
	cfg := &TunnelConfig{HostName: name, VendorName: "culvert", Rand: newSeeded(seed)}
	if secret != "" {
		cfg.Secret = []byte(secret)
	}
	return cfg
}
