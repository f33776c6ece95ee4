package ops

import (
	"context"
	"fmt"
	"slices"
	"time"

	culvertv1 "culvert/proto/culvert/v1"

	"culvert/lns"
)

// tunnelService is culvert.v1.TunnelService.
type tunnelService struct {
	culvertv1.UnimplementedTunnelServiceServer
	node Node
	// usage asks for what an SA has carried; nil where the node has no IPsec.
	usage func(ctx context.Context, mark uint32) (lns.SAUsage, error)
}

// usageTime bounds the wait for the key exchange daemon: a tunnel is shown without its SA's usage rather than not at all.
const usageTime = 3 * time.Second

func (s *tunnelService) ListTunnels(_ context.Context, req *culvertv1.ListTunnelsRequest) (*culvertv1.ListTunnelsResponse, error) {
	peer, err := parseAddr("peer", req.GetPeer())
	if err != nil {
		return nil, err
	}
	p, err := parsePage(req.GetPageSize(), req.GetPageToken(), &culvertv1.ListTunnelsRequest{Lac: req.GetLac(), Peer: req.GetPeer()})
	if err != nil {
		return nil, err
	}
	list := slices.DeleteFunc(s.node.Tunnels(), func(t lns.TunnelInfo) bool {
		return req.GetLac() != "" && t.Profile != req.GetLac() || peer.IsValid() && t.Peer.Addr().Unmap() != peer
	})
	slices.SortFunc(list, compareTunnels)
	resp := &culvertv1.ListTunnelsResponse{TotalSize: uint32(len(list))}
	list, resp.NextPageToken = cut(p, list, tunnelKey)
	for i := range list {
		resp.Tunnels = append(resp.Tunnels, tunnelProto(&list[i]))
	}
	return resp, nil
}

func (s *tunnelService) GetTunnel(ctx context.Context, req *culvertv1.GetTunnelRequest) (*culvertv1.GetTunnelResponse, error) {
	t, err := findTunnel("tunnel", req.GetTunnel(), s.node)
	if err != nil {
		return nil, err
	}
	p := tunnelProto(&t)
	if t.SA != nil && s.usage != nil {
		ctx, cancel := context.WithTimeout(ctx, usageTime)
		defer cancel()
		if u, err := s.usage(ctx, t.SA.Mark); err == nil {
			p.Ipsec.Usage = usageProto(&u)
		}
	}
	return &culvertv1.GetTunnelResponse{Tunnel: p}, nil
}

func (s *tunnelService) StopTunnel(_ context.Context, req *culvertv1.StopTunnelRequest) (*culvertv1.StopTunnelResponse, error) {
	why, err := reason(req.GetReason(), "stopped by operator")
	if err != nil {
		return nil, err
	}
	t, err := findTunnel("tunnel", req.GetTunnel(), s.node)
	if err != nil {
		return nil, err
	}
	if err := s.node.StopTunnel(t.Local, t.ID, why); err != nil {
		return nil, nodeError(err)
	}
	return &culvertv1.StopTunnelResponse{Tunnel: tunnelProto(&t)}, nil
}

func compareTunnels(a, b lns.TunnelInfo) int {
	if c := a.Local.Compare(b.Local); c != 0 {
		return c
	}
	return int(a.ID) - int(b.ID)
}

// tunnelKey sorts as compareTunnels does.
func tunnelKey(t *lns.TunnelInfo) string {
	return fmt.Sprintf("%02x%x%04x%04x", t.Local.Addr().BitLen(), t.Local.Addr().AsSlice(), t.Local.Port(), t.ID)
}
