package ops

import (
	"testing"

	"google.golang.org/grpc/codes"

	culvertv1 "culvert/proto/culvert/v1"
)

func TestRequestSpeed(t *testing.T) {
	_, conn := serveSample(t, 3)
	c := culvertv1.NewSessionServiceClient(conn)
	resp, err := c.RequestSpeed(t.Context(), &culvertv1.RequestSpeedRequest{Id: "lns1-00000007-00000001"})
	if err != nil {
		t.Fatal(err)
	}
	x := resp.GetSession()
	if l := x.GetAccessLine(); l.GetCircuitId() != "olt-7 eth 3/21" || len(l.GetValues()) != 4 || l.GetValues()[1].GetName() != "Actual-Data-Rate-Downstream" ||
		l.GetValues()[1].GetValue() != 80_000_000 || len(l.GetEncapsulation()) != 3 {
		t.Errorf("the line is %v", l)
	}
	if x.GetPrivateGroup() != "vrf-7" || x.GetCallErrors().GetCrc() != 17 || x.GetCallErrors().GetFraming() != 2 || x.GetSequencing().GetLost() != 12 {
		t.Errorf("the session is %v", x)
	}
	_, err = c.RequestSpeed(t.Context(), &culvertv1.RequestSpeedRequest{Id: "lns1-00000007-00000002"})
	wantStatus(t, err, codes.FailedPrecondition, "does not report its line's speed")
	_, err = c.RequestSpeed(t.Context(), &culvertv1.RequestSpeedRequest{Id: "x"})
	wantStatus(t, err, codes.NotFound, "no session")
	_, err = c.RequestSpeed(t.Context(), &culvertv1.RequestSpeedRequest{})
	wantStatus(t, err, codes.InvalidArgument, "id:")
}
