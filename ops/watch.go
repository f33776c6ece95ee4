package ops

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

// WatchEvents sends events until the client has enough or the server stops.
func (s *sessionService) WatchEvents(req *culvertv1.WatchEventsRequest, stream grpc.ServerStreamingServer[culvertv1.WatchEventsResponse]) error {
	// A tunnel to be watched need not be there yet.
	sel, err := parseSelector(req.GetSelector(), nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	events := s.node.Watch(ctx)
	if err := stream.Send(&culvertv1.WatchEventsResponse{}); err != nil {
		return err
	}
	return s.forward(ctx, events, stream, func(e *lns.Event) bool {
		if e.Kind == lns.EventLost {
			return true
		}
		kinds := req.GetKinds()
		return matches(&sel, e) && (len(kinds) == 0 || slices.Contains(kinds, eventKinds[e.Kind]))
	})
}

func (s *sessionService) forward(ctx context.Context, events <-chan lns.Event, stream grpc.ServerStreamingServer[culvertv1.WatchEventsResponse], wanted func(*lns.Event) bool) error {
	for {
		select {
		case <-s.stopping:
			return status.Error(codes.Unavailable, "the node is stopping; watch again when it is back")
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case e, ok := <-events:
			if !ok {
				return status.Error(codes.Unavailable, "the node is stopping; watch again when it is back")
			}
			if !wanted(&e) {
				continue
			}
			if err := stream.Send(&culvertv1.WatchEventsResponse{Event: eventProto(&e)}); err != nil {
				return err
			}
		}
	}
}
