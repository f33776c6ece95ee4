package ipsec

import (
	"net/netip"
	"testing"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// ended is a handler that keeps the last end.
type lastEnd struct {
	nobody
	end  lns.SAEnd
	many int
}

func (h *lastEnd) SAGone(_ lns.SA, e lns.SAEnd) { h.end, h.many = e, h.many+1 }

// TestWhyAnSAEnded: charon's log says why, and may do so before the event of the end or, when charon has
// much to do, long after it.
func TestWhyAnSAEnded(t *testing.T) {
	const gaveUp, deleted = "giving up after 4 retransmits", "received DELETE for ESP CHILD_SA with SPI c1"
	type line struct {
		at  time.Duration // after the event; the clock of the log is the process's
		msg string
	}
	for _, c := range []struct {
		name  string
		lines []line
		ours  bool // we have ended it
		heir  bool // the peer has another SA
		cause lns.SACause
		told  time.Duration
	}{
		{"silent, said before", []line{{-time.Second, gaveUp}}, false, false, lns.SAEndDPD, settleTime},
		{"silent, said late", []line{{time.Second, gaveUp}}, false, false, lns.SAEndDPD, time.Second},
		{"nothing is said", nil, false, false, lns.SAEndLocal, unsettledTime},
		{"ended by us", nil, true, false, lns.SAEndProfile, settleTime},
		{"the peer is there still", nil, false, true, lns.SAEndLocal, settleTime},
		{"old keys deleted long before", []line{{-time.Minute, deleted}, {0, gaveUp}}, false, false, lns.SAEndDPD, settleTime},
		{"old keys deleted long before, and nothing is said", []line{{-time.Minute, deleted}}, false, false, lns.SAEndLocal, unsettledTime},
		{"old keys closed just before", []line{{-time.Second, "closing CHILD_SA l2tp{7} with SPIs"}, {0, gaveUp}}, false, false, lns.SAEndDPD, settleTime},
		{"deleted by the LAC, which charon repeats", []line{{0, "received DELETE for IKE_SA x[1]"}, {0, "deleting IKE_SA x[1] between a...b"}}, false, false, lns.SAEndDelete, settleTime},
		{"an operator", []line{{0, "deleting IKE_SA x[1] between a...b"}}, false, false, lns.SAEndLocal, settleTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &lastEnd{}
			m, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}, Marks: true})
			if err != nil {
				t.Fatal(err)
			}
			m.Notify(h)
			base := time.Now()
			m.began = base.Add(-time.Hour)
			peer := lns.SA{Mark: 5, Profile: "a", Identity: "x", IKEID: 1, ChildID: 3, Remote: netip.MustParseAddrPort("192.0.2.7:500")}
			m.childUp("culvert-a", &child{sa: peer, spiIn: "c1"})
			if c.heir {
				other := peer
				other.Mark, other.ChildID, other.IKEID = 6, 4, 2
				m.childUp("culvert-a", &child{sa: other, spiIn: "c2"})
			}
			if c.ours {
				m.ours[1] = ended{lns.SAEndProfile, "removed"}
			}
			down := false
			for at := -time.Minute; at <= unsettledTime+settleTime; at += settleTime / 2 {
				// The clock of the test: began moves, as time.Since is asked.
				m.began = time.Now().Add(-time.Hour - at)
				for _, l := range c.lines {
					if l.at == at {
						m.logLine(vici.Section{{Name: "ikesa-uniqueid", Kind: vici.Value, Value: "1"}, {Name: "ikesa-name", Kind: vici.Value, Value: "culvert-a"}, {Name: "msg", Kind: vici.Value, Value: l.msg}})
					}
				}
				if at == 0 {
					m.childDown(3, base)
					down = true
				}
				m.settle(base.Add(at))
				if h.many > 0 {
					if !down || h.end.Cause != c.cause || at != c.told {
						t.Errorf("after %v it is said to be of %s (%s), want %s after %v", at, h.end.Cause, h.end.Detail, c.cause, c.told)
					}
					break
				}
			}
			if h.many != 1 || len(m.gone) != 0 {
				t.Errorf("%d ends were told, %d wait", h.many, len(m.gone))
			}
		})
	}
}
