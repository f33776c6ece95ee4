package ops

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

func TestPlaceCall(t *testing.T) {
	node, conn := serveSample(t, 1)
	c := culvertv1.NewSessionServiceClient(conn)
	resp, err := c.PlaceCall(t.Context(), &culvertv1.PlaceCallRequest{Lac: "north", Number: "0815"})
	if err != nil {
		t.Fatal(err)
	}
	if s := resp.GetSession(); !s.GetOutgoing() || s.GetCalledStation() != "0815" || s.GetState() != culvertv1.SessionState_SESSION_STATE_DIALLING {
		t.Errorf("the session is %v", s)
	}
	for _, x := range []struct {
		req  *culvertv1.PlaceCallRequest
		code codes.Code
		says string
	}{
		{&culvertv1.PlaceCallRequest{Number: "1"}, codes.InvalidArgument, "lac:"},
		{&culvertv1.PlaceCallRequest{Lac: "north"}, codes.InvalidArgument, "number:"},
		{&culvertv1.PlaceCallRequest{Lac: "west", Number: "1"}, codes.NotFound, "west"},
		{&culvertv1.PlaceCallRequest{Lac: "south", Number: "1"}, codes.FailedPrecondition, "set its address"},
	} {
		_, err := c.PlaceCall(t.Context(), x.req)
		wantStatus(t, err, x.code, x.says)
	}
	node.Fail(fmt.Errorf("%w: this LNS is draining", lns.ErrCallRefused))
	_, err = c.PlaceCall(t.Context(), &culvertv1.PlaceCallRequest{Lac: "north", Number: "1"})
	wantStatus(t, err, codes.Unavailable, "draining")
	node.Fail(errors.New("boom"))
	_, err = c.PlaceCall(t.Context(), &culvertv1.PlaceCallRequest{Lac: "north", Number: "1"})
	wantStatus(t, err, codes.Internal, "boom")
}
