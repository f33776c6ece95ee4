package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"culvert/ops/lab/proc"
)

// dial brings the subscribers up, who ping from then on.
func (l *lab) dial() {
	defer l.stage("dial")()
	l.t.Helper()
	r, w, err := os.Pipe()
	must(l.t, err)
	defer r.Close()
	l.stdin = w
	args := []string{"ip", "netns", "exec", "lac", filepath.Join(bin, "lacsim"), "run",
		"--lns", strings.Trim(strings.ReplaceAll(fmt.Sprint(l.lns), " ", ","), "[]"), "--lacs", fmt.Sprint(l.tunnels), "--sessions", fmt.Sprint(l.each),
		"--password", password, "--hello", "5s", "--traffic", "ping", "--packets", "0", "--packet-rate", l.rate, "--wait", answerTime.String(), "--setup-timeout", "2m", "--stay", "--stdin", "-q",
		"--json", filepath.Join(l.dir, "report.json")}
	l.sim, err = proc.Start(l.dir, "lacsim", r, append(args, l.more...)...)
	must(l.t, err)
	must(l.t, proc.Await(4*time.Minute, 100*time.Millisecond, l.sim, func() error {
		if n := len(l.all("a", "b")); n != l.sessions() {
			return fmt.Errorf("%d sessions are up, want %d", n, l.sessions())
		}
		return nil
	}))
}

// all are the sessions of several nodes, sorted.
func (l *lab) all(nodes ...string) []string {
	var ids []string
	for _, n := range nodes {
		ids = append(ids, l.nodes[n].ids()...)
	}
	slices.Sort(ids)
	return ids
}

// same checks that exactly these sessions are up on these nodes.
func (l *lab) same(before []string, nodes ...string) {
	l.t.Helper()
	if now := l.all(nodes...); !slices.Equal(before, now) {
		l.t.Errorf("%d sessions are up on %v, %d were before", len(now), nodes, len(before))
	}
}

// report is what lacsim says at its end.
type report struct {
	Lost    int `json:"packets_lost"`
	Packets struct{ Sent, Answered, Duplicate int }
	Latency struct {
		Max float64 `json:"max_ms"`
	}
}

// hangUp ends all sessions, and expects that the LAC has noticed nothing and
// that every session is accounted once.
func (l *lab) hangUp() (r report) {
	defer l.stage("hangUp")()
	l.t.Helper()
	l.endSim(&r)
	l.t.Logf("lacsim counts %d of %d packets lost, %d answered twice; the slowest answer took %.0f ms",
		r.Lost, r.Packets.Sent, r.Packets.Duplicate, r.Latency.Max)
	must(l.t, proc.Await(patience, 100*time.Millisecond, nil, func() error {
		c := l.radius.Counts()
		if c.Sessions != l.sessions() || c.Open != 0 {
			return fmt.Errorf("want %d sessions with a Start and a Stop each, have %+v", l.sessions(), c)
		}
		return nil
	}))
	if c := l.radius.Counts(); c.StopsWithoutStart != 0 || c.RecordsAfterStop != 0 {
		l.t.Errorf("accounting out of order: %+v", c)
	}
	return r
}

// endSim has lacsim hang up and end, and reads its report.
func (l *lab) endSim(report any) {
	l.t.Helper()
	fmt.Fprintln(l.stdin, "hangup")
	l.stdin.Close()
	select {
	case <-l.sim.Done:
	case <-time.After(60 * time.Second):
		l.t.Fatalf("lacsim does not end:\n%s", l.sim.Tail(20))
	}
	l.sim = nil
	text, err := os.ReadFile(filepath.Join(l.dir, "report.json"))
	must(l.t, err)
	must(l.t, json.Unmarshal(text, report))
}
