package faults

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
			_ = l.lacs.Stop(syscall.SIGINT, 10*time.Second)
		}
		if err := l.lnsd.Stop(syscall.SIGINT, 30*time.Second); err != nil {
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

// simCounters are those of lacsim's report that matter here.
type simCounters struct {
	Sessions struct {
		Up, Now, Failed, Ended, Abandoned int64
		ByLNS                             int64 `json:"ended_by_lns"`
	}
	Tunnels  struct{ Now, Failed int64 }
	Packets  struct{ Sent, Answered, Duplicate, Corrupt, Misrouted int64 }
	Lost     int64   `json:"packets_lost"`
	OK       bool    `json:"ok"`
	Latency  latency `json:"latency"`
	Problems []string
}

type latency struct {
	Max float64 `json:"max_ms"`
}

// ask has lacsim tell its counters.
func (l *lab) ask() (c simCounters, err error) {
	before, _ := os.ReadFile(l.lacs.Log)
	fmt.Fprintln(l.stdin, "status")
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		after, _ := os.ReadFile(l.lacs.Log)
		if text := after[len(before):]; bytes.HasSuffix(text, []byte("\n")) {
			return c, json.Unmarshal(text, &c)
		}
	}
	return c, errors.New("lacsim does not tell its counters")
}

// unanswered is how many packets have no answer, but for those that are on their way: hardly ever is
// there one at each of so many moments.
func (l *lab) unanswered() (least int64, err error) {
	least = 1 << 62
	for range 40 {
		c, err := l.ask()
		if err != nil {
			return 0, err
		}
		least = min(least, c.Packets.Sent-c.Packets.Answered)
		time.Sleep(25 * time.Millisecond) // lacsim's counters are 20 ms old
	}
	return least, nil
}

// outage is what one death meant to subscribers.
type outage struct{ first, all time.Duration }

// kill ends lnsd by a signal and waits until every session is served again: until no
// more packets are unanswered than some time later.
func (l *lab) kill(g syscall.Signal) (o outage) {
	l.t.Helper()
	pid, err := l.child()
	must(l.t, err)
	before, err := l.ask()
	must(l.t, err)
	if g == syscall.SIGUSR2 {
		pid = l.lnsd.PID() // the supervisor, which starts the program anew
	}
	must(l.t, syscall.Kill(pid, g&0xff))
	began := time.Now()
	if g == killTwice {
		l.killAgain(pid)
	}
	time.Sleep(5 * time.Millisecond)
	dead, err := l.ask() // what was on its way when it died is counted here, but for some
	must(l.t, err)
	waiting := before.Packets.Sent - before.Packets.Answered
	type sample struct {
		at      time.Duration
		waiting int64
	}
	var seen []sample
	least := int64(1 << 62)
	for o.first == 0 || time.Since(began) < o.first+3*time.Second {
		c, err := l.ask()
		must(l.t, err)
		at := time.Since(began)
		if o.first == 0 && c.Packets.Answered > dead.Packets.Answered+waiting {
			o.first = at
		}
		if o.first > 0 {
			n := c.Packets.Sent - c.Packets.Answered
			seen, least = append(seen, sample{at, n}), min(least, n)
		}
		if at > 30*time.Second {
			l.t.Fatalf("%v after the kill: %+v, before it %+v\n%s", at, c, before, l.lnsd.Tail(20))
		}
	}
	// What had waited is answered when no more packets are on their way than later.
	i := slices.IndexFunc(seen, func(s sample) bool { return s.waiting <= least+before.Sessions.Now/100 })
	o.all = seen[i].at
	return o
}

// killTwice is SIGKILL, and once more for the next process while it recovers.
const killTwice = syscall.SIGKILL | 0x100

// killAgain kills the successor of a process at a random moment of its recovery.
func (l *lab) killAgain(dead int) {
	l.t.Helper()
	must(l.t, proc.Await(20*time.Second, time.Millisecond, l.lnsd, func() error {
		pid, err := l.child()
		if err == nil && pid == dead {
			err = errors.New("the old process is there still")
		}
		if err == nil {
			time.Sleep(time.Duration(rand.IntN(int(150 * time.Millisecond))))
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		return err
	}))
}

// pick gives the median and the worst.
func pick(list []outage, of func(outage) time.Duration) (median, worst time.Duration) {
	var d []time.Duration
	for _, o := range list {
		d = append(d, of(o).Round(time.Millisecond))
	}
	slices.Sort(d)
	return d[len(d)/2], d[len(d)-1]
}

func how(g syscall.Signal) string {
	if g == killTwice {
		return "killed, and again while it recovered"
	}
	return g.String()
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
		must(t, proc.Await(20*time.Second, 20*time.Millisecond, l.lnsd, func() error { _, err := l.ctl("status"); return err }))
	}
	time.Sleep(2 * time.Second)
	r := l.hangUpReport(t)
	if r.Sessions.ByLNS != 0 || r.Tunnels.Failed != 0 {
		t.Errorf("%d sessions that were up, and %d tunnels, were ended by the LNS", r.Sessions.ByLNS, r.Tunnels.Failed)
	}
	if r.Sessions.Up < int64(rate) {
		t.Errorf("only %d calls came up", r.Sessions.Up)
	}
	must(t, proc.Await(40*time.Second, 100*time.Millisecond, nil, func() error {
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

// dialWith brings sessions up and leaves them there.
func (l *lab) dialWith(tunnels, each int, more ...string) {
	l.t.Helper()
	ready := filepath.Join(l.dir, "ready.json")
	os.Remove(ready)
	l.run(tunnels, each, append(more, "--ready-file", ready, "--json", filepath.Join(l.dir, "report.json"))...)
	must(l.t, proc.Await(120*time.Second, 50*time.Millisecond, l.lacs, func() error {
		c, err := l.ask()
		if err == nil && c.Sessions.Now != int64(tunnels*each) {
			err = fmt.Errorf("%d of %d sessions are up", c.Sessions.Now, tunnels*each)
		}
		return err
	}))
}

// run starts lacsim.
func (l *lab) run(tunnels, each int, more ...string) {
	l.t.Helper()
	r, w, err := os.Pipe()
	must(l.t, err)
	defer r.Close()
	l.stdin = w
	args := []string{
		filepath.Join(bin, "lacsim"), "run", "--lns", fmt.Sprint("127.0.0.1:", l.port), "--lacs", fmt.Sprint(tunnels), "--sessions", fmt.Sprint(each),
		"--password", password, "--traffic", "ping", "--stdin", "-q",
	}
	l.lacs, err = proc.Start(l.dir, "lacsim", r, append(args, more...)...)
	must(l.t, err)
}

// ids are the Acct-Session-Ids of all sessions that are up, with their addresses.
func (l *lab) ids() []string {
	l.t.Helper()
	var ids []string
	must(l.t, proc.Await(30*time.Second, 100*time.Millisecond, l.lnsd, func() error {
		out, err := l.ctl("session", "list", "--state", "up", "-o", "json")
		if err != nil {
			return err
		}
		var list []struct{ ID, Address string }
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return fmt.Errorf("%w: %.200s", err, out)
		}
		ids = ids[:0]
		for _, s := range list {
			ids = append(ids, s.ID+" "+s.Address)
		}
		slices.Sort(ids)
		return nil
	}))
	return ids
}

// hangUpReport ends all sessions and gives lacsim's report.
func (l *lab) hangUpReport(t *testing.T) (r simCounters) {
	t.Helper()
	fmt.Fprintln(l.stdin, "hangup")
	l.stdin.Close()
	err := l.lacs.Wait(60 * time.Second)
	b, rerr := os.ReadFile(filepath.Join(l.dir, "report.json"))
	if rerr != nil {
		t.Fatalf("lacsim has not reported: %v\n%s", err, l.lacs.Tail(20))
	}
	must(t, json.Unmarshal(b, &r))
	for _, p := range r.Problems {
		if !strings.Contains(p, "packets were lost") && !strings.HasSuffix(p, " calls failed") && !strings.Contains(p, "before they were up") {
			t.Errorf("lacsim: %s (%v)", p, err)
		}
	}
	l.lacs = nil
	return r
}
