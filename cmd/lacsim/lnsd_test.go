package main

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"culvert/lac/lactest"
)

// startLNSD builds lnsd and starts its lab, with the plane in memory, on the loopback interface.
func startLNSD(t *testing.T) *lactest.Server {
	t.Helper()
	return runLNSD(t, func(dir string, listen netip.AddrPort) []string {
		return []string{"--lab", "--lab-dir", filepath.Join(dir, "lab"),
			"--lab-listen", listen.String(), "--lab-http", "127.0.0.1:0", "--lab-plane", "memory"}
	})
}

// programs are those that tests have built, in a folder that TestMain removes.
var programs struct {
	sync.Mutex
	dir string
}

// built builds a program of this module, once, and gives its path.
func built(t *testing.T, name string) string {
	t.Helper()
	programs.Lock()
	defer programs.Unlock()
	if programs.dir == "" {
		dir, err := os.MkdirTemp("", "lacsim-test")
		if err != nil {
			t.Fatal(err)
		}
		programs.dir = dir
	}
	file := filepath.Join(programs.dir, name)
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if out, err := exec.Command("go", "build", "-o", file, "culvert/cmd/"+name).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return file
}

// runLNSD builds lnsd and runs it with arguments that may name a folder and have to
// make it listen at the address.
func runLNSD(t *testing.T, args func(dir string, listen netip.AddrPort) []string) *lactest.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds lnsd")
	}
	dir := t.TempDir()
	program := built(t, "lnsd")
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := free.LocalAddr().(*net.UDPAddr).AddrPort()
	free.Close()
	var log bytes.Buffer
	lnsd := exec.Command(program, append([]string{"run"}, args(dir, addr)...)...)
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

// untilAnswered dials until a call comes up.
func untilAnswered(t *testing.T, s *lactest.Server, args ...string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		r := simulate(t, s, append(args, "--duration", "500ms")...)
		if r.Sessions.Up == 1 || time.Now().After(deadline) {
			return
		}
	}
}

// TestAgainstLNSD is lacsim and the real LNS: every authentication, every end, packets through the core, which
// in memory answers all of them itself.
func TestAgainstLNSD(t *testing.T) {
	s := startLNSD(t)
	untilAnswered(t, s, "--secret", "lab")
	for _, args := range [][]string{
		{"--auth", "pap", "--hangup", "cdn", "--traffic", "ping"},
		{"--auth", "chap", "--hangup", "lcp", "--traffic", "ping", "--target", "192.0.2.77", "--size", "1400"},
		{"--auth", "mschapv2", "--hangup", "stopccn", "--traffic", "udp", "--target", "192.0.2.77:7"},
		{"--auth", "eap-md5", "--traffic", "ping"},
		{"--auth", "eap-md5", "--proxy", "lcp", "--traffic", "ping"},
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
