package lac_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"culvert/lac"
	"culvert/proto/l2tp"
)

// opener is an engine that opens one tunnel towards another.
type opener struct {
	lac.Handler // nothing of it but tunnels coming and going
	addr        netip.AddrPort
	engine      *lac.Engine
	tunnel      *lac.Tunnel
	out         [][]byte
	ups         int
	downs       []lac.End
	closed      []bool
}

func newOpener(t *testing.T, addr string, to netip.AddrPort, cfg *l2tp.TunnelConfig) *opener {
	o := &opener{addr: netip.MustParseAddrPort(addr)}
	o.engine = lac.New(0, o, o)
	var err error
	if o.tunnel, err = o.engine.Open(0, 3, to, cfg); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *opener) Reserve() []byte                            { return make([]byte, 0, 2048) }
func (o *opener) Queue(_ uint16, _ netip.AddrPort, b []byte) { o.out = append(o.out, b) }
func (o *opener) TunnelUp(time.Duration, *lac.Tunnel)        { o.ups++ }
func (o *opener) TunnelClosed(_ time.Duration, _ *lac.Tunnel, clean bool) {
	o.closed = append(o.closed, clean)
}
func (o *opener) TunnelDown(_ time.Duration, _ *lac.Tunnel, e lac.End) {
	o.downs = append(o.downs, e)
}

// runOpeners lets time pass; lose says what is lost on the way.
func runOpeners(d time.Duration, lose func() bool, ends ...*opener) { runFrom(0, d, lose, ends...) }

// runFrom is runOpeners for a later time; it returns the time that it came to.
func runFrom(from, d time.Duration, lose func() bool, ends ...*opener) time.Duration {
	for now := from; now < from+d; now += 10 * time.Millisecond {
		for i, o := range ends {
			o.engine.Advance(now)
			for _, b := range o.out {
				if !lose() {
					ends[1-i].engine.Receive(now, 3, o.addr, b)
				}
			}
			o.out = nil
		}
	}
	return from + d
}

// TestTieBreaker opens tunnels from both ends at once: RFC 2661 section 4.4.3.
func TestTieBreaker(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b uint64
		role [2]string // who opened what came up: "own", "peer's", or "" for nothing
		lost bool
	}{
		{name: "first wins", a: 5, b: 6, role: [2]string{"own", "peer's"}},
		{name: "second wins", a: 7, b: 6, role: [2]string{"peer's", "own"}},
		{name: "only one has a tie breaker", a: 7, role: [2]string{"own", "peer's"}},
		{name: "equal", a: 7, b: 7},
		{name: "lossy", a: 5, b: 6, role: [2]string{"own", "peer's"}, lost: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := func(tie uint64) *l2tp.TunnelConfig {
				return &l2tp.TunnelConfig{HostName: "peer", Secret: []byte("s"), TieBreaker: tie, Rand: zeros{}}
			}
			a := newOpener(t, "192.0.2.1:1701", netip.MustParseAddrPort("192.0.2.2:1701"), cfg(tt.a))
			b := newOpener(t, "192.0.2.2:1701", netip.MustParseAddrPort("192.0.2.1:1701"), cfg(tt.b))
			rnd := rand.New(rand.NewPCG(1, 1))
			runOpeners(20*time.Second, func() bool { return tt.lost && rnd.Float64() < 0.25 }, a, b)
			for i, o := range []*opener{a, b} {
				if tt.role[i] == "" {
					if o.ups != 0 || len(o.downs) != 1 || o.downs[0].Reason != l2tp.ReasonTie || o.engine.Tunnels() != 0 ||
						len(o.closed) != 1 || o.closed[0] {
						t.Errorf("%v: %d up, ended by %+v, closed %v", o.addr, o.ups, o.downs, o.closed)
					}
					continue
				}
				if o.ups != 1 || len(o.downs) != 0 || !o.tunnel.Up() || o.engine.Tunnels() != 1 || o.engine.Unacked() != 0 {
					t.Errorf("%v: %d up, ended by %+v, %d tunnels", o.addr, o.ups, o.downs, o.engine.Tunnels())
				}
				if own := o.tunnel.Opened(); own != (tt.role[i] == "own") {
					t.Errorf("%v: its own SCCRQ made the tunnel: %v, want %s", o.addr, own, tt.role[i])
				}
			}
		})
	}
}

// An engine that opens nothing takes no tunnel either.
func TestAnEngineIsNoServer(t *testing.T) {
	a := newOpener(t, "192.0.2.1:1701", netip.MustParseAddrPort("192.0.2.2:1701"), &l2tp.TunnelConfig{HostName: "a", Rand: zeros{}})
	idle := &opener{addr: netip.MustParseAddrPort("192.0.2.2:1701")}
	idle.engine = lac.New(0, idle, idle)
	runOpeners(time.Second, func() bool { return false }, a, idle)
	if idle.engine.Tunnels() != 0 || idle.engine.Stats().NoTunnel == 0 || a.ups != 0 {
		t.Errorf("%d tunnels, %+v, %d up", idle.engine.Tunnels(), idle.engine.Stats(), a.ups)
	}
}
