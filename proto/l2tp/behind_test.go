package l2tp

import (
	"testing"
	"time"
)

// TestRestoreBehind kills an LNS whose last copy is some messages old, in one or
// both directions: with Behind the tunnel lives, and what either end says from then on arrives.
func TestRestoreBehind(t *testing.T) {
	for _, c := range []struct {
		name     string
		lns, lac int // messages since the copy
		behind   bool
		lives    bool
		window   uint16
	}{
		{"exact", 0, 0, true, true, 16},
		{"one sent", 1, 0, true, true, 16},
		{"some sent", 5, 0, true, true, 16},
		{"one received", 0, 1, true, true, 16},
		{"some received", 0, 7, true, true, 16},
		{"both", 9, 9, true, true, 16},
		{"more received than the window", 0, 3, true, true, 1},
		{"many more", 9, 60, true, true, 4},
		{"both, and nobody says so", 9, 9, false, false, 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRestarts(t, 1)
			r.loss, r.dup, r.jitter = 0, 0, 0
			r.cfg.Control.Window, r.cfg.Control.MaxRetries = c.window, 5
			down := false
			act := r.act
			r.act = func(end int, e *Event) {
				if e.Kind == EventDown && !c.lives {
					down = true
					return
				}
				act(end, e)
			}
			r.open()
			r.run(5 * time.Second)
			copied, ok := r.ends[1].Save()
			if !ok {
				t.Fatal("it is not established")
			}
			for range c.lns {
				r.say(1)
			}
			for range c.lac {
				r.say(0)
			}
			r.run(5 * time.Second)
			copied.Behind = c.behind
			r.saved = copied
			r.kill()
			before := [2]int{len(r.got[0]), len(r.got[1])}
			r.run(3 * time.Second)
			if r.ends[1].State() != TunnelEstablished || r.ends[0].State() != TunnelEstablished {
				if c.lives {
					t.Fatal("the tunnel is down")
				}
				return
			}
			r.say(1)
			r.say(0)
			r.run(60 * time.Second)
			arrived := len(r.got[0]) == before[0]+1 && len(r.got[1]) == before[1]+1 && !down
			if arrived != c.lives {
				t.Errorf("arrived since: %d at the LAC, %d at the LNS; down: %v; want life: %v", len(r.got[0])-before[0], len(r.got[1])-before[1], down, c.lives)
			}
		})
	}
}
