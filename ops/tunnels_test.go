package ops

import (
	"testing"

	"google.golang.org/grpc/codes"

	culvertv1 "culvert/proto/culvert/v1"
)

func TestListTunnels(t *testing.T) {
	_, conn := serveSample(t, 2)
	tunnels := culvertv1.NewTunnelServiceClient(conn)
	for name, c := range map[string]struct {
		req  *culvertv1.ListTunnelsRequest
		want []uint32
	}{
		"all":     {&culvertv1.ListTunnelsRequest{}, []uint32{9, 17, 17}},
		"by lac":  {&culvertv1.ListTunnelsRequest{Lac: "north"}, []uint32{9, 17}},
		"by peer": {&culvertv1.ListTunnelsRequest{Peer: "203.0.113.9"}, []uint32{17}},
		"mapped":  {&culvertv1.ListTunnelsRequest{Peer: "::ffff:203.0.113.9"}, []uint32{17}},
		"none":    {&culvertv1.ListTunnelsRequest{Lac: "north", Peer: "203.0.113.9"}, nil},
		"in ones": {&culvertv1.ListTunnelsRequest{PageSize: 1}, []uint32{9, 17, 17}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []uint32
			for {
				resp, err := tunnels.ListTunnels(t.Context(), c.req)
				if err != nil {
					t.Fatal(err)
				}
				if int(resp.TotalSize) != len(c.want) {
					t.Errorf("total %d, want %d", resp.TotalSize, len(c.want))
				}
				for _, x := range resp.Tunnels {
					got = append(got, x.Id)
				}
				if c.req.PageToken = resp.NextPageToken; c.req.PageToken == "" {
					break
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("got %v, want %v", got, c.want)
				}
			}
		})
	}
	_, err := tunnels.ListTunnels(t.Context(), &culvertv1.ListTunnelsRequest{Peer: "x"})
	wantStatus(t, err, codes.InvalidArgument, "peer", "192.0.2.1")
}

func TestGetTunnel(t *testing.T) {
	_, conn := serveSample(t, 2)
	tunnels := culvertv1.NewTunnelServiceClient(conn)
	get := func(local string, id uint32) (*culvertv1.Tunnel, error) {
		resp, err := tunnels.GetTunnel(t.Context(), &culvertv1.GetTunnelRequest{Tunnel: &culvertv1.TunnelRef{Local: local, Id: id}})
		return resp.GetTunnel(), err
	}
	x, err := get("192.0.2.2:1701", 17)
	if err != nil || x.PeerName != "lac-s1" || x.State != culvertv1.TunnelState_TUNNEL_STATE_ESTABLISHED {
		t.Errorf("got %v, %v", x, err)
	}
	if x, err = get("", 9); err != nil || x.PeerName != "lac-n2" {
		t.Errorf("by id alone: %v, %v", x, err)
	}
	_, err = get("", 17)
	wantStatus(t, err, codes.FailedPrecondition, "local")
	_, err = get("192.0.2.9:1701", 17)
	wantStatus(t, err, codes.NotFound, "192.0.2.9:1701/17")
	_, err = get("192.0.2.9", 17)
	wantStatus(t, err, codes.InvalidArgument, "tunnel.local", "192.0.2.1:1701")
	_, err = get("", 0)
	wantStatus(t, err, codes.InvalidArgument, "tunnel.id")
	_, err = get("", 65536+9)
	wantStatus(t, err, codes.InvalidArgument, "tunnel.id")
}

func TestStopTunnel(t *testing.T) {
	node, conn := serveSample(t, 2)
	tunnels := culvertv1.NewTunnelServiceClient(conn)
	req := &culvertv1.StopTunnelRequest{Tunnel: &culvertv1.TunnelRef{Id: 9}, Reason: "card swap"}
	if _, err := tunnels.StopTunnel(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if e := node.Ended(); len(e) != 1 || e[0].Tunnel != 9 || e[0].Detail != "card swap" {
		t.Errorf("ended %v", e)
	}
	_, err := tunnels.StopTunnel(t.Context(), req)
	wantStatus(t, err, codes.NotFound, "9")
	req.Reason = "two\nlines"
	_, err = tunnels.StopTunnel(t.Context(), req)
	wantStatus(t, err, codes.InvalidArgument, "reason")
}
