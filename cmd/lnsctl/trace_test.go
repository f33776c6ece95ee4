package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"culvert/lns"
	"culvert/lns/trace"
	"culvert/ops/opstest"
	culvertv1 "culvert/proto/culvert/v1"
)

// traceSample is a node that remembers two sessions of user1, and one that was refused.
func traceSample() *opstest.Node {
	node := opstest.Sample(3)
	one, _ := node.SessionByID("lns1-00000007-00000001")
	at := func(s float64) time.Time { return opstest.Began.Add(time.Duration(s * float64(time.Second))) }
	event := func(i *lns.SessionInfo, s float64, source trace.Source, text string) lns.TraceEvent {
		return lns.TraceEvent{
			At: at(s), Until: at(s), Session: i.ID, Local: i.Local.String(), Tunnel: i.Tunnel,
			Event: trace.Event{Count: 1, Source: source, Text: text},
		}
	}
	echo := event(&one, 31, trace.SourcePPP, "LCP: send Echo-Request")
	echo.Count, echo.Until = 1200, at(3600)
	hello := event(&one, 60, trace.SourceL2TP, "send HELLO")
	hello.Session = ""
	gone := lns.TracedSession{Info: one, Began: at(0), Ended: at(3700), Cause: "echo-timeout", Dropped: 4, Events: []lns.TraceEvent{
		event(&one, 0, trace.SourceL2TP, "recv ICRQ session 1 serial 1"),
		event(&one, 0.012, trace.SourcePPP, "LCP: send Configure-Request id 1 mru 1492"),
		event(&one, 0.2, trace.SourceAAA, "RADIUS: Access-Accept from radius1 in 3 ms"),
		echo, hello,
		event(&one, 3700, trace.SourceLNS, "cause echo-timeout: \x1b[2J"),
	}}
	alive := one
	alive.ID = "lns1-00000007-00000009"
	now := lns.TracedSession{Info: alive, Began: at(4000), Events: []lns.TraceEvent{event(&alive, 4000, trace.SourceL2TP, "recv ICRQ session 9 serial 9")}}
	refused := lns.TracedSession{
		Info:  lns.SessionInfo{Local: one.Local, Peer: one.Peer, Profile: "north", Tunnel: 17, CallingStation: "line 9"},
		Began: at(5), Ended: at(5), Cause: "busy",
	}
	node.AddTrace(gone, now, refused)
	return node
}

func TestTraceOutput(t *testing.T) {
	address := serve(t, traceSample())
	for name, args := range map[string][]string{
		"trace":         {"session", "trace", "user1@example.net", "--history"},
		"trace_json":    {"session", "trace", "lns1-00000007-00000009", "--history", "-o", "json"},
		"trace_refused": {"session", "trace", "--calling", "line 9", "--history"},
		"help_trace":    {"session", "trace", "--help"},
	} {
		r := lnsctl(t, "", func(*app) { t.Setenv("CULVERT_ADDRESS", address) }, args...)
		if r.code != exitOK || r.err != "" {
			t.Errorf("%s: exit status %d, %s", name, r.code, r.err)
		}
		golden(t, name, r.out)
		if strings.Contains(r.out, "\x1b") {
			t.Errorf("%s: the terminal is steered", name)
		}
	}
}

func TestTraceUsage(t *testing.T) {
	play(t, serve(t, traceSample()), nil, []step{
		{"session trace", exitUsage, "", "name a subscriber"},
		{"session trace alice --user bob", exitUsage, "", "name the subscriber once"},
		{"session trace alice --limit=-1", exitUsage, "", "negative"},
		{"session trace nobody --history", exitNotFound, "", "nothing is known of such a session"},
		{"session trace user1@example.net --history -n 1", exitOK, "alive", ""},
	})
}

// What happens is printed as it happens, until it is interrupted.
func TestTraceFollows(t *testing.T) {
	node := traceSample()
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		for !node.Traced() {
			time.Sleep(time.Millisecond)
		}
		for i := range 3 {
			e := lns.TraceEvent{
				At: opstest.Began, Until: opstest.Began, Session: fmt.Sprintf("lns1-00000007-0000000%d", 9-i/2), Local: "192.0.2.1:1701", Tunnel: 17,
				Event: trace.Event{Count: 1, Source: trace.SourcePPP, Direction: trace.Received, Text: fmt.Sprintf("LCP: recv news %d", i)},
			}
			node.PublishTrace(lns.TraceItem{Event: &e}, uint64(i))
		}
		time.Sleep(200 * time.Millisecond)
		stop()
	}()
	r := lnsctl(t, serve(t, node), func(a *app) { a.ctx, a.terminal = ctx, true }, "session", "trace", "user1@example.net", "-n", "1")
	if r.code != exitOK || r.err != "following; interrupt to end\n" {
		t.Errorf("exit status %d, %q", r.code, r.err)
	}
	for _, want := range []string{"LCP: recv news 0\n", "LCP: recv news 1\n", "session lns1-00000007-00000008\n", "events were lost here"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in %s", want, r.out)
		}
	}
}

// Whoever waits for a subscriber that nobody knows is told so.
func TestTraceOfNobody(t *testing.T) {
	node := opstest.NewNode()
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		for !node.Traced() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond)
		stop()
	}()
	r := lnsctl(t, serve(t, node), func(a *app) { a.ctx, a.terminal = ctx, true }, "session", "trace", "nobody")
	if r.code != exitOK || r.out != "" || r.err != "nothing is remembered that fits\nfollowing; interrupt to end\n" {
		t.Errorf("exit status %d, %q, %q", r.code, r.out, r.err)
	}
}

// What is followed is printed when it happens: an event that comes again has the time of its latest, so that no line
// is of a time before the line above it.
func TestTraceLineOfNow(t *testing.T) {
	first := time.Date(2026, 3, 1, 3, 12, 0, 0, time.Local)
	e := &culvertv1.TraceEvent{
		At: timestamppb.New(first), Until: timestamppb.New(first.Add(time.Minute)), Count: 3,
		Tunnel: &culvertv1.TunnelRef{Id: 7}, Source: culvertv1.TraceSource_TRACE_SOURCE_L2TP, Text: "send HELLO",
	}
	for now, want := range map[bool]string{
		true:  "  03:13:00.000  l2tp  tunnel 7: send HELLO  (3 times since 03:12:00.000)\n",
		false: "  03:12:00.000  l2tp  tunnel 7: send HELLO  (3 times, last 03:13:00.000)\n",
	} {
		var b strings.Builder
		if traceLine(&b, e, now); b.String() != want {
			t.Errorf("now %v: %q, want %q", now, b.String(), want)
		}
	}
}
