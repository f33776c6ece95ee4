package ops

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

func (s *sessionService) PlaceCall(ctx context.Context, req *culvertv1.PlaceCallRequest) (*culvertv1.PlaceCallResponse, error) {
	c := lns.OutgoingCall{
		LAC: req.GetLac(), Number: req.GetNumber(), SubAddress: req.GetSubAddress(),
		MinimumBPS: req.GetMinimumBps(), MaximumBPS: req.GetMaximumBps(),
	}
	if err := c.Validate(); err != nil {
		return nil, invalid("%v", err)
	}
	id, err := s.node.Call(ctx, c)
	switch {
	case errors.Is(err, lns.ErrNoWay):
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, lns.ErrCallRefused):
		return nil, status.Error(codes.Unavailable, err.Error())
	case err != nil:
		return nil, nodeError(err)
	}
	info, ok := s.node.SessionByID(id)
	if !ok {
		info = lns.SessionInfo{ID: id, Profile: c.LAC, State: "closing", CalledStation: c.Number, Outgoing: true}
	}
	return &culvertv1.PlaceCallResponse{Session: sessionProto(&info)}, nil
}
