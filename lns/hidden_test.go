package lns

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"culvert/proto/l2tp"
)

// A LAC that hides all it may hides its Assigned Tunnel ID in the SCCRQ too,
// which has to be read before there is a tunnel.
func TestLACThatHidesAVPs(t *testing.T) {
	for _, tt := range []struct {
		secret string
		up     bool
	}{{"tunnel secret", true}, {"not the secret", false}} {
		r := newRig(t, nil)
		l := newLAC(r, netip.MustParseAddrPort("198.51.100.1:1701"), 7, &l2tp.TunnelConfig{
			HostName: "lac", Secret: []byte(tt.secret), Rand: rand.NewChaCha8([32]byte{3}), Hide: true,
		})
		r.lacs[l.address] = l
		r.run(2 * time.Second)
		if l.up != tt.up {
			t.Fatalf("%s: the tunnel is up: %v, want %v", tt.secret, l.up, tt.up)
		}
		if !tt.up {
			continue
		}
		c := l.dial("alice", nil)
		r.until(5*time.Second, "session up", func() bool { return c.up })
	}
}
