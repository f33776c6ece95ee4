package lns

import (
	"fmt"
	"testing"
	"time"
)

// TestTheWallClockJumpsAtARestart has NTP step the wall clock while the node is away, which holds a tunnel: it is held again
// whatever that clock says, and nothing for longer than ConfirmWait though the store never answers, at each of many restarts.
func TestTheWallClockJumpsAtARestart(t *testing.T) {
	const most = 2 * time.Second
	for _, jump := range []time.Duration{0, -time.Hour, time.Hour, -20 * 365 * 24 * time.Hour, 20 * 365 * 24 * time.Hour} {
		for _, boots := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, boots %v", jump, boots), func(t *testing.T) {
				store := &slowStore{}
				config := func(c *Config) { c.Sink, c.Confirm, c.ConfirmWait = store, store.confirm, most }
				r := newRig(t, config)
				first := r.lac(1, "tunnel secret")
				r.run(500 * time.Millisecond)
				store.answer()
				r.run(100 * time.Millisecond)
				first.dial("alice", nil)
				r.run(time.Second)
				store.answer()
				r.run(30 * time.Second)
				first.dial("bob", nil) // whose record is the newest
				r.run(time.Second)
				store.answer()
				r.run(100 * time.Millisecond)
				l := r.lac(2, "tunnel secret")
				if r.run(500 * time.Millisecond); l.t.Unacked() == 0 {
					t.Fatal("the SCCCN is acknowledged, and the store has not confirmed the tunnel")
				}
				r.clock.wall += jump
				if boots {
					r.clock.boot++
				}
				for range 3 {
					store.waiting = nil
					r.start(config)
					if r.run(1500 * time.Millisecond); l.t.Unacked() == 0 {
						t.Fatal("the SCCCN is acknowledged, and the store has not confirmed the tunnel")
					}
				}
				r.run(most)
				if n := len(r.srv.shards[0].held.byKey) + len(r.srv.shards[1].held.byKey); n != 0 {
					t.Errorf("%d things are held for longer than %v", n, most)
				}
				if r.run(8 * time.Second); l.t.Unacked() != 0 { // its next repetition
					t.Error("the SCCCN is not acknowledged")
				}
				// When the store answers again, the next life holds what is the newest at most.
				store.answer()
				r.run(30 * time.Second)
				first.dial("carol", nil)
				r.run(time.Second)
				store.answer()
				r.run(30 * time.Second)
				store.waiting = nil
				r.start(config)
				r.run(100 * time.Millisecond)
				n := len(r.srv.shards[0].held.byKey) + len(r.srv.shards[1].held.byKey)
				if jump > -time.Minute && n != 1 {
					t.Errorf("%d things are held, want the newest session alone", n)
				}
				if r.run(2*most + time.Second); len(r.srv.shards[0].held.byKey)+len(r.srv.shards[1].held.byKey) != 0 {
					t.Error("something is held for ever")
				}
			})
		}
	}
}
