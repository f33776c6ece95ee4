package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// overIPv6 is a node whose LACs come over IPv6, with hidden AVPs and numbered data.
const overIPv6 = `
node: lns6
l2tp:
  listen: ["%s"]
  shards: 2
plane:
  mode: memory
subscriber:
  local_address: 100.64.0.1
lacs:
  - name: six
    prefixes: ["::1/128"]
    secret: hush
    hide_avps: true
    sequencing: always
    reorder_packets: 16
radius:
  lab:
    password: secret
pools:
  - name: main
    ranges: [100.64.1.0/24]
journal:
  dir: %s
api:
  socket: %s
  http: 127.0.0.1:0
`

// TestOverIPv6 is lacsim and the real LNS over IPv6, with real sockets: several tunnels from one
// address and port, hidden AVPs, numbers in data messages both ways, packets through the core.
func TestOverIPv6(t *testing.T) {
	var at netip.AddrPort
	s := runLNSD(t, func(dir string, listen netip.AddrPort) []string {
		at = netip.AddrPortFrom(netip.IPv6Loopback(), listen.Port())
		file := filepath.Join(dir, "lnsd.yaml")
		text := fmt.Sprintf(overIPv6, at, filepath.Join(dir, "journal"), filepath.Join(dir, "lnsd.sock"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"--config", file}
	})
	s.Addr = at
	untilAnswered(t, s, "--secret", "hush")
	for _, args := range [][]string{
		{"--traffic", "ping", "--packets", "5", "--packet-rate", "50"},
		{"--sequenced", "--traffic", "ping", "--window", "1"},
		{"--source-ports", "3", "--traffic", "udp", "--target", "192.0.2.77:7"},
	} {
		r := simulate(t, s, append([]string{"--secret", "hush", "--lacs", "4", "--sessions", "10"}, args...)...)
		wantCounts(t, r, 40, 0, 0, 40)
		if !r.OK {
			t.Errorf("%q: %q %v %v %+v", args, r.Problems, r.Failures, r.EndedByLNS, r.Packets)
		}
	}
	r := simulate(t, s, "--secret", "wrong", "--sessions", "3")
	wantCounts(t, r, 0, 3, 0, 0)
}
