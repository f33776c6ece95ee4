package main

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"culvert/lac/lactest"
)

// startLNSD builds lnsd and starts its lab, with the plane in memory, on the loopback interface.
func startLNSD(t *testing.T) *lactest.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds lnsd")
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "lnsd"), "culvert/cmd/lnsd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := free.LocalAddr().(*net.UDPAddr).AddrPort()
	free.Close()
	var log bytes.Buffer
	lnsd := exec.Command(filepath.Join(dir, "lnsd"), "run", "--lab", "--lab-dir", filepath.Join(dir, "lab"),
		"--lab-listen", addr.String(), "--lab-http", "127.0.0.1:0", "--lab-plane", "memory")
	lnsd.Stdout, lnsd.Stderr = &log, &log
	if err := lnsd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = lnsd.Process.Signal(syscall.SIGTERM)
		if err := lnsd.Wait(); err != nil || t.Failed() {
			t.Errorf("lnsd: %v\n%.2000s", err, &log)
		}
	})
	return &lactest.Server{Addr: addr}
}

// TestAgainstLNSD is lacsim and the real LNS: every authentication, every end, packets through the core, which
// in memory answers all of them itself.
func TestAgainstLNSD(t *testing.T) {
	s := startLNSD(t)
	for deadline := time.Now().Add(20 * time.Second); ; {
		if r := simulate(t, s, "--secret", "lab", "--duration", "500ms"); r.Sessions.Up == 1 || time.Now().After(deadline) {
			break
		}
	}
	for _, args := range [][]string{
		{"--auth", "pap", "--hangup", "cdn", "--traffic", "ping"},
		{"--auth", "chap", "--hangup", "lcp", "--traffic", "ping", "--target", "192.0.2.77", "--size", "1400"},
		{"--auth", "mschapv2", "--hangup", "stopccn", "--traffic", "udp", "--target", "192.0.2.77:7"},
		{"--compress", "--sequenced", "--traffic", "ping", "--packets", "5", "--packet-rate", "20"},
		{"--proxy", "lcp", "--auth", "chap", "--traffic", "ping"},
		{"--proxy", "auth", "--auth", "chap", "--traffic", "ping"},
		{"--proxy", "auth", "--auth", "pap", "--traffic", "ping"},
		{"--window", "1", "--source-ports", "8"},
	} {
		r := simulate(t, s, append([]string{"--secret", "lab", "--lacs", "5", "--sessions", "20"}, args...)...)
		wantCounts(t, r, 100, 0, 0, 100)
		if !r.OK {
			t.Errorf("%q: %q %v %v %+v", args, r.Problems, r.Failures, r.EndedByLNS, r.Packets)
		}
	}
	r := simulate(t, s, "--secret", "wrong", "--sessions", "3")
	wantCounts(t, r, 0, 3, 0, 0)
	r = simulate(t, s, "--secret", "lab", "--password", "wrong", "--sessions", "3")
	wantCounts(t, r, 0, 3, 0, 0)
}
