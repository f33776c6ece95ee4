package scale

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"culvert/aaa/radius/radtest"
	"culvert/ops/lab/proc"
)

// besideShape is what both servers are given, and besideRounds how often each.
// l2tpns has no more than 500 tunnels.
func besideShape() (s shape, rounds int) {
	if full() {
		return shape{100, 100}, 3
	}
	return shape{10, 100}, 1
}

// TestBesideL2TPNS gives the same calls to Debian's l2tpns and to lnsd, by
// turns, without packets: lnsd with accounting, journal and PostgreSQL, l2tpns
// with nothing of the kind. A responder in the test answers both.
func TestBesideL2TPNS(t *testing.T) {
	needsRoot(t)
	l := newLab(t)
	sh, rounds := besideShape()
	var list []*result
	t.Cleanup(func() { l.report(t, "beside", list, ratio(list)) })
	for round := range rounds {
		t.Run(fmt.Sprintf("l2tpns/%d", round), func(t *testing.T) { list = append(list, l.callL2TPNS(t, sh)) })
		t.Run(fmt.Sprintf("lnsd/%d", round), func(t *testing.T) { list = append(list, l.callLNSD(t, sh)) })
	}
}

// inTest is a responder in the test's process.
type inTest struct{ server *radtest.Server }

func startInTest(t *testing.T) inTest {
	t.Helper()
	s, err := radtest.New(radtest.Config{Secret: []byte(radiusSecret), AnyPassword: password})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return inTest{s}
}

func (inTest) name() string { return "in test" }

func (a inTest) section() string {
	return radiusSection(a.server.AuthAddr(), a.server.AcctAddr())
}

func (inTest) cpu() (time.Duration, error) { return 0, nil }

func (a inTest) check(_ *lnsd, sessions int) error {
	c := a.server.Counts()
	n := [...]uint64{c.Starts, c.Stops, uint64(c.Open), c.DuplicateStarts + c.DuplicateStops, c.StopsWithoutStart + c.RecordsAfterStop}
	if n != [...]uint64{uint64(sessions), uint64(sessions), 0, 0, 0} {
		return fmt.Errorf("accounting: starts, stops, open, twice, out of order: %d; want %d starts and stops and nothing else", n, sessions)
	}
	return nil
}

// callFlags are lacsim's for both servers.
func (s shape) callFlags() []string { return append(s.flags(), "--serial-open") }

// callLNSD gives lnsd the calls.
func (l *lab) callLNSD(t *testing.T, sh shape) *result {
	n := sh.sessions()
	aaa := startInTest(t)
	res := &result{LNS: "lnsd", Case: sh.String(), Tunnels: sh.tunnels, Sessions: n, RADIUS: aaa.name()}
	r := l.startRun(t, "beside-lnsd", aaa)
	began := r.sample()
	sim := l.dial(t, r.dir, sh.callFlags()...)
	stop := r.profile()
	must(t, sim.ready(5*time.Minute, n))
	_, err := r.db.await(time.Minute, r.lnsd, func(x rows) bool { return x.sessions == n && x.outbox == 0 })
	must(t, err)
	up := r.sample()
	rep, err := sim.hangup(5 * time.Minute)
	must(t, err)
	_, err = r.db.await(5*time.Minute, r.lnsd, func(x rows) bool { return x == rows{history: n} })
	must(t, err)
	stop()
	res.fill(n, rep, began, up, up, r.sample())
	r.finish(res)
	return res
}

// callL2TPNS gives l2tpns the calls.
func (l *lab) callL2TPNS(t *testing.T, sh shape) *result {
	n := sh.sessions()
	aaa := startInTest(t)
	dir := filepath.Join(l.out, "beside-l2tpns")
	must(t, errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)))
	d := startL2TPNS(t, dir, aaa.server.AuthAddr())
	res := &result{LNS: "l2tpns", Case: sh.String(), Tunnels: sh.tunnels, Sessions: n, RADIUS: aaa.name()}
	sampleNow := func() (s sample) {
		var err, err2 error
		s.lnsd, err = proc.CPU(d.PID())
		s.rss, err2 = proc.RSS(d.PID())
		must(t, errors.Join(err, err2))
		return s
	}
	began := sampleNow()
	sim := l.dial(t, dir, sh.callFlags()...)
	must(t, sim.ready(5*time.Minute, n))
	up := sampleNow()
	rep, err := sim.hangup(5 * time.Minute)
	must(t, err)
	time.Sleep(time.Second) // it cleans up in the background
	res.fill(n, rep, began, up, up, sampleNow())
	return res
}

// ratio compares the medians of both.
func ratio(list []*result) string {
	by := map[string][]float64{}
	for _, x := range list {
		by[x.LNS] = append(by[x.LNS], x.CPU)
	}
	if len(by) < 2 {
		return ""
	}
	ours, theirs := median(by["lnsd"]), median(by["l2tpns"])
	return fmt.Sprintf("\nCPU per call, medians of %d and %d runs: lnsd with accounting, journal and PostgreSQL %.0f us; l2tpns without %.0f us; ratio %.2f\n",
		len(by["lnsd"]), len(by["l2tpns"]), ours, theirs, ours/theirs)
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

func TestRatio(t *testing.T) {
	list := []*result{{LNS: "lnsd", CPU: 300}, {LNS: "l2tpns", CPU: 200}, {LNS: "lnsd", CPU: 100}, {LNS: "l2tpns", CPU: 200}, {LNS: "l2tpns", CPU: 900}}
	want := "\nCPU per call, medians of 2 and 3 runs: lnsd with accounting, journal and PostgreSQL 200 us; l2tpns without 200 us; ratio 1.00\n"
	if got := ratio(list); got != want {
		t.Errorf("ratio: %q, want %q", got, want)
	}
	if got := ratio(list[:1]); got != "" {
		t.Errorf("ratio of one server: %q", got)
	}
}
