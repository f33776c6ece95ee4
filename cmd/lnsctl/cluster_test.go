package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"culvert/ops"
	"culvert/ops/opstest"
)

// sampleCluster is a cluster whose second node is silent.
type sampleCluster struct{ err error }

func (sampleCluster) Status(context.Context) (ops.ClusterStatus, error) {
	a, b := netip.MustParseAddrPort("192.0.2.1:1701"), netip.MustParseAddrPort("192.0.2.2:1701")
	return ops.ClusterStatus{Node: "lns1", Lease: 8300 * time.Millisecond, Promise: 4100 * time.Millisecond, Age: 1700 * time.Millisecond,
		Nodes: []ops.ClusterNode{
			{Name: "lns1", Address: "10.0.0.1:9108", Epoch: 3, Member: true, Lease: 10 * time.Second, Renewed: 1700 * time.Millisecond, Answered: -1},
			{Name: "lns2", Address: "10.0.0.2:9108", Epoch: 7, Member: true, Lease: 10 * time.Second, Renewed: 21 * time.Second, Answered: 20 * time.Second},
			{Name: "lns3", Address: "10.0.0.3:9108", Epoch: 1, Lease: 10 * time.Second, Renewed: time.Hour, Answered: -1},
		},
		Addresses: []ops.ServiceAddress{
			{Local: a, Owner: "lns1", Epoch: 2, Serving: true, Tunnels: 12, Sessions: 10400},
			{Local: b, Owner: "lns2", Epoch: 5, Tunnels: -1, Sessions: -1},
		}}, nil
}

func (c sampleCluster) MoveAll(_ context.Context, to string) ([]netip.AddrPort, error) {
	return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}, c.err
}

func (sampleCluster) SetDraining(context.Context, bool) error { return nil }

func serveCluster(t *testing.T, c ops.Cluster) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	s, err := ops.New(ops.Config{Socket: path, Cluster: c, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, opstest.Sample(0))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.Close(ctx)
		<-done
	})
	return "unix://" + path
}

func TestClusterStatus(t *testing.T) {
	address := serveCluster(t, sampleCluster{})
	golden(t, "cluster_status", lnsctl(t, address, nil, "cluster", "status").out)
	golden(t, "cluster_status_wide", lnsctl(t, address, nil, "-o", "wide", "cluster", "status").out)
}

func TestMoveCommand(t *testing.T) {
	play(t, serveCluster(t, sampleCluster{}), nil, []step{
		{"node drain --to lns2", exitOK, "moved to lns2: 192.0.2.1:1701; the node is draining", ""},
		{"node undrain", exitOK, "takes new tunnels and calls", ""},
	})
	play(t, serveCluster(t, sampleCluster{errors.New("192.0.2.1:1701 stays: node lns2 does not answer this one")}), nil, []step{
		{"drain --to lns2", exitFailed, "", "node lns2 does not answer this one"},
	})
	play(t, serve(t, opstest.Sample(0)), nil, []step{
		{"cluster status", exitFailed, "", "this node is in no cluster"},
	})
}
