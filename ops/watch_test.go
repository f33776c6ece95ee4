package ops

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"culvert/lns"
	"culvert/ops/opstest"
	culvertv1 "culvert/proto/culvert/v1"
)

// watch begins a watch and waits until it has begun.
func watch(t *testing.T, conn *grpc.ClientConn, req *culvertv1.WatchEventsRequest) grpc.ServerStreamingClient[culvertv1.WatchEventsResponse] {
	t.Helper()
	stream, err := culvertv1.NewSessionServiceClient(conn).WatchEvents(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.Event != nil {
		t.Fatalf("first message: %v, %v", first, err)
	}
	return stream
}

func TestWatchFilters(t *testing.T) {
	node, conn := serveSample(t, 4)
	all, _, _ := node.Sessions(lns.SessionQuery{Limit: 100})
	up := func(i int) lns.Event { return lns.Event{At: opstest.Began, Kind: lns.EventSessionUp, Session: all[i]} }
	down := func(i int) lns.Event {
		return lns.Event{At: opstest.Began, Kind: lns.EventSessionDown, Cause: "echo-timeout", Session: all[i]}
	}
	tunnel := lns.Event{Kind: lns.EventTunnelDown, Cause: "local", Session: lns.SessionInfo{
		Local: all[0].Local, Peer: all[0].Peer, Tunnel: 17, Profile: "north"}}
	lost := lns.Event{Kind: lns.EventLost, Detail: "too slow"}
	events := []lns.Event{up(0), up(1), tunnel, down(1), down(0), lost}
	const (
		U = culvertv1.EventKind_EVENT_KIND_SESSION_UP
		D = culvertv1.EventKind_EVENT_KIND_SESSION_DOWN
		T = culvertv1.EventKind_EVENT_KIND_TUNNEL_DOWN
	)
	for name, c := range map[string]struct {
		req  *culvertv1.WatchEventsRequest
		want []culvertv1.EventKind
	}{
		"all":          {&culvertv1.WatchEventsRequest{}, []culvertv1.EventKind{U, U, T, D, D}},
		"lac":          {&culvertv1.WatchEventsRequest{Selector: &culvertv1.SessionSelector{Lac: "north"}}, []culvertv1.EventKind{U, T, D}},
		"user":         {&culvertv1.WatchEventsRequest{Selector: &culvertv1.SessionSelector{User: all[1].User}}, []culvertv1.EventKind{U, D}},
		"kind":         {&culvertv1.WatchEventsRequest{Kinds: []culvertv1.EventKind{D}}, []culvertv1.EventKind{D, D}},
		"kind and lac": {&culvertv1.WatchEventsRequest{Selector: &culvertv1.SessionSelector{Lac: "south"}, Kinds: []culvertv1.EventKind{D, T}}, []culvertv1.EventKind{D}},
		"tunnel": {&culvertv1.WatchEventsRequest{Selector: &culvertv1.SessionSelector{
			Tunnel: &culvertv1.TunnelRef{Local: "192.0.2.1:1701", Id: 17}}}, []culvertv1.EventKind{U, T, D}},
		"tunnel that is not there": {&culvertv1.WatchEventsRequest{Selector: &culvertv1.SessionSelector{
			Tunnel: &culvertv1.TunnelRef{Id: 99}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			stream := watch(t, conn, c.req)
			for _, e := range events {
				node.Publish(e)
			}
			// The lost event always comes, and comes last.
			for _, kind := range append(c.want, culvertv1.EventKind_EVENT_KIND_LOST) {
				resp, err := stream.Recv()
				if err != nil {
					t.Fatal(err)
				}
				if resp.Event.Kind != kind {
					t.Errorf("got %v, want %v", resp.Event, kind)
				}
			}
		})
	}
}

func TestWatchEventIsComplete(t *testing.T) {
	node, conn := serveSample(t, 1)
	stream := watch(t, conn, &culvertv1.WatchEventsRequest{})
	session, _ := node.SessionByID("lns1-00000007-00000001")
	node.Publish(lns.Event{At: opstest.Began, Kind: lns.EventSessionReject, Cause: "auth-rejected", Detail: "pay \xff first", Session: session})
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	e := resp.Event
	if !e.At.AsTime().Equal(opstest.Began) || e.Cause != "auth-rejected" || e.Detail != "pay \uFFFD first" || e.Session.Id != session.ID {
		t.Errorf("got %v", e)
	}
}

// TestWatchEnds: closing the server ends a watch instead of waiting for it,
// and a client that leaves is forgotten by the node.
func TestWatchEnds(t *testing.T) {
	node := opstest.Sample(1)
	cfg := socketConfig(t)
	cfg.Log = quiet()
	s, err := New(cfg, node)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	conn := connect(t, cfg.Socket)
	ctx, leave := context.WithCancel(t.Context())
	if stream, err := culvertv1.NewSessionServiceClient(conn).WatchEvents(ctx, &culvertv1.WatchEventsRequest{}); err != nil {
		t.Fatal(err)
	} else if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	leave()
	for deadline := time.Now().Add(5 * time.Second); node.Publish(lns.Event{}) != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the node still has a watcher that left")
		}
	}
	stream := watch(t, conn, &culvertv1.WatchEventsRequest{})
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("Close took %v", d)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.Unavailable, "stopping")
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
