package l2tp

import (
	"slices"
	"testing"
	"time"
)

// TestTunnelAuthentication sets a tunnel up with every combination of secrets.
func TestTunnelAuthentication(t *testing.T) {
	tests := []struct {
		name     string
		lac, lns string
		hide     bool
		quiet    bool // the LNS does not challenge
		down     Reason
	}{
		{name: "none"},
		{name: "both", lac: "swordfish", lns: "swordfish"},
		{name: "hidden", lac: "swordfish", lns: "swordfish", hide: true},
		{name: "one way", lac: "swordfish", lns: "swordfish", quiet: true},
		{name: "wrong", lac: "swordfish", lns: "herring", down: ReasonAuth},
		{name: "lac only", lac: "swordfish", down: ReasonAuth},
		{name: "lns only", lns: "swordfish", down: ReasonAuth},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lac, lns := testConfig("lac", tt.lac, 1), testConfig("lns", tt.lns, 2)
			lac.Hide, lns.Hide, lns.NoChallenge = tt.hide, tt.hide, tt.quiet
			p := newPair(t, lac, lns)
			p.open()
			p.run(time.Second)
			if tt.down == 0 {
				checkUp(t, p)
				return
			}
			for end := range p.ends {
				e := p.last(end)
				if e.Kind != EventDown || e.Result.Code != StopNotAuthorized {
					t.Errorf("end %d: last event %v %v, want down with result 4", end, e.Kind, e.Result)
				}
				if e.Local && e.Reason != tt.down || !e.Local && e.Reason != ReasonPeer {
					t.Errorf("end %d: reason %v local %v", end, e.Reason, e.Local)
				}
			}
		})
	}
}

func checkUp(t *testing.T, p *pair) {
	t.Helper()
	for end, name := range []string{"lns", "lac"} {
		tun := p.ends[end]
		if !slices.Equal(p.kinds(end), []EventKind{EventUp}) {
			t.Errorf("end %d: events %v, want one EventUp: %v", end, p.kinds(end), p.last(end))
		}
		if tun.State() != TunnelEstablished || tun.PeerName() != name || tun.PeerVendor() != "culvert" || tun.PeerWindow() != 128 {
			t.Errorf("end %d: %v, peer %q of %q, window %d", end, tun.State(), tun.PeerName(), tun.PeerVendor(), tun.PeerWindow())
		}
		if tun.PeerID() != p.ends[1-end].LocalID() {
			t.Errorf("end %d: peer id %d, want %d", end, tun.PeerID(), p.ends[1-end].LocalID())
		}
	}
}
