package ops

import (
	"testing"

	"google.golang.org/grpc/codes"

	"culvert/aaa"
	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

func TestListSessions(t *testing.T) {
	_, conn := serveSample(t, 25)
	sessions := culvertv1.NewSessionServiceClient(conn)
	for name, c := range map[string]struct {
		req  *culvertv1.ListSessionsRequest
		want int
	}{
		"all":        {&culvertv1.ListSessionsRequest{}, 25},
		"by sevens":  {&culvertv1.ListSessionsRequest{PageSize: 7}, 25},
		"lac":        {&culvertv1.ListSessionsRequest{Selector: &culvertv1.SessionSelector{Lac: "south"}, PageSize: 5}, 12},
		"user":       {&culvertv1.ListSessionsRequest{Selector: &culvertv1.SessionSelector{User: "user7@example.net"}}, 1},
		"address":    {&culvertv1.ListSessionsRequest{Selector: &culvertv1.SessionSelector{Address: "100.64.0.7"}}, 1},
		"peer":       {&culvertv1.ListSessionsRequest{Selector: &culvertv1.SessionSelector{Peer: "198.51.100.7"}}, 13},
		"state":      {&culvertv1.ListSessionsRequest{States: []culvertv1.SessionState{culvertv1.SessionState_SESSION_STATE_AUTHENTICATING}}, 1},
		"two states": {&culvertv1.ListSessionsRequest{States: []culvertv1.SessionState{3, 5}, PageSize: 24}, 25},
		"tunnel": {&culvertv1.ListSessionsRequest{Selector: &culvertv1.SessionSelector{
			Tunnel: &culvertv1.TunnelRef{Local: "192.0.2.2:1701", Id: 17}}}, 12},
		"nobody": {&culvertv1.ListSessionsRequest{Selector: &culvertv1.SessionSelector{User: "nobody"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			last, n := "", 0
			for {
				resp, err := sessions.ListSessions(t.Context(), c.req)
				if err != nil {
					t.Fatal(err)
				}
				if int(resp.TotalSize) != c.want {
					t.Errorf("total %d, want %d", resp.TotalSize, c.want)
				}
				for _, s := range resp.Sessions {
					if s.Id <= last {
						t.Errorf("%s after %s", s.Id, last)
					}
					last = s.Id
					n++
				}
				if c.req.PageToken = resp.NextPageToken; c.req.PageToken == "" {
					break
				}
			}
			if n != c.want {
				t.Errorf("%d sessions, want %d", n, c.want)
			}
		})
	}
}

func TestListSessionsRefuses(t *testing.T) {
	_, conn := serveSample(t, 2)
	sessions := culvertv1.NewSessionServiceClient(conn)
	for name, c := range map[string]struct {
		sel  *culvertv1.SessionSelector
		code codes.Code
		word string
	}{
		"address": {&culvertv1.SessionSelector{Address: "100.64"}, codes.InvalidArgument, "selector.address"},
		"peer":    {&culvertv1.SessionSelector{Peer: "lac"}, codes.InvalidArgument, "selector.peer"},
		"tunnel":  {&culvertv1.SessionSelector{Tunnel: &culvertv1.TunnelRef{}}, codes.InvalidArgument, "selector.tunnel.id"},
		"twice":   {&culvertv1.SessionSelector{Tunnel: &culvertv1.TunnelRef{Id: 17}}, codes.FailedPrecondition, "local"},
		"gone":    {&culvertv1.SessionSelector{Tunnel: &culvertv1.TunnelRef{Id: 18}}, codes.NotFound, "18"},
	} {
		_, err := sessions.ListSessions(t.Context(), &culvertv1.ListSessionsRequest{Selector: c.sel})
		t.Run(name, func(t *testing.T) { wantStatus(t, err, c.code, c.word) })
	}
}

func TestGetSession(t *testing.T) {
	node, conn := serveSample(t, 4)
	sessions := culvertv1.NewSessionServiceClient(conn)
	resp, err := sessions.GetSession(t.Context(), &culvertv1.GetSessionRequest{Id: "lns1-00000007-00000002"})
	if err != nil {
		t.Fatal(err)
	}
	s := resp.Session
	if s.User != "user2@example.net" || s.Address != "100.64.0.2" || s.Counters.OutOctets != 4_700_000_001 ||
		s.AuthMethod != culvertv1.AuthMethod_AUTH_METHOD_CHAP || s.State != culvertv1.SessionState_SESSION_STATE_UP || s.Routes[0] != "10.20.0.0/24" {
		t.Errorf("got %v", s)
	}
	node.Add(nil, []lns.SessionInfo{{ID: "odd", User: "caf\xe9", State: "no such state"}})
	resp, err = sessions.GetSession(t.Context(), &culvertv1.GetSessionRequest{Id: "odd"})
	if err != nil {
		t.Fatalf("a name that is not UTF-8 breaks the call: %v", err)
	}
	if s := resp.Session; s.User != "caf\uFFFD" || s.State != 0 || s.Since != nil || s.Address != "" || s.Peer != "" {
		t.Errorf("got %v", s)
	}
	_, err = sessions.GetSession(t.Context(), &culvertv1.GetSessionRequest{})
	wantStatus(t, err, codes.InvalidArgument, "id")
	_, err = sessions.GetSession(t.Context(), &culvertv1.GetSessionRequest{Id: "gone"})
	wantStatus(t, err, codes.NotFound, "id", "gone")
}

func TestDisconnectSessions(t *testing.T) {
	node, conn := serveSample(t, 10)
	sessions := culvertv1.NewSessionServiceClient(conn)
	disconnect := func(req *culvertv1.DisconnectSessionsRequest) (*culvertv1.DisconnectSessionsResponse, error) {
		return sessions.DisconnectSessions(t.Context(), req)
	}
	north := &culvertv1.SessionSelector{Lac: "north"}
	resp, err := disconnect(&culvertv1.DisconnectSessionsRequest{Selector: north, DryRun: true})
	if err != nil || resp.Count != 5 || len(resp.Sample) != 5 || len(node.Ended()) != 0 {
		t.Fatalf("dry run: %v, %v, ended %v", resp, err, node.Ended())
	}
	_, err = disconnect(&culvertv1.DisconnectSessionsRequest{Selector: north, MaxSessions: 4})
	wantStatus(t, err, codes.FailedPrecondition, "max_sessions", "5")
	_, err = disconnect(&culvertv1.DisconnectSessionsRequest{})
	wantStatus(t, err, codes.InvalidArgument, "selector", "empty")
	_, err = disconnect(&culvertv1.DisconnectSessionsRequest{Selector: &culvertv1.SessionSelector{User: "nobody"}})
	wantStatus(t, err, codes.NotFound, "selector")
	if len(node.Ended()) != 0 {
		t.Fatalf("refusals ended %v", node.Ended())
	}
	resp, err = disconnect(&culvertv1.DisconnectSessionsRequest{Selector: north, MaxSessions: 5})
	if err != nil || resp.Count != 5 {
		t.Fatalf("got %v, %v", resp, err)
	}
	for _, e := range node.Ended() {
		if e.Cause != aaa.CauseAdminReset || e.Detail != "disconnected by operator" {
			t.Errorf("ended %v", e)
		}
	}
	resp, err = disconnect(&culvertv1.DisconnectSessionsRequest{Selector: &culvertv1.SessionSelector{Address: "100.64.0.2"}, Reason: "abuse"})
	if err != nil || resp.Count != 1 || node.Ended()[5].Detail != "abuse" || node.Ended()[5].Session != "lns1-00000007-00000002" {
		t.Errorf("by address: %v, %v, %v", resp, err, node.Ended())
	}
}
