package lns

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lac/subscriber"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
)

// stepwise has what is asked of a rig's server done at once by its shards.
func stepwise(r *rig) {
	r.srv.inline = func(f func(*shard)) {
		for _, sh := range r.srv.shards {
			sh.now = r.clock.now
			f(sh)
			sh.settle()
			sh.flush()
		}
		for _, sh := range r.srv.shards { // what they have sent to each other
			sh.inbox.take(&sh.spare)
			sh.step(r.clock.now, &sh.spare)
		}
	}
}

// timeline is what a trace says of one session, a line an event, without what changes from run to run.
func timeline(r *rig, sel Selector) string {
	r.t.Helper()
	past := r.srv.Trace(r.t.Context(), TraceQuery{Selector: sel}).Past
	if len(past) != 1 {
		r.t.Fatalf("%d sessions fit %+v", len(past), sel)
	}
	var b strings.Builder
	for _, e := range past[0].Events {
		fmt.Fprintf(&b, "%v %s", e.Source, e.Text)
		if e.Count > 1 {
			fmt.Fprintf(&b, " ×%d", e.Count)
		}
		b.WriteByte('\n')
	}
	return random.ReplaceAllString(b.String(), "magic *")
}

var random = regexp.MustCompile(`magic [0-9a-f]{8}`)

// wantLines fails the test unless all lines are in got, in their order.
func wantLines(t *testing.T, got string, lines ...string) {
	t.Helper()
	rest := got
	for _, l := range lines {
		i := strings.Index(rest, l+"\n")
		if i < 0 {
			t.Fatalf("no %q (in this place) in\n%s", l, got)
		}
		rest = rest[i+len(l):]
	}
}

// The whole life of a session in words: this is what an operator reads.
func TestTimelineOfASession(t *testing.T) {
	r := newRig(t, nil)
	stepwise(r)
	r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return &aaa.Grant{Server: "radius1"}, nil }
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	r.run(time.Minute)
	c := l.dial("alice", nil)
	r.until(5*time.Second, "session up", func() bool { return c.up })
	r.run(10 * time.Minute)
	live := timeline(r, Selector{User: "alice"})
	var fx subscriber.Effects
	c.client.Close(r.clock.now, &fx)
	c.effects(&fx)
	r.run(5 * time.Second)
	got := timeline(r, Selector{User: "alice"})
	wantLines(t, got,
		"l2tp recv ICRQ session 1 serial 1",
		"l2tp send ICRP session 1",
		"l2tp recv ICCN tx 80000000 bit/s",
		"ppp LCP: send Configure-Request id 1 auth CHAP-MD5 magic *",
		"ppp LCP: recv Configure-Ack id 1",
		"ppp LCP opened; the subscriber is asked who it is",
		"ppp CHAP: send Challenge id 1",
		"ppp CHAP: recv Response id 1",
		`aaa RADIUS: Access-Request for "alice" by CHAP`,
		"aaa RADIUS: Access-Accept from radius1 in 0 ms",
		"ppp authenticated; IPCP starts",
		"ppp CHAP: send Success id 1",
		"ppp IPCP: send Configure-Request id 1 addr 100.64.0.1",
		"ppp IPCP opened 100.64.1.0",
		"ppp LCP: send Echo-Request ×20",
		"ppp LCP: recv Echo-Reply ×20",
		"ppp LCP: recv Terminate-Request id 2",
		"lns cause user-request: peer-terminate",
		"l2tp send CDN result 3/0: administrative reasons \"user-request\", PPP disconnect cause 3: normal disconnection (RFC 3145)",
	)
	if strings.Contains(live, "cause") || !strings.Contains(live, "IPCP opened") {
		t.Errorf("while it lived, its timeline was\n%s", live)
	}
	for _, sel := range []Selector{{ID: "lns1-0001-00000001"}, {Calling: "0123"}, {Address: netip.MustParseAddr("100.64.1.0")}} {
		if again := timeline(r, sel); again != got {
			t.Errorf("%+v finds\n%s", sel, again)
		}
	}
}

// A subscriber that is refused is found by its name, its id and its line.
func TestTimelineOfAFailedCall(t *testing.T) {
	r := newRig(t, nil)
	stepwise(r)
	r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) {
		return nil, &aaa.RejectError{Message: "unpaid bill", Server: "radius2"}
	}
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	call := l.dial("alice", func(m *l2tp.Message) { m.CallingNumber = []byte("line 7") })
	r.until(time.Minute, "failed", func() bool { return call.cdn != nil })
	for _, sel := range []Selector{{User: "alice"}, {ID: "lns1-0001-00000001"}, {Calling: "line 7"}} {
		wantLines(t, timeline(r, sel),
			`aaa RADIUS: Access-Reject from radius2 in 0 ms "unpaid bill"`,
			"lns cause auth-rejected: rejected by the AAA server: unpaid bill",
			`ppp CHAP: send Failure id 1 "unpaid bill"`,
			`l2tp send CDN result 3/0: administrative reasons "auth-rejected", PPP disconnect cause 16: authentication failed (RFC 3145)`)
	}
	p := r.srv.Trace(t.Context(), TraceQuery{Selector: Selector{User: "alice"}}).Past[0]
	if p.Cause != "auth-rejected" || p.Ended.Before(p.Began) || p.Began.Year() != 2027 || p.Info.CallingStation != "line 7" {
		t.Errorf("got %+v", p)
	}
}

// A call that was turned away at once is found by its line, and its tunnel tells of it.
func TestTimelineOfARefusedCall(t *testing.T) {
	r := newRig(t, nil)
	stepwise(r)
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	r.srv.Drain(true)
	for range 3 {
		l.dial("bob", func(m *l2tp.Message) { m.CallingNumber = []byte("line 8") })
		r.run(time.Minute)
	}
	past := r.srv.Trace(t.Context(), TraceQuery{Selector: Selector{Calling: "line 8"}}).Past
	if len(past) != 3 || past[0].Cause != "busy" {
		t.Fatalf("got %+v", past)
	}
	var lines strings.Builder
	for _, e := range past[2].Events {
		fmt.Fprintf(&lines, "%s ×%d\n", e.Text, e.Count)
	}
	wantLines(t, lines.String(), "refused a call: this LNS is draining ×3",
		"recv ICRQ session 3 serial 3 ×1", `send CDN result 2/7: general error: try another "this LNS is draining" ×1`)
}

// "Why did this subscriber drop at 03:12": because its LAC did not answer any more.
func TestTimelineTellsOfTheTunnel(t *testing.T) {
	r, _, _ := oneUp(t, nil)
	stepwise(r)
	r.run(10 * time.Minute)
	r.lose = func(bool, []byte) bool { return true }
	r.until(5*time.Minute, "ended", func() bool { return r.session("alice") == nil })
	r.run(time.Minute)
	got := timeline(r, Selector{User: "alice"})
	wantLines(t, got, "l2tp recv SCCCN Ns 1 Nr 1", "ppp IPCP opened 100.64.1.0", "l2tp send HELLO ×11",
		"l2tp send again, unacknowledged: Ns 12 ×5",
		"l2tp tunnel down: timeout; StopCCN result 7/0: finite state machine error \"l2tp: peer does not acknowledge\"",
		"lns cause tunnel-timeout")
}

// Only so many are remembered, and only so long.
func TestTheDeadAreForgotten(t *testing.T) {
	r, l, c := oneUp(t, func(c *Config) { c.Trace = TraceConfig{Keep: 6, KeepFor: time.Hour} })
	stepwise(r)
	past := func(user string) int {
		return len(r.srv.Trace(t.Context(), TraceQuery{Selector: Selector{User: user}, Limit: 100}).Past)
	}
	c.hangUp()
	r.run(time.Second)
	if past("alice") != 1 {
		t.Fatal("alice is forgotten at once")
	}
	r.run(time.Hour)
	if past("alice") != 0 {
		t.Error("alice is remembered for more than an hour")
	}
	for range 20 {
		c := l.dial("bob", nil)
		r.until(5*time.Second, "up", func() bool { return c.up })
		c.hangUp()
		r.run(time.Second)
	}
	if n := past("bob"); n != 6 {
		t.Errorf("%d of bob's sessions are remembered, want 6", n)
	}
	if n := len(r.srv.Trace(t.Context(), TraceQuery{Selector: Selector{User: "bob"}, Limit: 2}).Past); n != 2 {
		t.Errorf("%d sessions, want the limit's 2", n)
	}
}

func TestTraceOff(t *testing.T) {
	r, _, c := oneUp(t, func(c *Config) { c.Trace.Off = true })
	stepwise(r)
	c.hangUp()
	r.run(time.Second)
	if n := len(r.srv.Trace(t.Context(), TraceQuery{Selector: Selector{User: "alice"}}).Past); n != 0 {
		t.Errorf("%d sessions are remembered though tracing is off", n)
	}
}

// Who follows a user sees a call from its beginning as soon as the name is known, then
// each event, those of the tunnel too, and nothing of others.
func TestFollow(t *testing.T) {
	r := newRig(t, nil)
	stepwise(r)
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	ctx, stop := context.WithCancel(t.Context())
	tr := r.srv.Trace(ctx, TraceQuery{Selector: Selector{User: "alice"}, Follow: true})
	other := l.dial("bob", nil)
	r.until(5*time.Second, "bob up", func() bool { return other.up })
	if len(tr.Past) != 0 || len(tr.Live) != 0 {
		t.Fatalf("%d sessions, %d items of somebody else", len(tr.Past), len(tr.Live))
	}
	c := l.dial("alice", nil)
	r.until(5*time.Second, "alice up", func() bool { return c.up })
	first := <-tr.Live
	if first.Session == nil || first.Session.Events[0].Text != "recv ICRQ session 2 serial 2" ||
		!strings.Contains(first.Session.Events[len(first.Session.Events)-1].Text, "Access-Request") {
		t.Fatalf("the first item is %+v", first)
	}
	seen := map[string]bool{}
	for len(tr.Live) > 0 {
		seen[(<-tr.Live).Event.Text] = true
	}
	if !seen["IPCP opened "+c.client.Address().String()] {
		t.Errorf("saw %v", seen)
	}
	r.srv.TracePeer(l.address.Addr(), trace.SourceIKE, "child SA rekeyed")
	r.run(61 * time.Second)
	for len(tr.Live) > 0 {
		e := (<-tr.Live).Event
		seen[fmt.Sprint(e.Source, " ", e.Text)] = true
	}
	for _, want := range []string{"ike child SA rekeyed", "ppp LCP: send Echo-Request"} {
		if !seen[want] {
			t.Errorf("no %q in %v", want, seen)
		}
	}
	stop()
	time.Sleep(10 * time.Millisecond) // context.AfterFunc has a goroutine of its own
	r.onShards(func(sh *shard) {
		if n := len(sh.traces.tracers); n != 0 {
			t.Errorf("%d followers are left", n)
		}
	})
}

// A follower that does not read loses events, is told how many, and holds nobody up.
func TestASlowFollowerLoses(t *testing.T) {
	r, _, c := oneUp(t, nil)
	stepwise(r)
	tr := r.srv.Trace(t.Context(), TraceQuery{Selector: Selector{User: "alice"}, Follow: true})
	for range traceQueue + 100 {
		c.data([]byte{0xff, 3, 0xc0, 0x21, 11, 1, 0, 8, 0, 0, 0, 0}) // Discard-Request
		r.run(wheelTick)
	}
	if n := tr.Lost(); n != 100 || tr.Lost() != 0 {
		t.Errorf("lost %d, want 100, once", n)
	}
	if len(tr.Live) != traceQueue {
		t.Errorf("%d items wait", len(tr.Live))
	}
}

// What IKE did to the tunnel stands in its sessions' timelines.
func TestTimelineTellsOfIKE(t *testing.T) {
	x := newIPsecRig(t, nil)
	x.secure(1, 1, "a", "alice")
	x.run(time.Minute)
	x.ike.gone(1, SAEnd{Cause: SAEndDPD, Detail: "no answer to 5 probes"})
	x.run(time.Second)
	stepwise(x.rig)
	got := timeline(x.rig, Selector{User: "alice"})
	wantLines(t, got, "ppp IPCP opened 100.64.1.0", "ike SA gone ("+string(SAEndDPD)+"), the tunnel ends: no answer to 5 probes", "lns cause "+CauseIPsecDown.String()+": SA gone: "+string(SAEndDPD)+": no answer to 5 probes")
}
