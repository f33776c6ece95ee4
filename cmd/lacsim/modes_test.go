package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/lac/lactest"
)

// modesConfig is a node with a LAC profile for each proxy policy, by the LAC's address, and one to which it opens
// tunnels itself.
const modesConfig = `
node: lnsmodes
l2tp: {listen: ["%[1]s"], shards: 2}
plane: {mode: memory}
subscriber: {local_address: 100.64.0.1}
lacs:
  - {name: on-mismatch, prefixes: [127.0.0.2/32], secret: hush, proxy: on-mismatch}
  - {name: accept, prefixes: [127.0.0.3/32], secret: hush, proxy: accept}
  - {name: strict, prefixes: [127.0.0.4/32], secret: hush, proxy: strict}
  - {name: always, prefixes: [127.0.0.5/32], secret: hush, proxy: always}
  - {name: exchange, prefixes: [127.0.0.6/32], secret: hush, address: "%[4]s"}
radius: {lab: {password: secret}}
pools: [{name: main, ranges: [100.64.1.0/24]}]
journal: {dir: "%[2]s"}
api: {socket: "%[3]s", http: "127.0.0.1:0"}
`

// startModes starts that node and gives it, and what runs lnsctl.
func startModes(t *testing.T, exchange netip.AddrPort) (*lactest.Server, func(args ...string) <-chan string) {
	t.Helper()
	socket := ""
	s := runLNSD(t, func(dir string, listen netip.AddrPort) []string {
		file := filepath.Join(dir, "lnsd.yaml")
		socket = filepath.Join(dir, "lnsd.sock")
		if err := os.WriteFile(file, fmt.Appendf(nil, modesConfig, listen, filepath.Join(dir, "journal"), socket, exchange), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"--config", file}
	})
	waitFor(t, "listening", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return s, operator(t, socket)
}

// waitFor polls until ok.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s", what)
		}
	}
}

// TestProxyModes is what an operator sees of his LNS's policies when what the LAC tells is right, or wrong.
func TestProxyModes(t *testing.T) {
	s, _ := startModes(t, netip.MustParseAddrPort("127.0.0.6:9"))
	const calls = 4
	for source, policy := range map[string]string{"127.0.0.2": "on-mismatch", "127.0.0.3": "accept", "127.0.0.4": "strict", "127.0.0.5": "always"} {
		for fault := range proxyFaults {
			for _, auth := range []string{"pap", "chap"} {
				if auth == "pap" && fault != "none" {
					continue // what is wrong is LCP's
				}
				t.Run(policy+"/"+fault+"/"+auth, func(t *testing.T) {
					r := simulate(t, s, "--source", source, "--secret", "hush", "--sessions", fmt.Sprint(calls), "--proxy", "auth", "--auth", auth,
						"--proxy-fault", fault, "--traffic", "ping")
					anew := policy == "always" || fault != "none"
					if policy == "accept" && fault == "mru" {
						anew = false // it can be lived with
					}
					if policy == "strict" && fault != "none" {
						wantCounts(t, r, 0, calls, 0, 0)
						return
					}
					wantCounts(t, r, calls, 0, 0, calls)
					want := proxyCounters{}
					if anew {
						want = proxyCounters{calls, calls}
					}
					if r.Proxied != want || !r.OK {
						t.Errorf("negotiated anew: %+v, want %+v; %q %v", r.Proxied, want, r.Problems, r.Failures)
					}
				})
			}
		}
	}
	r := simulate(t, s, "--source", "127.0.0.2", "--secret", "hush", "--sessions", "2", "--proxy", "lcp", "--auth", "chap")
	if r.Proxied != (proxyCounters{LCP: 0, Auth: 2}) {
		t.Errorf("with LCP alone proxied %+v was negotiated anew", r.Proxied)
	}
}

// TestLineReports: the LNS hears of other speeds and of errors on the lines, asks for a speed, and is answered.
func TestLineReports(t *testing.T) {
	s, lnsctl := startModes(t, netip.MustParseAddrPort("127.0.0.6:9"))
	c, wait := start(t, s, nil, "--source", "127.0.0.2", "--secret", "hush", "--lacs", "2", "--sessions", "60", "--stay",
		"--tx-speed", "1000000", "--rx-speed", "200000", "--speed-every", "200ms", "--errors-every", "300ms")
	type session struct {
		ID          string `json:"id"`
		ConnectInfo string `json:"connect_info"`
		CallErrors  *struct {
			CRC json.Number `json:"crc"`
		} `json:"call_errors"`
	}
	var list []session
	waitFor(t, "every line slower, with errors", func() bool {
		list = nil
		if err := json.Unmarshal([]byte(<-lnsctl("session", "list", "-o", "json")), &list); err != nil || len(list) != 120 {
			return false
		}
		for _, x := range list {
			if x.ConnectInfo == "1000000/200000" || x.CallErrors == nil {
				return false
			}
		}
		return true
	})
	<-lnsctl("session", "speed", list[0].ID)
	waitFor(t, "asked for a speed", func() bool { return c.total().Lines.SpeedRequests == 1 })
	c.hangup("enough")
	r := wait()
	wantCounts(t, r, 120, 0, 0, 120)
	if !r.OK || r.Lines.Speeds < 120 || r.Lines.Errors < 120 {
		t.Errorf("%q; told %+v", r.Problems, r.Lines)
	}
}

// TestAnswerCommand: the LNS's outgoing calls, by a tunnel of its own and by one of the LAC's, answered and busy.
func TestAnswerCommand(t *testing.T) {
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 6)})
	if err != nil {
		t.Fatal(err)
	}
	listen := free.LocalAddr().(*net.UDPAddr).AddrPort()
	free.Close()
	s, lnsctl := startModes(t, listen)
	for _, opens := range []bool{false, true} {
		report := filepath.Join(t.TempDir(), "report.json")
		args := []string{"answer", "--listen", listen.String(), "--secret", "hush", "--rings", "100ms", "--busy-every", "3", "--calls", "3",
			"--json", report, "--hold", "1s"}
		if opens {
			args = append(args, "--lns", s.Addr.String())
		}
		cmd := parseAnswer(t, args...)
		done := make(chan error, 1)
		go func() { done <- cmd.Run(t.Context()) }()
		if opens {
			waitFor(t, "the LAC's tunnel up", func() bool {
				return strings.Contains(<-lnsctl("tunnel", "list", "-o", "json"), "TUNNEL_STATE_ESTABLISHED")
			})
		}
		for n := 1; n <= 3; n++ {
			if out := <-lnsctl("call", "0815", "--lac", "exchange"); !strings.Contains(out, "session ") {
				t.Errorf("lnsctl call: %s", out)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var r answerReport
		b, err := os.ReadFile(report)
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil || r.Asked != 3 || r.Busy != 1 || r.Answered != 2 || r.Up != 2 || r.HungUp != 2 || r.ByLNS != 0 || len(r.Failures) != 0 {
			t.Errorf("opens %v: %+v, %v", opens, r, err)
		}
		waitFor(t, "the tunnel gone", func() bool {
			return !strings.Contains(<-lnsctl("tunnel", "list", "-o", "json"), "TUNNEL_STATE_ESTABLISHED")
		})
	}
}

// parseAnswer reads a command line of "lacsim answer".
func parseAnswer(t *testing.T, args ...string) *answerCmd {
	t.Helper()
	return &parseAll(t, args...).Answer
}

// TestAnswerRefuses says what is wrong with a command line, and with an LNS that is not there.
func TestAnswerRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"--listen nonsense!":        {"--listen", "nonsense!"},
		"--lns":                     {"--listen", "127.0.0.1:0", "--lns", "[::1]:1701"},
		"--user":                    {"--listen", "127.0.0.1:0", "--user", "%d%d"},
		"--mru 9":                   {"--listen", "127.0.0.1:0", "--mru", "9"},
		"--rings, --hold, --calls":  {"--listen", "127.0.0.1:0", "--calls=-1"},
		"the tunnel to 127.0.0.1:9": {"--listen", "127.0.0.1:0", "--lns", "127.0.0.1:9"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := parseAnswer(t, append([]string{"answer"}, args...)...).Run(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, errResult) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
