package cluster

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/lac"
	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// TestDriftedTakeover cuts node a off from the database, has sessions end and others begin
// meanwhile, and kills it: what b takes over is older than what the LAC has, the sequence numbers of the
// control channels as well as the sessions. By RFC 4951 both agree again within moments: what only one
// end knows is cleared, and dialled again. Without it the numbers are healed too, by the LAC's word for them; but
// sessions that only one end knows stay until their PPP link is found dead.
func TestDriftedTakeover(t *testing.T) {
	for _, c := range []struct {
		name    string
		offered bool
	}{{"with RFC 4951", true}, {"without", false}} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, pgtest.Start(t), "")
			l.tunnels, l.each, l.lns = 2, 10, []netip.Addr{l.service[0]}
			l.more = []string{"--redial", "--allow-ended", fmt.Sprintf("--failover=%v", c.offered)}
			l.dial()
			a, b := l.nodes["a"], l.nodes["b"]
			before := l.all("a")
			l.tables("a")
			ended := l.drift(a, before)
			late := l.all("a")
			began := time.Now()
			a.kill()
			l.silence()
			a.mend("db")
			now := l.settled(b, before, ended, c.offered)
			var stayed, ghosts int
			for _, id := range before {
				switch {
				case !slices.Contains(now, id):
				case slices.Contains(ended, id):
					ghosts++
				default:
					stayed++
				}
			}
			if want := len(before) - len(ended); stayed != want {
				t.Errorf("%d sessions live on, want %d", stayed, want)
			}
			t.Logf("%v after the kill: %d of %d sessions live on; %d that had ended are still there, %d that had begun are not known", time.Since(began).Round(time.Second),
				stayed, len(before), ghosts, len(late)-stayed)
			if !c.offered && ghosts != len(ended) {
				t.Errorf("%d ghosts: the comparison does not hold any more", ghosts)
			}
			if c.offered {
				l.lacsFail(b, now)
			}
			r := l.lacReport()
			if r.Tunnels.Failed != 0 || c.offered && (r.Failovers.Remote != 2 || r.Failovers.Recovered != 2 || r.Failovers.Cleared > uint64(len(ended))) { // what data has told of before is cleared by CDN
				t.Errorf("the LACs count %+v, %+v", r.Tunnels, r.Failovers)
			}
		})
	}
}

// settled waits until b has all that it will have of a, and gives its sessions: with RFC 4951 those that the LAC
// has, after a recovery of both tunnels; without it those that the database had.
func (l *lab) settled(b *node, before, ended []string, offered bool) (now []string) {
	l.t.Helper()
	must(l.t, proc.Await(patience, 100*time.Millisecond, b.d, func() error {
		now = b.ids()
		slices.Sort(now)
		kinds, ghosts := l.failures(b), 0
		for _, id := range ended {
			if slices.Contains(now, id) {
				ghosts++
			}
		}
		switch {
		case offered && (kinds != "RECOVERED RECOVERED" || ghosts > 0 || len(now) != l.sessions()):
			return fmt.Errorf("%d sessions of %d on b, %d of them ghosts, tunnels %q", len(now), l.sessions(), ghosts, kinds)
		case !offered && (kinds != "SILENT SILENT" || len(now) < len(before)):
			return fmt.Errorf("%d sessions of %d on b, tunnels %q", len(now), len(before), kinds)
		}
		return nil
	}))
	return now
}

// drift cuts a node off from the database and ends some of its sessions, which the LAC dials again; it names those that it ended.
func (l *lab) drift(n *node, ids []string) (ended []string) {
	l.t.Helper()
	n.cut("db")
	for _, id := range ids[:3] {
		_, err := n.ctl("session", "disconnect", id, "--yes")
		must(l.t, err)
		ended = append(ended, id)
	}
	must(l.t, proc.Await(patience, 100*time.Millisecond, n.d, func() error {
		if have := n.ids(); len(have) != l.sessions() || slices.Contains(have, ended[0]) {
			return fmt.Errorf("%d sessions are up", len(have))
		}
		return nil
	}))
	time.Sleep(2 * lease) // and HELLOs
	return ended
}

// lacsFail has the LACs lose their control channels: they recover them, and no session ends.
func (l *lab) lacsFail(n *node, sessions []string) {
	l.t.Helper()
	fmt.Fprintln(l.stdin, "fail")
	must(l.t, proc.Await(patience, 100*time.Millisecond, n.d, func() error {
		if kinds := l.failures(n); kinds != "PEER PEER" {
			return fmt.Errorf("tunnels %q", kinds)
		}
		return nil
	}))
	l.same(sessions, n.name)
}

// failures are how a node's tunnels have lived on, in words.
func (l *lab) failures(n *node) string {
	l.t.Helper()
	out, err := n.ctl("-o", "json", "tunnel", "list")
	must(l.t, err)
	var list []struct {
		Failed struct{ Kind string }
	}
	must(l.t, json.Unmarshal([]byte(out), &list))
	var kinds []string
	for _, x := range list {
		kinds = append(kinds, strings.TrimPrefix(x.Failed.Kind, "TUNNEL_FAILURE_KIND_"))
	}
	return strings.Join(kinds, " ")
}

// lacCounts is what lacsim reports of its tunnels.
type lacCounts struct {
	Tunnels   struct{ Up, Failed uint64 }
	Failovers lac.FailoverStats
}

// lacReport ends lacsim, whatever it has gone through.
func (l *lab) lacReport() (r lacCounts) {
	l.t.Helper()
	l.endSim(&r)
	return r
}
