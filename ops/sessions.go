package ops

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/aaa"
	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

// sessionService is culvert.v1.SessionService.
type sessionService struct {
	culvertv1.UnimplementedSessionServiceServer
	node Node
	// stopping is closed when the server is: watches end.
	stopping <-chan struct{}
}

// sampleSize is how many of the ended sessions a disconnect shows.
const sampleSize = 20

func (s *sessionService) ListSessions(_ context.Context, req *culvertv1.ListSessionsRequest) (*culvertv1.ListSessionsResponse, error) {
	filter := &culvertv1.ListSessionsRequest{Selector: req.GetSelector(), States: req.GetStates()}
	p, err := parsePage(req.GetPageSize(), req.GetPageToken(), filter)
	if err != nil {
		return nil, err
	}
	sel, err := parseSelector(req.GetSelector(), s.node)
	if err != nil {
		return nil, err
	}
	list, total, more := s.node.Sessions(lns.SessionQuery{
		Selector: sel, States: stateNames(req.GetStates()), After: p.after, Limit: p.size,
	})
	resp := &culvertv1.ListSessionsResponse{TotalSize: uint32(total), Sessions: sessionProtos(list)}
	if more {
		resp.NextPageToken = p.token(list[len(list)-1].ID)
	}
	return resp, nil
}

func (s *sessionService) GetSession(_ context.Context, req *culvertv1.GetSessionRequest) (*culvertv1.GetSessionResponse, error) {
	if req.GetId() == "" {
		return nil, invalid("id: say which session is meant, by its Acct-Session-Id")
	}
	info, ok := s.node.SessionByID(req.GetId())
	if !ok {
		return nil, status.Errorf(codes.NotFound, "id: there is no session %q on this node now", req.GetId())
	}
	return &culvertv1.GetSessionResponse{Session: sessionProto(&info)}, nil
}

func (s *sessionService) DisconnectSessions(_ context.Context, req *culvertv1.DisconnectSessionsRequest) (*culvertv1.DisconnectSessionsResponse, error) {
	why, err := reason(req.GetReason(), "disconnected by operator")
	if err != nil {
		return nil, err
	}
	sel, err := parseSelector(req.GetSelector(), s.node)
	if err != nil {
		return nil, err
	}
	if sel == (lns.Selector{}) {
		return nil, invalid("selector: is empty, which would be every session; set id, user, address, lac, tunnel or peer")
	}
	list, total, _ := s.node.Sessions(lns.SessionQuery{Selector: sel, Limit: sampleSize})
	if err := checkCount(total, req.GetMaxSessions()); err != nil {
		return nil, err
	}
	resp := &culvertv1.DisconnectSessionsResponse{Count: uint32(total), Sample: sessionProtos(list)}
	if req.GetDryRun() {
		return resp, nil
	}
	n, err := s.node.Disconnect(sel, aaa.CauseAdminReset, why)
	if err != nil {
		return nil, nodeError(err)
	}
	resp.Count = uint32(n)
	return resp, nil
}

// stateNames are the node's names of states.
func stateNames(states []culvertv1.SessionState) []string {
	var list []string
	for name, s := range sessionStates {
		if slices.Contains(states, s) {
			list = append(list, name)
		}
	}
	return list
}

func checkCount(n int, most uint32) error {
	if n == 0 {
		return status.Error(codes.NotFound, "selector: names no session on this node now")
	}
	if most > 0 && n > int(most) {
		return status.Errorf(codes.FailedPrecondition,
			"max_sessions: the selector names %d sessions, more than %d; none was disconnected: narrow the selector or raise max_sessions", n, most)
	}
	return nil
}

func sessionProtos(list []lns.SessionInfo) []*culvertv1.Session {
	out := make([]*culvertv1.Session, len(list))
	for i := range list {
		out[i] = sessionProto(&list[i])
	}
	return out
}
