package ops

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/lns"
	"culvert/ops/opstest"
	culvertv1 "culvert/proto/culvert/v1"
)

// ipsecSources are those of a node with two SAs, one of them without a tunnel, and two failures.
func ipsecSources(src *Sources) {
	src.IPsec = func() IPsecStats {
		return IPsecStats{Wanted: true, Connected: true, Version: "5.9.8", SAs: map[string]int{"north": 2}, Rekeyed: 3,
			Gone: map[lns.SACause]uint64{lns.SAEndDPD: 1}, Failures: map[lns.IKEReason]uint64{lns.IKEAuthFailed: 4}}
	}
	src.SAs = func() []lns.SA {
		return []lns.SA{
			{Mark: 20, Profile: "north", Identity: "b", Remote: netip.MustParseAddrPort("198.51.100.8:4500"), IKEVersion: 2, Since: opstest.Began},
			{Mark: 3, Profile: "north", Identity: "a", Remote: netip.MustParseAddrPort("198.51.100.7:500"), IKEVersion: 1, Since: opstest.Began},
		}
	}
	src.IKETroubles = func() []lns.IKETrouble {
		return []lns.IKETrouble{
			{IKEFailure: lns.IKEFailure{At: opstest.Began.Add(time.Minute), Reason: lns.IKEAuthFailed, Profile: "north", Identity: "c\xff",
				Remote: netip.MustParseAddrPort("198.51.100.9:0"), Detail: "the pre-shared key differs"}, First: opstest.Began, Count: 4},
			{IKEFailure: lns.IKEFailure{At: opstest.Began, Reason: lns.IKENoAnswer, Detail: "it fell silent"}, First: opstest.Began, Count: 1},
		}
	}
}

func TestIPsec(t *testing.T) {
	cfg := socketConfig(t)
	ipsecSources(&cfg.Sources)
	var did struct {
		rekeyed, ended uint32
		why            string
	}
	cfg.Sources.RekeySA = func(_ context.Context, mark uint32) error {
		if mark == 20 {
			return errors.New("charon refused rekey: it is being rekeyed")
		}
		did.rekeyed = mark
		return nil
	}
	cfg.Sources.EndSA = func(mark uint32, why string) { did.ended, did.why = mark, why }
	node := opstest.Sample(0)
	sas := cfg.Sources.SAs()
	node.Add([]lns.TunnelInfo{{Local: netip.MustParseAddrPort("192.0.2.1:1701"), ID: 99, Profile: "north", SA: &sas[1]}}, nil)
	p := lns.DefaultLACProfile()
	ipsec := lns.DefaultIPsecProfile()
	p.Name, p.IPsec = "north", &ipsec
	if err := node.PutLAC(p); err != nil {
		t.Fatal(err)
	}
	start(t, cfg, node)
	client := culvertv1.NewIPsecServiceClient(connect(t, cfg.Socket))
	got, err := client.GetIPsecStatus(t.Context(), &culvertv1.GetIPsecStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s := got.GetStatus()
	if len(s.GetLacs()) != 1 || s.GetLacs()[0].GetSas() != 2 || s.GetLacs()[0].GetInClear() != 2 || s.GetLacs()[0].GetMode() != "required" ||
		!s.GetConnected() || s.GetEnds()["dpd"] != 1 || s.GetFailures()["authentication"] != 4 || s.GetRekeyings() != 3 {
		t.Errorf("status: %v", s)
	}
	list, err := client.ListSAs(t.Context(), &culvertv1.ListSAsRequest{PageSize: 1})
	if err != nil || len(list.GetSas()) != 1 || list.GetTotalSize() != 2 || list.GetSas()[0].GetSa().GetMark() != 3 || list.GetSas()[0].GetTunnels() != 1 {
		t.Fatalf("SAs: %v, %v", list, err)
	}
	list, err = client.ListSAs(t.Context(), &culvertv1.ListSAsRequest{PageSize: 1, PageToken: list.GetNextPageToken()})
	if err != nil || len(list.GetSas()) != 1 || list.GetSas()[0].GetSa().GetMark() != 20 || list.GetSas()[0].GetTunnels() != 0 || list.GetNextPageToken() != "" {
		t.Errorf("second page: %v, %v", list, err)
	}
	for _, c := range []struct {
		lac, peer string
		want      []string // reasons
	}{
		{"", "", []string{"authentication", "no-answer"}}, {"north", "", []string{"authentication"}},
		{"", "198.51.100.9", []string{"authentication"}}, {"", "198.51.100.1", nil},
	} {
		f, err := client.ListIKEFailures(t.Context(), &culvertv1.ListIKEFailuresRequest{Lac: c.lac, Peer: c.peer})
		if err != nil || len(f.GetFailures()) != len(c.want) {
			t.Errorf("%q %q: %v, %v", c.lac, c.peer, f, err)
			continue
		}
		for i, x := range f.GetFailures() {
			if x.GetReason() != c.want[i] {
				t.Errorf("%q %q: failure %d is %v", c.lac, c.peer, i, x)
			}
		}
	}
	if r, err := client.RekeySA(t.Context(), &culvertv1.RekeySARequest{Mark: 3}); err != nil || r.GetSa().GetTunnels() != 1 || did.rekeyed != 3 {
		t.Errorf("rekey: %v, %v, %+v", r, err, did)
	}
	if _, err := client.RekeySA(t.Context(), &culvertv1.RekeySARequest{Mark: 20}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a rekeying that strongSwan refuses: %v", err)
	}
	if r, err := client.StopSA(t.Context(), &culvertv1.StopSARequest{Mark: 20}); err != nil || did.ended != 20 || did.why != "ended by operator" || r.GetSa().GetLac() != "north" {
		t.Errorf("stop: %v, %v, %+v", r, err, did)
	}
	for _, mark := range []uint32{0, 4} {
		want := map[uint32]codes.Code{0: codes.InvalidArgument, 4: codes.NotFound}[mark]
		if _, err := client.StopSA(t.Context(), &culvertv1.StopSARequest{Mark: mark}); status.Code(err) != want {
			t.Errorf("stop of mark %d: %v", mark, err)
		}
	}
	if _, err := client.ListIKEFailures(t.Context(), &culvertv1.ListIKEFailuresRequest{Peer: "north"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a peer that is no address: %v", err)
	}
}

func TestWithoutIPsec(t *testing.T) {
	_, conn := serveSample(t, 0)
	client := culvertv1.NewIPsecServiceClient(conn)
	if _, err := client.GetIPsecStatus(t.Context(), &culvertv1.GetIPsecStatusRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("status: %v", err)
	}
	if _, err := client.ListSAs(t.Context(), &culvertv1.ListSAsRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("SAs: %v", err)
	}
	if _, err := client.ListIKEFailures(t.Context(), &culvertv1.ListIKEFailuresRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("failures: %v", err)
	}
}
