package scale

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/ops/lab/proc"
)

// shape is how sessions are spread over tunnels.
type shape struct{ tunnels, each int }

func (s shape) sessions() int { return s.tunnels * s.each }

func (s shape) String() string { return fmt.Sprintf("%dx%d", s.tunnels, s.each) }

// shapes are the sizes of the proof: ordinary, very many tunnels, very many sessions.
func shapes() []shape {
	if full() {
		return []shape{{100, 100}, {20000, 1}, {60, 1000}}
	}
	return []shape{{20, 100}, {500, 1}}
}

// idleFor is how long all sessions are left alone to see what they cost.
func idleFor() time.Duration {
	if full() {
		return 20 * time.Second
	}
	return time.Second
}

// lagLimit is how far the database may be behind while sessions are up.
const lagLimit = time.Second

// TestScale brings sessions up and down by the ten thousands, with a packet each
// way through every one, and finds each of them in the database and accounted exactly once.
func TestScale(t *testing.T) {
	needsRoot(t)
	l := newLab(t)
	var list []*result
	t.Cleanup(func() { l.report(t, "scale", list) })
	for _, radius := range []struct {
		name  string
		start func(*testing.T) backend
	}{{"FreeRADIUS", startFreeRADIUS}, {"built-in", startBuiltIn}} {
		for _, sh := range shapes() {
			t.Run(radius.name+"/"+sh.String(), func(t *testing.T) {
				list = append(list, l.prove(t, sh, radius.start(t)))
			})
		}
	}
}

// run is one case at work.
type run struct {
	*lab
	t    *testing.T
	dir  string
	lnsd *lnsd
	db   *database
	aaa  backend
}

// startRun starts everything but lacsim.
func (l *lab) startRun(t *testing.T, name string, aaa backend) *run {
	t.Helper()
	r := &run{lab: l, t: t, dir: filepath.Join(l.out, name), aaa: aaa}
	must(t, os.RemoveAll(r.dir))
	must(t, os.MkdirAll(r.dir, 0o755))
	r.db = startDatabase(t)
	r.lnsd = l.startLNSD(t, r.dir, aaa.section(), r.db.url)
	return r
}

// prove is one case from the first SCCRQ to the last accounting record.
func (l *lab) prove(t *testing.T, sh shape, aaa backend) *result {
	n := sh.sessions()
	res := &result{LNS: "lnsd", Case: sh.String(), Sessions: n, Tunnels: sh.tunnels, RADIUS: aaa.name(), Packets: true}
	r := l.startRun(t, sh.String()+"-"+aaa.name(), aaa)
	heap := r.heap()
	began := r.sample()
	began.heap = heap
	sim := l.dial(t, r.dir, append(sh.flags(), "--traffic", "ping", "--packets", "1", "--wait", "10s")...)
	stop := r.profile()
	must(t, sim.ready(5*time.Minute, n))
	stop()
	lag, err := r.db.await(time.Minute, r.lnsd, func(x rows) bool { return x.sessions == n && x.tunnels == sh.tunnels })
	must(t, err)
	if lag > lagLimit {
		t.Errorf("the database was behind by %v when all sessions were up; want at most %v", lag, lagLimit)
	}
	res.RowsLag = lag.Seconds()
	_, err = r.db.await(time.Minute, r.lnsd, func(x rows) bool { return x.outbox == 0 })
	must(t, err)
	up := r.sample()
	up.heap = r.heap()
	r.keepHeap()
	res.idle(r, n)
	before := r.sample()
	rep, err := sim.hangup(5 * time.Minute)
	must(t, err)
	gone, err := r.db.await(5*time.Minute, r.lnsd, func(x rows) bool { return x == rows{history: n} })
	must(t, err)
	res.EndLag = gone.Seconds()
	res.fill(n, rep, began, up, before, r.sample())
	r.finish(res)
	return res
}

// flags are lacsim's for a shape.
func (s shape) flags() []string {
	return []string{"--lacs", strconv.Itoa(s.tunnels), "--sessions", strconv.Itoa(s.each), "--auth", "pap", "--password", password}
}

// finish stops lnsd and checks what is left of its sessions.
func (r *run) finish(res *result) {
	r.t.Helper()
	m, err := r.lnsd.metrics()
	if err := errors.Join(err, clean(m)); err != nil {
		r.t.Error(err)
	}
	for name, v := range m {
		if strings.HasPrefix(name, "culvert_radius_retransmissions_total") {
			res.RADIUSAgain += uint64(v)
		}
	}
	if err := errors.Join(r.lnsd.Stop(syscall.SIGTERM, 30*time.Second), r.lnsd.Err); err != nil {
		r.t.Error(err)
	}
	if list := r.lnsd.complaints(); len(list) > 0 {
		r.t.Errorf("lnsd complains:\n%s", strings.Join(list, "\n"))
	}
	packets := 0
	if res.Packets {
		packets = 1
	}
	if err := errors.Join(r.aaa.check(r.lnsd, res.Sessions), r.db.once(res.Sessions, packets)); err != nil {
		r.t.Error(err)
	}
}

// clean tells what metrics of a good run do not have.
func clean(m map[string]float64) error {
	var errs []error
	for name, v := range m {
		bad := strings.HasPrefix(name, "culvert_internal_errors_total") || strings.HasPrefix(name, "culvert_pool_used_addresses") ||
			name == "culvert_sessions" || name == "culvert_calls_setting_up" || name == "culvert_database_pending_changes" ||
			strings.Contains(name, `_changes_total{result="conflict"}`) || strings.Contains(name, `_changes_total{result="dropped"}`) ||
			strings.Contains(name, `reason="inbox-full"`)
		if bad && v != 0 {
			errs = append(errs, fmt.Errorf("after the run %s is %v", name, v))
		}
	}
	return errors.Join(errs...)
}

// profile begins a CPU profile of lnsd where one is asked for; the function ends it.
func (r *run) profile() func() {
	seconds := os.Getenv(envProfile)
	if seconds == "" {
		return func() {}
	}
	done := make(chan error, 1)
	go func() { done <- r.lnsd.saveProfile(r.dir, "cpu.pprof", "profile?seconds="+seconds) }()
	return func() {
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

// keepHeap keeps a heap profile where profiles are asked for.
func (r *run) keepHeap() {
	if os.Getenv(envProfile) == "" {
		return
	}
	if err := errors.Join(r.lnsd.saveProfile(r.dir, "heap.pprof", "heap?gc=1"), r.lnsd.saveProfile(r.dir, "allocs.pprof", "allocs")); err != nil {
		r.t.Error(err)
	}
}

// sample is what has been used until a moment.
type sample struct {
	lnsd, db, radius time.Duration
	rss, heap        int64
}

// sample takes the figures but for the heap, which costs a garbage collection.
func (r *run) sample() sample {
	r.t.Helper()
	var s sample
	var errs [4]error
	s.rss, errs[0] = proc.RSS(r.lnsd.PID())
	s.lnsd, errs[1] = proc.CPU(r.lnsd.PID())
	s.db, errs[2] = r.db.cpu()
	s.radius, errs[3] = r.aaa.cpu()
	must(r.t, errors.Join(errs[:]...))
	return s
}

// heap is the size of lnsd's live heap.
func (r *run) heap() int64 {
	r.t.Helper()
	n, err := r.lnsd.heap()
	must(r.t, err)
	return n
}
