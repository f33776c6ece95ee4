package ops

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/lns"
	"culvert/lns/trace"
	culvertv1 "culvert/proto/culvert/v1"
)

// maxTraced bounds the sessions of one trace.
const maxTraced = 1000

type traceStream = grpc.ServerStreamingServer[culvertv1.TraceSessionsResponse]

// TraceSessions tells what sessions have done, and then what they do, until the
// client has enough or the server stops.
func (s *sessionService) TraceSessions(req *culvertv1.TraceSessionsRequest, stream traceStream) error {
	sel, err := parseSelector(req.GetSelector(), nil)
	if err != nil {
		return err
	}
	if sel == (lns.Selector{}) {
		return invalid("selector: is empty, which would be every session; set id, user, calling_station, address, lac, tunnel or peer")
	}
	if req.GetMaxSessions() > maxTraced {
		return invalid("max_sessions: %d is more than %d", req.GetMaxSessions(), maxTraced)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	t := s.node.Trace(ctx, lns.TraceQuery{Selector: sel, Limit: int(req.GetMaxSessions()), Follow: !req.GetHistoryOnly()})
	for i := range t.Past {
		if err := stream.Send(tracedProto(&t.Past[i])); err != nil {
			return err
		}
	}
	if req.GetHistoryOnly() {
		return nil
	}
	if err := stream.Send(&culvertv1.TraceSessionsResponse{}); err != nil {
		return err
	}
	return s.forwardTrace(ctx, t, stream)
}

func (s *sessionService) forwardTrace(ctx context.Context, t *lns.Trace, stream traceStream) error {
	for {
		select {
		case <-s.stopping:
			return status.Error(codes.Unavailable, "the node is stopping; trace again when it is back")
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case item := <-t.Live:
			if err := stream.Send(traceItemProto(&item)); err != nil {
				return err
			}
			if n := t.Lost(); n > 0 {
				if err := stream.Send(&culvertv1.TraceSessionsResponse{Item: &culvertv1.TraceSessionsResponse_Lost{Lost: n}}); err != nil {
					return err
				}
			}
		}
	}
}

func traceItemProto(i *lns.TraceItem) *culvertv1.TraceSessionsResponse {
	if i.Session != nil {
		return tracedProto(i.Session)
	}
	return &culvertv1.TraceSessionsResponse{Item: &culvertv1.TraceSessionsResponse_Event{Event: traceEventProto(i.Event)}}
}

func tracedProto(x *lns.TracedSession) *culvertv1.TraceSessionsResponse {
	p := &culvertv1.TracedSession{
		Session: sessionProto(&x.Info), Began: timestamp(x.Began), Ended: timestamp(x.Ended),
		Cause: x.Cause, Dropped: uint32(x.Dropped),
	}
	for i := range x.Events {
		p.Events = append(p.Events, traceEventProto(&x.Events[i]))
	}
	return &culvertv1.TraceSessionsResponse{Item: &culvertv1.TraceSessionsResponse_Session{Session: p}}
}

var (
	traceSources = map[trace.Source]culvertv1.TraceSource{
		trace.SourceLNS:  culvertv1.TraceSource_TRACE_SOURCE_LNS,
		trace.SourceL2TP: culvertv1.TraceSource_TRACE_SOURCE_L2TP,
		trace.SourcePPP:  culvertv1.TraceSource_TRACE_SOURCE_PPP,
		trace.SourceAAA:  culvertv1.TraceSource_TRACE_SOURCE_AAA,
		trace.SourceIKE:  culvertv1.TraceSource_TRACE_SOURCE_IKE,
	}
	traceDirections = map[trace.Direction]culvertv1.TraceDirection{
		trace.Sent:     culvertv1.TraceDirection_TRACE_DIRECTION_SENT,
		trace.Received: culvertv1.TraceDirection_TRACE_DIRECTION_RECEIVED,
	}
)

func traceEventProto(e *lns.TraceEvent) *culvertv1.TraceEvent {
	return &culvertv1.TraceEvent{
		At: timestamp(e.At), Until: timestamp(e.Until), Count: e.Count, SessionId: e.Session,
		Tunnel: &culvertv1.TunnelRef{Local: e.Local, Id: uint32(e.Tunnel)},
		Source: traceSources[e.Source], Direction: traceDirections[e.Direction], Text: text(e.Text),
	}
}
