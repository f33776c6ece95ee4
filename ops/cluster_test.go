package ops

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/ops/opstest"
	culvertv1 "culvert/proto/culvert/v1"
)

// someCluster is a cluster that says what it is told to.
type someCluster struct {
	status   ClusterStatus
	moved    []netip.AddrPort
	err      error
	to       string
	draining bool
}

func (c *someCluster) Status(context.Context) (ClusterStatus, error) { return c.status, c.err }

func (c *someCluster) MoveAll(_ context.Context, to string) ([]netip.AddrPort, error) {
	c.to = to
	return c.moved, c.err
}

func (c *someCluster) SetDraining(_ context.Context, on bool) error {
	c.draining = on
	return c.err
}

func TestCluster(t *testing.T) {
	local := netip.MustParseAddrPort("192.0.2.1:1701")
	c := &someCluster{
		status: ClusterStatus{Node: "lns1", Lease: 8 * time.Second, Promise: -1, Age: time.Second,
			Nodes:     []ClusterNode{{Name: "lns1", Member: true, Lease: 10 * time.Second, Answered: -1, Renewed: time.Second}},
			Addresses: []ServiceAddress{{Local: local, Owner: "lns1", Epoch: 2, Serving: true, Tunnels: 3, Sessions: -1}}},
		moved: []netip.AddrPort{local},
	}
	cfg := socketConfig(t)
	cfg.Cluster = c
	start(t, cfg, opstest.Sample(0))
	conn := connect(t, cfg.Socket)
	client := culvertv1.NewClusterServiceClient(conn)
	got, err := client.GetClusterStatus(t.Context(), &culvertv1.GetClusterStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s := got.GetStatus()
	n, a := s.GetNodes()[0], s.GetAddresses()[0]
	if s.GetLease().AsDuration() != 8*time.Second || s.Promise != nil || n.Answered != nil || n.GetRenewed().AsDuration() != time.Second ||
		a.GetTunnels() != 3 || a.Sessions != nil || !a.GetServing() || a.GetAddress() != local.String() {
		t.Errorf("status: %v", s)
	}
	moved, err := client.MoveAddresses(t.Context(), &culvertv1.MoveAddressesRequest{To: "lns2"})
	if err != nil || c.to != "lns2" || len(moved.GetMoved()) != 1 {
		t.Errorf("moved %v to %q, %v", moved, c.to, err)
	}
	if _, err := client.MoveAddresses(t.Context(), &culvertv1.MoveAddressesRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("to nowhere: %v", err)
	}
	node := culvertv1.NewNodeServiceClient(conn)
	for _, on := range []bool{true, false} {
		if on {
			_, err = node.Drain(t.Context(), &culvertv1.DrainRequest{})
		} else {
			_, err = node.Undrain(t.Context(), &culvertv1.UndrainRequest{})
		}
		if err != nil || c.draining != on {
			t.Errorf("drain %v: the cluster knows %v, %v", on, c.draining, err)
		}
	}
	c.err = errors.New("no")
	if _, err := client.MoveAddresses(t.Context(), &culvertv1.MoveAddressesRequest{To: "lns2"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a move that fails: %v", err)
	}
}

func TestNoCluster(t *testing.T) {
	cfg := socketConfig(t)
	start(t, cfg, opstest.Sample(0))
	client := culvertv1.NewClusterServiceClient(connect(t, cfg.Socket))
	if _, err := client.GetClusterStatus(t.Context(), &culvertv1.GetClusterStatusRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v", err)
	}
}
