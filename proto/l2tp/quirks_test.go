package l2tp

import (
	"testing"
	"time"
)

// Both ends may open a tunnel at the same moment, and want one only. The lower tie
// breaker's tunnel comes up, at both ends, and the other leaves nothing. See lns/QUIRKS.md.
func TestQuirk07TieBreaker(t *testing.T) {
	for _, c := range []struct{ us, them uint64 }{{5, 6}, {6, 5}, {1, 1 << 63}, {5, 5}, {0, 0}} {
		a, b := testConfig("a", "secret", 1), testConfig("b", "secret", 2)
		a.TieBreaker, b.TieBreaker = c.us, c.them
		ours, theirs := NewTunnel(RoleLAC, 11, a), NewTunnel(RoleLAC, 22, b)
		var fa, fb Effects
		ours.Open(0, &fa)
		theirs.Open(0, &fb)
		fromUs, fromThem := fa.Packets[0], fb.Packets[0]
		var ea, eb Effects
		atUs, atThem := ours.Collide(0, fromThem, &ea), theirs.Collide(0, fromUs, &eb)
		switch {
		case c.us == c.them && c.us == 0:
			// Nobody asked for one only: each answers the other's.
			if atUs != TieNone || atThem != TieNone || ours.Done() || theirs.Done() {
				t.Errorf("%d against %d: %v and %v", c.us, c.them, atUs, atThem)
			}
		case c.us == c.them:
			if atUs != TieBoth || atThem != TieBoth || !ours.Done() || !theirs.Done() {
				t.Errorf("%d against %d: %v and %v", c.us, c.them, atUs, atThem)
			}
		default:
			winner, loser, request, cfg := ours, theirs, fromUs, b
			if c.them < c.us {
				winner, loser, request, cfg = theirs, ours, fromThem, a
			}
			if winner.Done() || !loser.Done() {
				t.Fatalf("%d against %d: done %v and %v", c.us, c.them, ours.Done(), theirs.Done())
			}
			answer := NewTunnel(RoleLNS, 33, cfg)
			if !shake(t, winner, answer, request) {
				t.Errorf("%d against %d: the winner's tunnel does not come up", c.us, c.them)
			}
		}
	}
}

// shake lets a tunnel that has sent its SCCRQ come up with the end that answers.
func shake(t *testing.T, lac, lns *Tunnel, request []byte) bool {
	t.Helper()
	var a, b Effects
	if err := lns.Receive(0, request, &b); err != nil {
		t.Fatal(err)
	}
	for now := time.Duration(0); now < 10*time.Second; now += 100 * time.Millisecond {
		for _, p := range append([][]byte(nil), b.Packets...) {
			_ = lac.Receive(now, p, &a)
		}
		b.Reset()
		for _, p := range append([][]byte(nil), a.Packets...) {
			_ = lns.Receive(now, p, &b)
		}
		a.Reset()
		if lac.State() == TunnelEstablished && lns.State() == TunnelEstablished {
			return true
		}
		lac.Tick(now, &a)
		lns.Tick(now, &b)
	}
	return false
}
