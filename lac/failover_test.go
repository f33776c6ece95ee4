package lac_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"culvert/lac"
	"culvert/lac/lactest"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

var failover = l2tp.Failover{Control: true, Data: true, RecoveryTime: time.Minute}

// recovered is a tunnel with calls that are up, one that is not, and some that the LNS has lost.
type recovered struct {
	*network
	tunnel *lac.Tunnel
	calls  []*lac.Call
}

const lostCalls = 2

func newRecovered(t *testing.T, offer l2tp.Failover) *recovered {
	n := newNetwork(t, lactest.Config{Secret: "s", Auth: ppp.AuthPAP, Password: "secret", Failover: failover})
	r := &recovered{network: n}
	var err error
	r.tunnel, err = n.engine.Open(n.now, 3, lnsAddr, &l2tp.TunnelConfig{HostName: "lac", Secret: []byte("s"), Rand: rand.NewChaCha8([32]byte{3}), Failover: offer})
	if err != nil {
		t.Fatal(err)
	}
	n.run(200 * time.Millisecond)
	for range 100 {
		c, _ := n.dial(r.tunnel)
		r.calls = append(r.calls, c)
	}
	n.run(5 * time.Second)
	if n.lns.Up != 100 {
		t.Fatalf("%d calls are up", n.lns.Up)
	}
	n.lns.Lose(lostCalls)
	return r
}

// check counts the calls that live on at both ends, and dials another one.
func (r *recovered) check(want int) {
	r.t.Helper()
	live, unknown := 0, 0
	for _, c := range r.calls {
		cl := r.clients[c]
		switch {
		case c.Established():
			live++
		case errors.Is(cl.end.Err, lac.ErrUnknownCall):
			unknown++
		}
	}
	if live != want || unknown != lostCalls || r.lns.Sessions() != want || r.tunnel.Calls() != want {
		r.t.Errorf("%d calls live here, %d there, want %d; %d are unknown there", live, r.lns.Sessions(), want, unknown)
	}
	up := r.lns.Up
	r.dial(r.tunnel)
	r.run(3 * time.Second)
	if r.lns.Up != up+1 {
		r.t.Error("no call comes up any more")
	}
}

// TestFailover recovers a tunnel whose LNS has failed, whose LAC has, and with losses; two calls that
// the LNS has lost are cleared, one that was being set up too, the others live on.
func TestFailover(t *testing.T) {
	for _, c := range []struct {
		name string
		loss float64
		fail func(r *recovered)
		want lac.FailoverStats
	}{
		{"the LNS fails", 0, func(r *recovered) { r.lns.Fail(r.now) }, lac.FailoverStats{Remote: 1, Cleared: lostCalls + 1}},
		{"the LAC fails", 0, func(r *recovered) { _ = r.engine.Fail(r.now, r.tunnel) }, lac.FailoverStats{Recovered: 1, Cleared: lostCalls + 1}},
		{"the LNS fails, and packets are lost", 0.2, func(r *recovered) { r.lns.Fail(r.now) }, lac.FailoverStats{Remote: 1, Cleared: lostCalls + 1}},
		{"the LAC fails, and packets are lost", 0.2, func(r *recovered) { _ = r.engine.Fail(r.now, r.tunnel) }, lac.FailoverStats{Recovered: 1, Cleared: lostCalls + 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecovered(t, failover)
			r.calls = append(r.calls, func() *lac.Call { call, _ := r.dial(r.tunnel); return call }())
			c.fail(r) // while that call is being set up
			if c.loss > 0 {
				rnd := rand.New(rand.NewPCG(1, 4951))
				r.loss = func() bool { return rnd.Float64() < c.loss }
			}
			r.run(40 * time.Second)
			r.loss = nil
			if got := r.engine.Stats().Failovers; got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			r.check(100 - lostCalls)
			if r.engine.Tunnels() != 1 || r.lns.Tunnels() != 1 {
				t.Errorf("%d tunnels here, %d there", r.engine.Tunnels(), r.lns.Tunnels())
			}
			r.wantTunnels("up")
		})
	}
}

// TestDoubleFailure: both ends fail; one recovery tunnel comes of it (RFC 4951 appendix B).
func TestDoubleFailure(t *testing.T) {
	a := newOpener(t, "192.0.2.1:1701", lnsAddr, &l2tp.TunnelConfig{HostName: "a", Secret: []byte("s"), Rand: rand.NewChaCha8([32]byte{1}), Failover: failover})
	b := &opener{addr: lnsAddr}
	b.engine = lac.New(0, b, b)
	b.engine.Serve(&l2tp.TunnelConfig{HostName: "b", Secret: []byte("s"), Rand: rand.NewChaCha8([32]byte{2}), Failover: failover})
	none := func() bool { return false }
	at := runFrom(0, time.Second, none, a, b)
	b.tunnel = lac.TunnelOf(b.engine, 1)
	for range 5 {
		if err := errors.Join(a.engine.Fail(at, a.tunnel), b.engine.Fail(at, b.tunnel)); err != nil {
			t.Fatal(err)
		}
		at = runFrom(at, 10*time.Second, none, a, b)
	}
	x, y := a.engine.Stats().Failovers, b.engine.Stats().Failovers
	if x.Recovered+y.Recovered != 5 || x.Remote+y.Remote != 5 || x.Failed+y.Failed != 0 || x.Recovered == 5 || y.Recovered == 5 {
		t.Errorf("%+v, %+v: want each failure recovered by one recovery tunnel, of either end", x, y)
	}
	if !a.tunnel.Up() || !b.tunnel.Up() || a.engine.Unacked()+b.engine.Unacked() != 0 {
		t.Error("the tunnel does not live on")
	}
}

// TestRecoveryRefused: without failover nothing can fail, and a recovery that the peer does not know of, or
// does not answer, ends the tunnel silently.
func TestRecoveryRefused(t *testing.T) {
	r := newRecovered(t, l2tp.Failover{})
	if err := r.engine.Fail(r.now, r.tunnel); !errors.Is(err, lac.ErrNoFailover) {
		t.Errorf("without failover: %v", err)
	}
	for _, c := range []struct {
		name string
		lose func(r *recovered)
	}{
		{"the LNS has lost the tunnel", func(r *recovered) { r.lns.Stop(r.now, l2tp.Result{Code: l2tp.StopGeneral}); r.queue = nil }},
		{"the LNS is dead", func(r *recovered) { r.loss = func() bool { return true } }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecovered(t, failover)
			c.lose(r)
			if err := r.engine.Fail(r.now, r.tunnel); err != nil {
				t.Fatal(err)
			}
			r.run(90 * time.Second)
			r.wantTunnels("up", "down recovery failed")
			if s := r.engine.Stats().Failovers; s.Failed != 1 || r.engine.Tunnels() != 0 || r.engine.Unacked() != 0 {
				t.Errorf("%+v, %d tunnels", s, r.engine.Tunnels())
			}
		})
	}
}
