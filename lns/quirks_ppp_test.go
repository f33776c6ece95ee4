package lns

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"culvert/lns/dataplane"
	"culvert/lns/link"
	"culvert/proto/ppp"
)

// A subscriber that begins LCP anew, when it has been authenticated and when it is up, gets through it once
// more, is asked anew who it is, and is the same session to accounting.
func TestQuirk14RestartAfterAuthentication(t *testing.T) {
	for _, up := range []bool{false, true} {
		t.Run(fmt.Sprintf("up %v", up), func(t *testing.T) {
			r, l, _ := tunnelUp(t, nil)
			before := r.lose
			silent := !up
			r.lose = func(toLNS bool, b []byte) bool { // IPCP comes to no end, so that authentication is the last that was done
				return silent && b[0]&0x80 == 0 && bytes.Contains(b, []byte{0xff, 3, 0x80, 0x21}) || before(toLNS, b)
			}
			c := l.dial("alice", nil)
			if up {
				r.until(5*time.Second, "up", func() bool { return c.up && r.session("alice").state == stateUp })
			} else {
				r.until(5*time.Second, "authenticated", func() bool { return r.session("alice") != nil && r.session("alice").link.Phase() == link.PhaseNetwork })
			}
			id := r.session("alice").who.AcctSessionID
			silent = false
			c.lcpRequest()
			r.until(30*time.Second, "asked again", func() bool { return len(r.aaa.reqs) == 2 })
			r.until(30*time.Second, "up again", func() bool {
				s := r.session("alice")
				return c.up && s != nil && s.state == stateUp && s.link.Phase() == link.PhaseUp
			})
			if again := r.session("alice").who.AcctSessionID; again != id || r.aaa.reqs[1].Identity.AcctSessionID != id {
				t.Errorf("the session was %s and is %s", id, again)
			}
			c.ping(c.client.Address(), 100)
			r.run(time.Second)
			if len(r.core) != 1 {
				t.Errorf("%d packets came through afterwards", len(r.core))
			}
			c.hangUp()
			r.run(5 * time.Second)
			r.checkAccounting(1)
		})
	}
}

// The MRU is the profile's: that is what subscribers are offered, what is sent to them at most, and what TCP is
// made to fit. It may be fragmented whatever the sender says where the profile has it so.
func TestQuirk27ProfileMRU(t *testing.T) {
	for _, c := range []struct {
		mru      uint16
		ignoreDF bool
	}{{1454, false}, {1492, true}} {
		var programmed []dataplane.Session
		r, l, _ := tunnelUp(t, func(cfg *Config) {
			cfg.LACs[0].MRU, cfg.LACs[0].IgnoreDF = c.mru, c.ignoreDF
			cfg.Plane = &seenPlane{Plane: cfg.Plane, added: &programmed}
		})
		before := r.lose
		var offered []uint16
		r.lose = func(toLNS bool, b []byte) bool {
			if at := bytes.Index(b, []byte{0xff, 3, 0xc0, 0x21, 1}); !toLNS && b[0]&0x80 == 0 && at > 0 {
				if o, err := ppp.ParseLCPConfig(b[at+8:]); err == nil {
					offered = append(offered, o.MRU)
				}
			}
			return before(toLNS, b)
		}
		l.upCall(r, "alice", nil)
		if len(offered) == 0 || offered[0] != c.mru {
			t.Errorf("MRU %d: subscribers are offered %v", c.mru, offered)
		}
		if len(programmed) != 1 || programmed[0].MTU > c.mru || programmed[0].MSS != programmed[0].MTU-40 || programmed[0].IgnoreDF != c.ignoreDF {
			t.Errorf("MRU %d, ignore_df %v: the plane has %+v", c.mru, c.ignoreDF, programmed)
		}
	}
}

// seenPlane notes what a plane is told of sessions.
type seenPlane struct {
	dataplane.Plane
	added *[]dataplane.Session
}

func (p *seenPlane) Add(list []dataplane.Session) error {
	*p.added = append(*p.added, list...)
	return p.Plane.Add(list)
}
