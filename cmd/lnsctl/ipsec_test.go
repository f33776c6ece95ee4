package main

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/lns"
	"culvert/ops"
	"culvert/ops/opstest"
)

// serveIPsec serves a node with IPsec, whose charon is there or away.
func serveIPsec(t *testing.T, connected bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	cfg := ops.Config{Socket: path, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	cfg.Sources.IPsec = func() ops.IPsecStats {
		return ops.IPsecStats{Connected: connected, Version: "5.9.8", SAs: map[string]int{"north": 2}, Rekeyed: 1204,
			Gone: map[lns.SACause]uint64{lns.SAEndDPD: 1, lns.SAEndDelete: 12}, Failures: map[lns.IKEReason]uint64{lns.IKEAuthFailed: 4}}
	}
	esp := lns.ESP{Encryption: "AES_GCM_16", KeyBits: 256}
	cfg.Sources.SAs = func() []lns.SA {
		return []lns.SA{
			{Mark: 3, Profile: "north", Identity: "lac1.example.net", Remote: netip.MustParseAddrPort("198.51.100.7:500"), IKEVersion: 2, IKEID: 5, ChildID: 9, ESP: esp, Since: opstest.Began},
			{Mark: 20, Profile: "north", Identity: "bad\x1bname", Remote: netip.MustParseAddrPort("198.51.100.8:4500"), IKEVersion: 1, ESP: esp, Since: opstest.Began},
		}
	}
	cfg.Sources.IKETroubles = func() []lns.IKETrouble {
		return []lns.IKETrouble{{IKEFailure: lns.IKEFailure{At: opstest.Began.Add(time.Minute), Reason: lns.IKEAuthFailed, Profile: "north",
			Identity: "lac2.example.net", Remote: netip.MustParseAddrPort("198.51.100.9:0"), Detail: "the pre-shared key differs; set the same psk on both sides"},
			First: opstest.Began, Count: 4}}
	}
	cfg.Sources.RekeySA = func(context.Context, uint32) error { return nil }
	cfg.Sources.EndSA = func(uint32, string) {}
	node := opstest.Sample(0)
	p, s := lns.DefaultLACProfile(), lns.DefaultIPsecProfile()
	p.Name, p.IPsec = "north", &s
	if err := node.PutLAC(p); err != nil {
		t.Fatal(err)
	}
	server, err := ops.New(cfg, node)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Close(ctx)
		<-done
	})
	return "unix://" + path
}

func TestIPsecCommands(t *testing.T) {
	address := serveIPsec(t, true)
	for _, c := range []struct{ name, args string }{
		{"ipsec_show", "ipsec show"}, {"ipsec_list", "ipsec list"}, {"ipsec_list_wide", "ipsec list -o wide -n 1"},
		{"ipsec_failures", "ipsec failures --peer 198.51.100.9"}, {"ipsec_failures_json", "ipsec failures -o json"},
	} {
		r := lnsctl(t, address, nil, strings.Fields(c.args)...)
		if r.code != 0 {
			t.Errorf("%s: exit %d, %s", c.args, r.code, r.err)
		}
		golden(t, c.name, r.out)
	}
	for args, want := range map[string]string{
		"ipsec rekey 3": "the SA of lac1.example.net gets new keys\n", "ipsec stop 20 --yes": "the SA of bad\\u001bname ends, with 0 tunnels\n",
	} {
		if r := lnsctl(t, address, nil, strings.Fields(args)...); r.code != 0 || r.out != want {
			t.Errorf("%s: exit %d, %q, %q", args, r.code, r.out, r.err)
		}
	}
	if r := lnsctl(t, address, nil, "ipsec", "stop", "77", "--yes"); r.code != exitNotFound {
		t.Errorf("an SA that is not there: exit %d, %q", r.code, r.err)
	}
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"ipsec list --limit=-1", "is negative", exitUsage}, {"ipsec failures --peer north", "is not an IP address", exitUsage},
		{"ipsec failures --lac south", "no failures", 0},
	} {
		if r := lnsctl(t, address, nil, strings.Fields(c.args)...); r.code != c.code || !strings.Contains(r.err, c.want) {
			t.Errorf("%s: exit %d, %q, want %d and %q", c.args, r.code, r.err, c.code, c.want)
		}
	}
	if r := lnsctl(t, serveIPsec(t, false), nil, "ipsec", "show"); !strings.Contains(r.out, "AWAY") {
		t.Errorf("of a charon that is away: %q", r.out)
	}
	if r := lnsctl(t, serve(t, opstest.Sample(0)), nil, "ipsec", "show"); r.code == 0 || !strings.Contains(r.err, "uses no IPsec") {
		t.Errorf("without IPsec: exit %d, %q", r.code, r.err)
	}
}
