package ops

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"culvert/lns"
	"culvert/lns/trace"
	"culvert/ops/opstest"
	culvertv1 "culvert/proto/culvert/v1"
)

func someTrace(i lns.SessionInfo, text string) lns.TracedSession {
	at := opstest.Began
	return lns.TracedSession{Info: i, Began: at, Ended: at.Add(time.Minute), Cause: "echo-timeout", Dropped: 3, Events: []lns.TraceEvent{{
		At: at, Until: at.Add(time.Second), Session: i.ID, Local: "192.0.2.1:1701", Tunnel: 17,
		Event: trace.Event{Count: 2, Source: trace.SourcePPP, Direction: trace.Sent, Text: text},
	}}}
}

func TestTraceSessions(t *testing.T) {
	node, conn := serveSample(t, 4)
	all, _, _ := node.Sessions(lns.SessionQuery{Limit: 100})
	node.AddTrace(someTrace(all[0], "one"), someTrace(all[1], "other"), someTrace(all[0], "two \xff"))
	c := culvertv1.NewSessionServiceClient(conn)
	sel := &culvertv1.SessionSelector{User: all[0].User}

	stream, err := c.TraceSessions(t.Context(), &culvertv1.TraceSessionsRequest{Selector: sel, MaxSessions: 1})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	x := first.GetSession()
	if e := x.GetEvents()[0]; x.GetSession().GetUser() != all[0].User || x.GetCause() != "echo-timeout" || x.GetDropped() != 3 ||
		!x.GetEnded().AsTime().Equal(opstest.Began.Add(time.Minute)) || e.GetText() != "two \uFFFD" || e.GetCount() != 2 ||
		e.GetSource() != culvertv1.TraceSource_TRACE_SOURCE_PPP || e.GetDirection() != culvertv1.TraceDirection_TRACE_DIRECTION_SENT ||
		e.GetTunnel().GetId() != 17 || !e.GetUntil().AsTime().Equal(opstest.Began.Add(time.Second)) {
		t.Errorf("got %v", x)
	}
	if mark, err := stream.Recv(); err != nil || mark.GetItem() != nil {
		t.Fatalf("got %v, %v, want the mark that all is new from here", mark, err)
	}
	ev := someTrace(all[0], "new").Events[0]
	node.PublishTrace(lns.TraceItem{Event: &ev}, 7)
	if r, err := stream.Recv(); err != nil || r.GetEvent().GetText() != "new" {
		t.Errorf("got %v, %v", r, err)
	}
	if r, err := stream.Recv(); err != nil || r.GetLost() != 7 {
		t.Errorf("got %v, %v, want that 7 were lost", r, err)
	}

	past, err := c.TraceSessions(t.Context(), &culvertv1.TraceSessionsRequest{Selector: sel, HistoryOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		if _, err := past.Recv(); err != nil {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d messages of history, want 2 and the end", n)
	}
}

func TestTraceRefusals(t *testing.T) {
	_, conn := serveSample(t, 1)
	for want, req := range map[string]*culvertv1.TraceSessionsRequest{
		"selector: is empty":                {},
		"max_sessions: 1001 is more than":   {Selector: &culvertv1.SessionSelector{User: "a"}, MaxSessions: 1001},
		"selector.address: \"x\" is not an": {Selector: &culvertv1.SessionSelector{Address: "x"}},
	} {
		stream, err := culvertv1.NewSessionServiceClient(conn).TraceSessions(t.Context(), req)
		if err == nil {
			_, err = stream.Recv()
		}
		wantStatus(t, err, codes.InvalidArgument, want)
	}
}

// Each source and direction of a trace has its number in the API.
func TestTraceNumbersAreComplete(t *testing.T) {
	for s := trace.SourceLNS; s <= trace.SourceIKE; s++ {
		if traceSources[s] == culvertv1.TraceSource_TRACE_SOURCE_UNSPECIFIED {
			t.Errorf("%v has no number", s)
		}
	}
	if len(traceSources) != len(culvertv1.TraceSource_name)-1 || len(traceDirections) != len(culvertv1.TraceDirection_name)-1 {
		t.Error("the API has numbers that nothing maps to")
	}
}
