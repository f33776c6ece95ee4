package faults

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"culvert/aaa/radius/radtest"
	"culvert/ops/lab/proc"
)

// hitlessConfig keeps sessions over SIGTERM, and room for many of them.
const hitlessConfig = `node: lns1
l2tp: {listen: ["127.0.0.1:%d"], shards: 2}
plane: {mode: memory}
subscriber: {local_address: 100.64.0.1}
lacs: [{name: lab, prefixes: [127.0.0.0/8], hello: 10s}]
radius:
  auth: {servers: [{name: auth, address: "%s", secret: %s}]}
  acct: {servers: [{name: acct, address: "%s", secret: %s}]}
pools: [{name: main, ranges: [100.65.0.0-100.71.255.255]}]
journal: {dir: %s/journal}
api: {socket: %s/lnsd.sock, http: "127.0.0.1:0"}
log: {level: warn}
`

// size is a number that a full run sets in the environment, and a short one leaves small.
func size(name string, small int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return small
}

// newHitless is a lab whose lnsd is supervised.
func newHitless(t *testing.T) *lab {
	l := &lab{t: t, dir: shortDir(t), args: []string{"--supervise"}}
	var err error
	l.radius, err = radtest.New(radtest.Config{Secret: []byte(radiusSecret), AnyPassword: password})
	must(t, err)
	t.Cleanup(func() { l.radius.Close() })
	l.port = freePort(t)
	text := fmt.Sprintf(hitlessConfig, l.port, l.radius.AuthAddr(), radiusSecret, l.radius.AcctAddr(), radiusSecret, l.dir, l.dir)
	must(t, os.WriteFile(filepath.Join(l.dir, "lnsd.yaml"), []byte(text), 0o600))
	l.start()
	t.Cleanup(func() {
		if l.lacs != nil {
			_ = l.lacs.Stop(syscall.SIGINT, patience)
		}
		if err := l.lnsd.Stop(syscall.SIGINT, patience); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("lnsd:\n%s", l.lnsd.Tail(15))
		}
	})
	return l
}

// child is the process that the supervisor runs.
func (l *lab) child() (int, error) {
	pid := l.lnsd.PID()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil || len(bytes.Fields(b)) == 0 {
		// Any thread of the supervisor may be its parent.
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, f := range files {
			more, _ := os.ReadFile(f)
			b = append(b, more...)
		}
	}
	list := bytes.Fields(b)
	if len(list) != 1 {
		return 0, fmt.Errorf("the supervisor has %d children", len(list))
	}
	return strconv.Atoi(string(list[0]))
}

// TestHitless kills lnsd again and again at random moments, under sessions with traffic: as many
// are up after as before, on the same Acct-Session-Ids, no packet is lost, and each session is
// accounted once, to its last octet. HITLESS_TUNNELS, HITLESS_EACH and HITLESS_KILLS make it larger.
func TestHitless(t *testing.T) {
	l := newHitless(t)
	tunnels, each, kills := size("HITLESS_TUNNELS", 10), size("HITLESS_EACH", 20), size("HITLESS_KILLS", 4)
	all := tunnels * each
	l.dialWith(tunnels, each, "--packets", "0", "--packet-rate", cmp.Or(os.Getenv("HITLESS_PPS"), "1"), "--wait", "30s", "--stay")
	before := l.ids()
	if len(before) != all {
		t.Fatalf("%d sessions are up, want %d", len(before), all)
	}
	var list []outage
	for i := range kills {
		time.Sleep(time.Duration(500+rand.IntN(1000)) * time.Millisecond)
		g := syscall.SIGKILL
		switch {
		case i == 0:
			g = syscall.SIGUSR2 // an upgrade
		case i == 1:
			g = syscall.SIGABRT // a panic
		case i%3 == 2:
			g = killTwice
		}
		o := l.kill(g)
		list = append(list, o)
		t.Logf("%v: %v to the first packet, %v until all that waited was served", how(g), o.first.Round(time.Millisecond), o.all.Round(time.Millisecond))
	}
	if after := l.ids(); !slices.Equal(before, after) {
		t.Errorf("%d sessions before, %d after, and not the same", len(before), len(after))
	}
	if c := l.radius.Counts(); int(c.Starts) != all || c.Stops != 0 {
		t.Errorf("accounting has %+v after the restarts, want %d Starts and no Stop", c, all)
	}
	r := l.hangUpReport(t)
	l.accounted(all)
	// What lnsd has counted, over all its lives, is what subscribers have sent and got: of what is
	// lost the request may have been counted, or the answer too.
	const octets = 64 // an echo is as long as its request
	c, lost := l.radius.Counts(), uint64(r.Lost)*octets
	if got, least := c.InOctets, uint64(r.Packets.Answered)*octets; got < least || got > least+lost {
		t.Errorf("%d octets from subscribers were accounted, want %d to %d", got, least, least+lost)
	}
	if got, least := c.OutOctets, uint64(r.Packets.Answered)*octets; got < least || got > least+lost {
		t.Errorf("%d octets to subscribers were accounted, want %d to %d", got, least, least+lost)
	}
	m, w := pick(list, func(o outage) time.Duration { return o.first })
	m2, w2 := pick(list, func(o outage) time.Duration { return o.all })
	t.Logf("%d sessions in %d tunnels, %d restarts: kill to first packet median %v, worst %v; to all served median %v, worst %v; %d of %d packets lost (%.5f for each session and restart), latency at most %.0f ms",
		all, tunnels, kills, m, w, m2, w2, r.Lost, r.Packets.Sent, float64(r.Lost)/float64(all*kills), r.Latency.Max)
	if r.Lost > int64(10+all*kills/20) {
		t.Errorf("%d packets were lost", r.Lost)
	}
}

// TestHitlessUnderLoad kills lnsd while calls come and go: whatever subscriber was told that it is up
// stays so until it hangs up itself, calls that were being set up end and are dialled again, and
// each session that was accounted is accounted once. HITLESS_RATE is the calls in a second.
func TestHitlessUnderLoad(t *testing.T) {
	l := newHitless(t)
	kills, rate := size("HITLESS_KILLS", 4), size("HITLESS_RATE", 60)
	const tunnels = 10
	l.run(tunnels, rate/tunnels, "--redial", "--duration", "5m", "--redial-delay", "100ms", "--hold", "800ms", "--rate", fmt.Sprint(rate), "--packets", "1",
		"--json", filepath.Join(l.dir, "report.json"))
	for range kills {
		time.Sleep(time.Duration(1000+rand.IntN(1000)) * time.Millisecond)
		pid, err := l.child()
		must(t, err)
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		must(t, proc.Await(patience, 20*time.Millisecond, l.lnsd, func() error { _, err := l.ctl("status"); return err }))
	}
	time.Sleep(2 * time.Second)
	r := l.hangUpReport(t)
	if r.Sessions.ByLNS != 0 || r.Tunnels.Failed != 0 {
		t.Errorf("%d sessions that were up, and %d tunnels, were ended by the LNS", r.Sessions.ByLNS, r.Tunnels.Failed)
	}
	if r.Sessions.Up < int64(rate) {
		t.Errorf("only %d calls came up", r.Sessions.Up)
	}
	must(t, proc.Await(patience, 100*time.Millisecond, nil, func() error {
		c := l.radius.Counts()
		if c.Starts != c.Stops || c.Open != 0 || int64(c.Starts) < r.Sessions.Up || c.StopsWithoutStart+c.RecordsAfterStop != 0 {
			return fmt.Errorf("%d sessions came up; accounting has %+v", r.Sessions.Up, c)
		}
		return nil
	}))
	if ids := l.ids(); len(ids) != 0 {
		t.Errorf("left: %v", ids)
	}
	t.Logf("%d kills at %d calls a second: %d came up, of which the LNS ended %d; %d were cleared while they were set up", kills, rate, r.Sessions.Up, r.Sessions.ByLNS, r.Sessions.Failed)
}
