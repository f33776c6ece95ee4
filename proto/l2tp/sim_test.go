package l2tp

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var seeds = flag.Uint64("seeds", 100, "how many seeds TestSimulation runs")

// world is a LAC and an LNS with calls between them, over a bad wire.
type world struct {
	*pair
	calls [2]map[uint16]*Call // by our session id
	fx    CallEffects
	up    [2]map[uint32]int // serial number -> how often established
	down  [2]map[uint32]int
	// serials are those of our session ids.
	serials [2]map[uint16]uint32
	next    uint16
}

func newWorld(t *testing.T, seed uint64) *world {
	lac, lns := testConfig("lac", "swordfish", seed), testConfig("lns", "swordfish", seed+1)
	rnd := rand.New(rand.NewPCG(seed, 3))
	lac.Hide = rnd.IntN(3) == 0
	lac.Control.Window = uint16(1 + rnd.IntN(20))
	lns.Control.Window = uint16(1 + rnd.IntN(20))
	lac.Control.MaxRetries, lns.Control.MaxRetries = 30, 30
	w := &world{pair: newPair(t, lac, lns)}
	w.rnd = rnd
	w.loss, w.dup = rnd.Float64()*0.3, rnd.Float64()*0.3
	w.jitter = time.Duration(rnd.IntN(300)) * time.Millisecond
	for i := range 2 {
		w.calls[i] = map[uint16]*Call{}
		w.up[i], w.down[i] = map[uint32]int{}, map[uint32]int{}
		w.serials[i] = map[uint16]uint32{}
	}
	w.act = w.event
	return w
}

// dial places a call. The serial number goes into both ends' books.
func (w *world) dial(serial uint32) {
	w.next++
	c := NewCall(RoleLAC, w.next)
	w.calls[0][w.next], w.serials[0][w.next] = &c, serial
	m := Message{CallSerial: serial, CallingNumber: fmt.Appendf(nil, "line-%d", serial)}
	m.Set(AVPCallSerial, AVPCallingNumber)
	c.Dial(&m, &w.fx)
	w.did(0, &c)
}

// did carries out what a call's step wants.
func (w *world) did(end int, c *Call) {
	serial := w.serials[end][c.LocalID()]
	if w.fx.Send != nil {
		if err := w.ends[end].Send(w.now, w.fx.Send, c.PeerID(), &w.pair.fx[end]); err != nil {
			w.t.Fatalf("end %d: %v", end, err)
		}
	}
	if w.fx.Up {
		w.up[end][serial]++
	}
	if w.fx.Down {
		w.down[end][serial]++
	}
}

// event is the owner of both ends.
func (w *world) event(end int, e *Event) {
	switch e.Kind {
	case EventUp:
		if end == 0 {
			for serial := range uint32(40) {
				w.dial(serial + 1)
			}
		}
	case EventMessage:
		c := w.calls[end][e.SessionID]
		if e.Message.Type == MessageICRQ {
			w.next++
			n := NewCall(RoleLNS, w.next)
			c = &n
			w.calls[end][w.next], w.serials[end][w.next] = c, e.Message.CallSerial
			if want := fmt.Sprintf("line-%d", e.Message.CallSerial); string(e.Message.CallingNumber) != want {
				w.t.Fatalf("calling number %q, want %q", e.Message.CallingNumber, want)
			}
		}
		c.Receive(&e.Message, nil, &w.fx)
		w.did(end, c)
		// Every third call is hung up by the LNS as soon as it is up.
		if w.fx.Up && end == 1 && w.serials[1][c.LocalID()]%3 == 0 {
			c.Close(Result{Code: CDNAdministrative}, nil, &w.fx)
			w.did(end, c)
		}
	case EventBadMessage:
		w.t.Fatalf("end %d: %v", end, e.Err)
	}
}

// TestSimulation runs a LAC and an LNS over a wire that loses, doubles and
// reorders, in virtual time. Each seed replays exactly.
func TestSimulation(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			w.open()
			w.run(20 * time.Minute)
			for end := range 2 {
				if w.ends[end].State() != TunnelEstablished || w.ends[end].Unacked() != 0 {
					t.Fatalf("end %d is %v with %d unacknowledged: %v", end, w.ends[end].State(), w.ends[end].Unacked(), w.last(end))
				}
				for serial := range uint32(40) {
					serial++
					down := 0
					if serial%3 == 0 {
						down = 1
					}
					if w.up[end][serial] != 1 || w.down[end][serial] != down {
						t.Fatalf("end %d: call %d was up %d times and down %d times, want 1 and %d",
							end, serial, w.up[end][serial], w.down[end][serial], down)
					}
				}
			}
			w.stop()
		})
	}
}

// stop ends the tunnel from a random end; the other learns of it, and both are
// done in the end.
func (w *world) stop() {
	end := w.rnd.IntN(2)
	w.ends[end].Stop(w.now, Result{Code: StopShutdown}, &w.pair.fx[end])
	w.settle(end)
	w.run(time.Hour)
	for i := range 2 {
		e := w.last(i)
		if e.Kind != EventDown || e.Local != (i == end) || !w.ends[i].Done() {
			w.t.Fatalf("end %d: %+v, done %v", i, e, w.ends[i].Done())
		}
		if i != end && e.Result.Code != StopShutdown {
			w.t.Fatalf("end %d: result %v", i, e.Result)
		}
	}
	if len(w.wire) != 0 {
		w.t.Fatalf("%d datagrams left", len(w.wire))
	}
}

// TestPeerVanishes cuts the wire under an established tunnel.
func TestPeerVanishes(t *testing.T) {
	lac, lns := testConfig("lac", "", 1), testConfig("lns", "", 2)
	lns.Control.Hello = 30 * time.Second
	p := newPair(t, lac, lns)
	p.open()
	p.run(10 * time.Minute)
	checkUp(t, p)
	if n := p.ends[0].Nr(); n < 19 {
		t.Errorf("%d HELLOs in ten minutes", n-1)
	}
	p.lost = true
	p.run(2 * time.Minute)
	if e := p.last(1); e.Kind != EventDown || e.Reason != ReasonTimeout || !p.ends[1].Done() || p.ends[1].Deadline() != Never {
		t.Errorf("%+v, done %v", e, p.ends[1].Done())
	}
	// The LAC has no HELLO and does not notice.
	if p.ends[0].State() != TunnelEstablished {
		t.Errorf("LAC is %v", p.ends[0].State())
	}
}
