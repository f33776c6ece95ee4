package ops

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

// ipsecService is culvert.v1.IPsecService.
type ipsecService struct {
	culvertv1.UnimplementedIPsecServiceServer
	node Node
	src  *Sources
}

// uses refuses every call on a node without IPsec.
func (s *ipsecService) uses() error {
	if s.src.IPsec == nil || s.src.SAs == nil || s.src.IKETroubles == nil {
		return status.Error(codes.FailedPrecondition, "this node uses no IPsec: no LAC profile of its configuration has a section ipsec, and ipsec.enable is not set")
	}
	return nil
}

func (s *ipsecService) GetIPsecStatus(context.Context, *culvertv1.GetIPsecStatusRequest) (*culvertv1.GetIPsecStatusResponse, error) {
	if err := s.uses(); err != nil {
		return nil, err
	}
	st := s.src.IPsec()
	p := &culvertv1.IPsecStatus{
		Connected: st.Connected, Version: st.Version, Rekeyings: st.Rekeyed,
		Ends: map[string]uint64{}, Failures: map[string]uint64{},
	}
	for cause, n := range st.Gone {
		p.Ends[string(cause)] = n
	}
	for reason, n := range st.Failures {
		p.Failures[string(reason)] = n
	}
	clear := map[string]uint32{}
	for _, t := range s.node.Tunnels() {
		if t.SA == nil {
			clear[t.Profile]++
		}
	}
	for _, l := range s.node.LACs() {
		if mode := l.IPsecMode(); mode != lns.IPsecNever {
			p.Lacs = append(p.Lacs, &culvertv1.IPsecLAC{Name: l.Name, Mode: string(mode), Sas: uint32(st.SAs[l.Name]), InClear: clear[l.Name]})
		}
	}
	slices.SortFunc(p.Lacs, func(a, b *culvertv1.IPsecLAC) int { return strings.Compare(a.GetName(), b.GetName()) })
	return &culvertv1.GetIPsecStatusResponse{Status: p}, nil
}

func (s *ipsecService) ListSAs(_ context.Context, req *culvertv1.ListSAsRequest) (*culvertv1.ListSAsResponse, error) {
	if err := s.uses(); err != nil {
		return nil, err
	}
	peer, err := parseAddr("peer", req.GetPeer())
	if err != nil {
		return nil, err
	}
	p, err := parsePage(req.GetPageSize(), req.GetPageToken(), &culvertv1.ListSAsRequest{Lac: req.GetLac(), Peer: req.GetPeer()})
	if err != nil {
		return nil, err
	}
	list := slices.DeleteFunc(s.src.SAs(), func(sa lns.SA) bool { return !fits(req.GetLac(), peer, sa.Profile, sa.Remote) })
	slices.SortFunc(list, func(a, b lns.SA) int { return strings.Compare(saPageKey(&a), saPageKey(&b)) })
	resp := &culvertv1.ListSAsResponse{TotalSize: uint32(len(list))}
	list, resp.NextPageToken = cut(p, list, saPageKey)
	tunnels := s.tunnelsOf()
	for i := range list {
		sa := &list[i]
		resp.Sas = append(resp.Sas, &culvertv1.SecurityAssociation{Lac: sa.Profile, Sa: saProto(sa), Tunnels: tunnels[ofSA(sa)]})
	}
	return resp, nil
}

// saPageKey sorts by mark and, where the kernel gives none, by charon's number.
func saPageKey(sa *lns.SA) string { return fmt.Sprintf("%08x%08x%08x", sa.Mark, sa.IKEID, sa.ChildID) }

// saRef names an SA: its mark or, where the kernel gives none, its profile, identity and address.
type saRef struct {
	mark              uint32
	profile, identity string
	peer              netip.Addr
}

func ofSA(sa *lns.SA) saRef {
	if sa.Mark != 0 {
		return saRef{mark: sa.Mark}
	}
	return saRef{0, sa.Profile, sa.Identity, sa.Remote.Addr()}
}

// tunnelsOf counts the tunnels in each SA.
func (s *ipsecService) tunnelsOf() map[saRef]uint32 {
	n := map[saRef]uint32{}
	for _, t := range s.node.Tunnels() {
		if t.SA != nil {
			n[ofSA(t.SA)]++
		}
	}
	return n
}

// find finds the SA of a mark.
func (s *ipsecService) find(mark uint32) (*culvertv1.SecurityAssociation, error) {
	if err := s.uses(); err != nil {
		return nil, err
	}
	if mark == 0 {
		return nil, invalid("mark: name the SA by its mark, as `lnsctl ipsec list` shows it; where the kernel gives no marks, use swanctl")
	}
	for _, sa := range s.src.SAs() {
		if sa.Mark == mark {
			return &culvertv1.SecurityAssociation{Lac: sa.Profile, Sa: saProto(&sa), Tunnels: s.tunnelsOf()[ofSA(&sa)]}, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "no SA has the mark %d", mark)
}

func (s *ipsecService) RekeySA(ctx context.Context, req *culvertv1.RekeySARequest) (*culvertv1.RekeySAResponse, error) {
	sa, err := s.find(req.GetMark())
	if err != nil {
		return nil, err
	}
	if err := s.src.RekeySA(ctx, req.GetMark()); err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	return &culvertv1.RekeySAResponse{Sa: sa}, nil
}

func (s *ipsecService) StopSA(_ context.Context, req *culvertv1.StopSARequest) (*culvertv1.StopSAResponse, error) {
	why, err := reason(req.GetReason(), "ended by operator")
	if err != nil {
		return nil, err
	}
	sa, err := s.find(req.GetMark())
	if err != nil {
		return nil, err
	}
	s.src.EndSA(req.GetMark(), why)
	return &culvertv1.StopSAResponse{Sa: sa}, nil
}

func (s *ipsecService) ListIKEFailures(_ context.Context, req *culvertv1.ListIKEFailuresRequest) (*culvertv1.ListIKEFailuresResponse, error) {
	if err := s.uses(); err != nil {
		return nil, err
	}
	peer, err := parseAddr("peer", req.GetPeer())
	if err != nil {
		return nil, err
	}
	resp := &culvertv1.ListIKEFailuresResponse{}
	for _, x := range s.src.IKETroubles() {
		if !fits(req.GetLac(), peer, x.Profile, x.Remote) {
			continue
		}
		p := &culvertv1.IKEFailure{
			Lac: x.Profile, Identity: text(x.Identity), Reason: string(x.Reason), Detail: text(x.Detail),
			Count: uint32(x.Count), First: timestamp(x.First), Last: timestamp(x.At),
		}
		if x.Remote.IsValid() {
			p.Remote = x.Remote.Addr().Unmap().String() // the port is the attempt's
		}
		resp.Failures = append(resp.Failures, p)
	}
	return resp, nil
}

// fits says whether something of a profile and an address is asked for.
func fits(lac string, peer netip.Addr, profile string, remote netip.AddrPort) bool {
	return (lac == "" || lac == profile) && (!peer.IsValid() || peer == remote.Addr().Unmap())
}
