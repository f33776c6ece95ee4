package ops

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

func (s *sessionService) RequestSpeed(_ context.Context, req *culvertv1.RequestSpeedRequest) (*culvertv1.RequestSpeedResponse, error) {
	if req.GetId() == "" {
		return nil, invalid("id: say which session is meant, by its Acct-Session-Id")
	}
	info, ok := s.node.SessionByID(req.GetId())
	if !ok {
		return nil, status.Errorf(codes.NotFound, "id: there is no session %q on this node now", req.GetId())
	}
	if err := s.node.RequestSpeed(req.GetId()); err != nil {
		if errors.Is(err, lns.ErrNoSpeeds) {
			return nil, status.Error(codes.FailedPrecondition, err.Error())
		}
		return nil, nodeError(err)
	}
	return &culvertv1.RequestSpeedResponse{Session: sessionProto(&info)}, nil
}
