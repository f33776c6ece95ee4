package ops

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	culvertv1 "culvert/proto/culvert/v1"
)

// Cluster is what ops needs of the node's part in a cluster. All methods are
// safe for concurrent use.
type Cluster interface {
	// Status says what the node knows of the cluster.
	Status(ctx context.Context) (ClusterStatus, error)
	// MoveAll moves all addresses to another node and says which went; the
	// error is for the operator.
	MoveAll(ctx context.Context, to string) ([]netip.AddrPort, error)
	// SetDraining says whether the node takes addresses over.
	SetDraining(ctx context.Context, on bool) error
}

// ClusterStatus is the cluster as one node sees it.
type ClusterStatus struct {
	Node string
	// Lease is what is left of the lease, Promise of the others' promises
	// not to claim; Promise is negative where nobody could.
	Lease, Promise    time.Duration
	Stopped, Draining bool
	// Database is why the database does not answer, if it does not.
	Database  string
	Age       time.Duration
	Nodes     []ClusterNode
	Addresses []ServiceAddress
}

// ClusterNode is a node of the cluster. Answered and Renewed are how long ago
// it did, negative where that is not known.
type ClusterNode struct {
	Name, Address            string
	Epoch                    uint64
	Member, Draining         bool
	Lease, Answered, Renewed time.Duration
}

// ServiceAddress is an address that LACs call. Tunnels and Sessions are
// negative where they are not known.
type ServiceAddress struct {
	Local             netip.AddrPort
	Owner             string
	Epoch             uint64
	Serving           bool
	Tunnels, Sessions int
}

// clusterService is culvert.v1.ClusterService.
type clusterService struct {
	culvertv1.UnimplementedClusterServiceServer
	cfg *Config
}

func (s *clusterService) cluster() (Cluster, error) {
	if s.cfg.Cluster == nil {
		return nil, status.Error(codes.FailedPrecondition, "this node is in no cluster; its configuration has no section cluster")
	}
	return s.cfg.Cluster, nil
}

func (s *clusterService) GetClusterStatus(ctx context.Context, _ *culvertv1.GetClusterStatusRequest) (*culvertv1.GetClusterStatusResponse, error) {
	c, err := s.cluster()
	if err != nil {
		return nil, err
	}
	st, err := c.Status(ctx)
	if err != nil {
		return nil, nodeError(err)
	}
	return &culvertv1.GetClusterStatusResponse{Status: clusterStatus(&st)}, nil
}

func (s *clusterService) MoveAddresses(ctx context.Context, req *culvertv1.MoveAddressesRequest) (*culvertv1.MoveAddressesResponse, error) {
	c, err := s.cluster()
	if err != nil {
		return nil, err
	}
	if req.GetTo() == "" {
		return nil, invalid("to: name the node that gets the addresses")
	}
	moved, err := c.MoveAll(ctx, req.GetTo())
	resp := &culvertv1.MoveAddressesResponse{}
	for _, a := range moved {
		resp.Moved = append(resp.Moved, a.String())
	}
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "%v (moved before that: %d addresses)", err, len(moved))
	}
	return resp, nil
}

func clusterStatus(s *ClusterStatus) *culvertv1.ClusterStatus {
	p := &culvertv1.ClusterStatus{
		Node: s.Node, Lease: durationpb.New(s.Lease), Promise: known(s.Promise), Stopped: s.Stopped,
		Draining: s.Draining, Database: s.Database, Age: durationpb.New(s.Age),
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		p.Nodes = append(p.Nodes, &culvertv1.ClusterNode{
			Name: n.Name, Epoch: n.Epoch, Address: n.Address, Member: n.Member, Draining: n.Draining,
			Lease: durationpb.New(n.Lease), Answered: known(n.Answered), Renewed: known(n.Renewed),
		})
	}
	for i := range s.Addresses {
		a := &s.Addresses[i]
		p.Addresses = append(p.Addresses, &culvertv1.ServiceAddress{
			Address: a.Local.String(), Owner: a.Owner, Epoch: a.Epoch, Serving: a.Serving,
			Tunnels: counted(a.Tunnels), Sessions: counted(a.Sessions),
		})
	}
	return p
}

// known is unset for what is not known.
func known(d time.Duration) *durationpb.Duration {
	if d < 0 {
		return nil
	}
	return durationpb.New(d)
}

func counted(n int) *uint32 {
	if n < 0 {
		return nil
	}
	v := uint32(n)
	return &v
}
