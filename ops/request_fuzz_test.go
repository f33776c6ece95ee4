package ops

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"culvert/ops/opstest"
	culvertv1 "culvert/proto/culvert/v1"
)

// fuzzedStream is a stream with one request, whose client has gone already.
type fuzzedStream struct {
	ctx    context.Context
	decode func(any) error
	sent   int
}

func (s *fuzzedStream) SetHeader(metadata.MD) error  { return nil }
func (s *fuzzedStream) SendHeader(metadata.MD) error { return nil }
func (s *fuzzedStream) SetTrailer(metadata.MD)       {}
func (s *fuzzedStream) Context() context.Context     { return s.ctx }
func (s *fuzzedStream) RecvMsg(m any) error          { return s.decode(m) }
func (s *fuzzedStream) SendMsg(m any) error {
	s.sent++
	_, err := proto.Marshal(m.(proto.Message))
	return err
}

// FuzzRequests gives every method of the API whatever a client may send: the answer
// encodes, and an error has a code that says whose fault it is, never Internal or Unknown.
func FuzzRequests(f *testing.F) {
	encode := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	window, mru := uint32(8), uint32(70000)
	selector := &culvertv1.SessionSelector{User: "user1@example.net", Address: "100.64.0.1", Tunnel: &culvertv1.TunnelRef{Id: 17, Local: "192.0.2.1:1701"}}
	for _, c := range []struct {
		service, method uint8
		request         proto.Message
	}{
		{0, 1, &culvertv1.GetLACRequest{Name: "north"}},
		{0, 2, &culvertv1.AddLACRequest{Lac: &culvertv1.LAC{Name: "x", Prefixes: []string{"10.0.0.0/8", "::1"}, Window: &window, Address: "198.51.100.7"}}},
		{0, 3, &culvertv1.ChangeLACRequest{Lac: &culvertv1.LAC{Name: "north", Mru: &mru}}},
		{0, 4, &culvertv1.RemoveLACRequest{Name: "south"}},
		{1, 0, &culvertv1.ListTunnelsRequest{PageSize: 1, PageToken: "AAAAAGE"}},
		{1, 1, &culvertv1.GetTunnelRequest{Tunnel: &culvertv1.TunnelRef{Id: 17}}},
		{1, 2, &culvertv1.StopTunnelRequest{Tunnel: &culvertv1.TunnelRef{Id: 9}}},
		{2, 0, &culvertv1.ListSessionsRequest{Selector: selector, PageSize: 2}},
		{2, 2, &culvertv1.DisconnectSessionsRequest{Selector: selector}},
		{2, 3, &culvertv1.PlaceCallRequest{Lac: "north"}},
		{2, 5, &culvertv1.WatchEventsRequest{Selector: selector}},
		{2, 6, &culvertv1.TraceSessionsRequest{Selector: selector, MaxSessions: 5}},
		{3, 1, &culvertv1.DrainRequest{}},
		{4, 1, &culvertv1.MoveAddressesRequest{}},
	} {
		f.Add(c.service, c.method, encode(c.request))
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, service, method uint8, b []byte) {
		node := opstest.Sample(3)
		cfg := socketConfig(t)
		cfg = cfg.withDefaults()
		services := []struct {
			desc *grpc.ServiceDesc
			srv  any
		}{
			{&culvertv1.LACService_ServiceDesc, &lacService{node: node}},
			{&culvertv1.TunnelService_ServiceDesc, &tunnelService{node: node}},
			{&culvertv1.SessionService_ServiceDesc, &sessionService{node: node, stopping: make(chan struct{})}},
			{&culvertv1.NodeService_ServiceDesc, &nodeService{node: node, cfg: &cfg}},
			{&culvertv1.ClusterService_ServiceDesc, &clusterService{cfg: &cfg}},
		}
		s := services[int(service)%len(services)]
		decode := func(m any) error {
			if err := proto.Unmarshal(b, m.(proto.Message)); err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
			return nil
		}
		var err error
		if i := int(method) % (len(s.desc.Methods) + len(s.desc.Streams)); i < len(s.desc.Methods) {
			var answer any
			if answer, err = s.desc.Methods[i].Handler(s.srv, gone, decode, nil); err == nil {
				_, err = proto.Marshal(answer.(proto.Message))
			}
		} else {
			stream := &fuzzedStream{ctx: gone, decode: decode}
			if err = s.desc.Streams[i-len(s.desc.Methods)].Handler(s.srv, stream); stream.sent > 8 {
				t.Fatalf("%d messages for a client that has gone", stream.sent)
			}
		}
		if code := status.Code(err); code == codes.Unknown || code == codes.Internal {
			t.Fatalf("%s, method %d: %v", s.desc.ServiceName, method, err)
		}
	})
}
