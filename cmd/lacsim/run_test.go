package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"

	"culvert/lac/lactest"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if programs.dir != "" {
			_ = os.RemoveAll(programs.dir)
		}
		os.Exit(code)
	}))
}

var good = lactest.Config{Auth: ppp.AuthPAP, Password: "secret", Window: 16}

func serve(t *testing.T, cfg lactest.Config) *lactest.Server {
	t.Helper()
	s, err := lactest.Serve(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// parse reads a command line of "lacsim run".
func parse(t *testing.T, args ...string) *runCmd {
	t.Helper()
	return &parseAll(t, args...).Run
}

func parseAll(t *testing.T, args ...string) *cli {
	t.Helper()
	var c cli
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &c
}

// start is a run against s. stdin may be nil.
func start(t *testing.T, s *lactest.Server, stdin io.Reader, args ...string) (*controller, func() *report) {
	t.Helper()
	source := "127.0.0.1"
	if s.Addr.Addr().Is6() {
		source = "::1"
	}
	if !slices.Contains(args, "--source") {
		args = append(args, "--source", source)
	}
	args = append([]string{"--lns", s.Addr.String(), "--quiet", "--setup-timeout", "5s", "--packet-rate", "20"}, args...)
	p, err := parse(t, args...).plan()
	if err != nil {
		t.Fatal(err)
	}
	c := &controller{plan: p, started: time.Now(), stderr: &bytes.Buffer{}, stdout: &bytes.Buffer{}}
	if err := c.prepare(); err != nil {
		t.Fatal(err)
	}
	done := make(chan *report, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	go func() {
		defer cancel()
		r, err := c.run(ctx, stdin)
		if err != nil {
			t.Error(err)
			r = &report{}
		}
		done <- r
	}()
	return c, func() *report { return <-done }
}

// TestLineDelay: every exchange of LCP, PAP and IPCP waits for the line.
func TestLineDelay(t *testing.T) {
	const delay = 60 * time.Millisecond
	r := simulate(t, serve(t, good), "--sessions", "4", "--line-delay", delay.String())
	wantCounts(t, r, 4, 0, 0, 4)
	// LCP, PAP and IPCP are three exchanges, one after the other.
	if fast := 3 * float64(delay/time.Millisecond); r.Setup.P50 < fast {
		t.Errorf("half of the calls were up within %v ms, want %v or more", r.Setup.P50, fast)
	}
}

func simulate(t *testing.T, s *lactest.Server, args ...string) *report {
	t.Helper()
	_, wait := start(t, s, nil, args...)
	return wait()
}

// wantCounts checks the main figures of a report.
func wantCounts(t *testing.T, r *report, up, failed, byLNS, ended uint64) {
	t.Helper()
	s := &r.Sessions
	if s.Up != up || s.Failed != failed || s.ByLNS != byLNS || s.Ended != ended || s.Now != 0 || s.SettingUp != 0 {
		var text bytes.Buffer
		r.print(&text)
		t.Errorf("up %d, failed %d, ended by LNS %d, hung up %d; want %d, %d, %d, %d\n%s", s.Up, s.Failed, s.ByLNS, s.Ended, up, failed, byLNS, ended, &text)
	}
}

func wantOK(t *testing.T, r *report) {
	t.Helper()
	if !r.OK {
		t.Errorf("problems: %q, %v, %v, %v", r.Problems, r.Failures, r.EndedByLNS, r.TunnelFailures)
	}
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  lactest.Config
		args []string
	}{
		{"plain", good, nil},
		{"chap", lactest.Config{Auth: ppp.AuthCHAP, Password: "secret", Secret: "x"}, []string{"--secret", "x"}},
		{"mschapv2", lactest.Config{Auth: ppp.AuthMSCHAPv2, Password: "secret"}, []string{"--auth", "mschapv2"}},
		{"window of one", lactest.Config{Auth: ppp.AuthPAP, Password: "secret", Window: 1}, nil},
		{"two workers", good, []string{"--workers", "2"}},
		{"many sources", good, []string{"--source-ports", "3", "--serial-open"}},
		{"lcp", good, []string{"--hangup", "lcp"}},
		{"stopccn", good, []string{"--hangup", "stopccn"}},
		{"proxy lcp", good, []string{"--proxy", "lcp", "--auth", "pap"}},
		{"proxy auth", lactest.Config{Auth: ppp.AuthCHAP, Password: "secret"}, []string{"--proxy", "auth", "--auth", "chap"}},
		{"sequenced", good, []string{"--sequenced"}},
		{"rate", good, []string{"--rate", "200"}},
		{"hold", good, []string{"--hold", "200ms"}},
		{"compress", good, []string{"--compress", "--no-dns", "--mru", "0"}},
		{"numbers", good, []string{"--called-number", "08001234", "--calling-number", "", "--rx-speed", "1000000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.cfg)
			r := simulate(t, s, append([]string{"--lacs", "4", "--sessions", "25"}, c.args...)...)
			wantOK(t, r)
			wantCounts(t, r, 100, 0, 0, 100)
			if r.Tunnels.Clean != 4 || r.Setup.Count != 100 || r.TunnelSetup.Count != 4 || r.Setup.Max < r.Setup.P50 || r.CallsPerSecond <= 0 || r.Peak > 100 {
				t.Errorf("%+v", r)
			}
			s.Do(func(_ time.Duration, l *lactest.LNS) {
				if l.Sessions() != 0 || l.Tunnels() != 0 || l.Calls != 100 {
					t.Errorf("the LNS has %d sessions, %d tunnels left and took %d calls", l.Sessions(), l.Tunnels(), l.Calls)
				}
				seen := map[string]bool{}
				for _, u := range l.Users {
					seen[u] = true
				}
				if len(seen) != 100 || !seen["user1@isp"] || !seen["user100@isp"] {
					t.Errorf("%d users, %v", len(seen), l.Users)
				}
			})
		})
	}
}

func TestTraffic(t *testing.T) {
	for _, args := range [][]string{
		{"--traffic", "ping", "--packets", "3", "--packet-rate", "20"},
		{"--traffic", "ping", "--target", "192.0.2.9", "--size", "1400"},
		{"--traffic", "udp", "--target", "192.0.2.9:7"},
		{"--traffic", "udp", "--packets", "2", "--packet-rate", "10"},
		{"--traffic", "ping", "--packets", "0", "--packet-rate", "20", "--hold", "500ms"},
		{"--traffic", "ping", "--packets", "0", "--packet-rate", "20", "--duration", "1s", "--hangup", "lcp"},
		{"--traffic", "ping", "--sequenced", "--compress"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			s := serve(t, good)
			r := simulate(t, s, append([]string{"--lacs", "2", "--sessions", "20"}, args...)...)
			wantOK(t, r)
			wantCounts(t, r, 40, 0, 0, 40)
			p := r.Packets
			if p.Sent < 40 || p.Answered != p.Sent || r.Latency.Count != p.Sent || p.Other != 0 {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestPacketsGoWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		mangle func(n int, b []byte) []byte
		want   func(p packetCounters) bool
	}{
		{"lost", func(n int, b []byte) []byte {
			if n%4 == 0 {
				return nil
			}
			return b
		}, func(p packetCounters) bool { return p.lost() == 5 }},
		{"changed", func(n int, b []byte) []byte {
			if n%4 == 0 {
				b[60] ^= 1
			}
			return b
		}, func(p packetCounters) bool { return p.Corrupt == 5 && p.lost() == 5 }},
		{"cut", func(n int, b []byte) []byte { return b[:len(b)-n%2] }, func(p packetCounters) bool { return p.Other == 10 && p.lost() == 10 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg, n := good, 0
			cfg.Mangle = func(b []byte) []byte { n++; return c.mangle(n, b) }
			r := simulate(t, serve(t, cfg), "--sessions", "20", "--traffic", "ping", "--wait", "300ms", "--packet-rate", "50")
			if r.OK || !c.want(r.Packets) {
				t.Errorf("ok %v, %+v", r.OK, r.Packets)
			}
			wantCounts(t, r, 20, 0, 0, 20)
		})
	}
}

func TestDuplicatesAndMisrouting(t *testing.T) {
	var last []byte
	cfg := good
	cfg.Mangle = func(b []byte) []byte { last = bytes.Clone(b); return b }
	s := serve(t, cfg)
	c, wait := start(t, s, nil, "--sessions", "2", "--traffic", "ping", "--stay")
	eventually(t, func() bool { return c.total().Packets.Answered == 2 })
	s.Do(func(now time.Duration, l *lactest.LNS) { l.Repeat() })
	eventually(t, func() bool { return c.total().Packets.Duplicate == 2 })
	s.Do(func(now time.Duration, l *lactest.LNS) { l.SendAll(last) })
	eventually(t, func() bool { p := c.total().Packets; return p.Duplicate == 3 && p.Misrouted+p.Corrupt == 1 })
	c.workers[0].post(c.workers[0].beginHangup)
	if r := wait(); r.OK || len(r.Problems) != 1 {
		t.Errorf("ok %v: %q", r.OK, r.Problems)
	}
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatal("it did not happen")
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   lactest.Config
		args  []string
		cause string
	}{
		{"wrong password", good, []string{"--password", "wrong"}, `authentication rejected "wrong password"`},
		{"no common authentication", good, []string{"--auth", "none"}, "no answer in time: LCP"},
		{"refused", lactest.Config{Refuse: l2tp.Result{Code: 2, Error: 7, Message: "full"}}, nil, `CDN 2/7 general error: try another "full"`},
		{"mute", lactest.Config{Mute: true}, nil, "no answer in time: LCP"},
		{"wrong secret", lactest.Config{Secret: "x"}, []string{"--secret", "y"}, "no tunnel: authentication*"},
		{"terminated", lactest.Config{Auth: ppp.AuthPAP, Password: "secret", Terminate: true}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.cfg)
			r := simulate(t, s, append([]string{"--lacs", "2", "--sessions", "5", "--setup-timeout", "1s"}, c.args...)...)
			if r.OK {
				t.Error("it went well")
			}
			if c.cause == "" {
				wantCounts(t, r, 10, 0, 10, 0)
				return
			}
			wantCounts(t, r, 0, 10, 0, 0)
			prefix, any := strings.CutSuffix(c.cause, "*")
			for cause, n := range r.Failures {
				if n != 10 || cause != c.cause && !(any && strings.HasPrefix(cause, prefix)) {
					t.Errorf("%d: %s", n, cause)
				}
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	s := serve(t, good)
	s.Close()
	_, wait := start(t, &lactest.Server{Addr: s.Addr}, nil, "--sessions", "3", "--duration", "500ms")
	r := wait()
	if r.OK || r.Tunnels.Up != 0 || r.Sessions.Dialled != 0 {
		t.Errorf("%+v", r)
	}
}

func TestEndedByLNS(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   func(now time.Duration, l *lactest.LNS)
		cause string
		n     uint64
	}{
		{"cdn", func(now time.Duration, l *lactest.LNS) { l.Disconnect(now, 3, l2tp.Result{Code: 3}) }, "CDN 3 administrative reasons", 3},
		{"terminate", func(_ time.Duration, l *lactest.LNS) { l.TerminateAll() }, "PPP: terminated by peer", 10},
		{"stopccn", func(now time.Duration, l *lactest.LNS) {
			l.Stop(now, l2tp.Result{Code: l2tp.StopShutdown})
		}, "tunnel: StopCCN 6 requester is being shut down", 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, good)
			sim, wait := start(t, s, nil, "--sessions", "10", "--stay", "--allow-ended")
			eventually(t, func() bool { return sim.total().Sessions.Now == 10 })
			s.Do(c.end)
			eventually(t, func() bool { return sim.total().Sessions.ByLNS == c.n })
			sim.workers[0].post(sim.workers[0].beginHangup)
			r := wait()
			wantOK(t, r)
			wantCounts(t, r, 10, 0, c.n, 10-c.n)
			if r.EndedByLNS[c.cause] != c.n {
				t.Errorf("%v", r.EndedByLNS)
			}
			r.judge(parse(t, "--lns", "x"), false)
			if r.OK {
				t.Error("it counts as well without --allow-ended too")
			}
		})
	}
}

func TestRedial(t *testing.T) {
	s := serve(t, good)
	r := simulate(t, s, "--lacs", "2", "--sessions", "5", "--hold", "100ms", "--redial", "--redial-delay", "50ms", "--duration", "1500ms")
	wantOK(t, r)
	if r.Sessions.Up < 40 || r.Peak > 10 || r.Sessions.Up != r.Sessions.Ended {
		t.Errorf("%+v", r.Sessions)
	}
	sim, wait := start(t, s, nil, "--lacs", "2", "--sessions", "5", "--stay", "--redial", "--redial-delay", "50ms", "--allow-ended")
	eventually(t, func() bool { return sim.total().Sessions.Now == 10 })
	s.Do(func(now time.Duration, l *lactest.LNS) { l.Stop(now, l2tp.Result{Code: l2tp.StopShutdown}) })
	eventually(t, func() bool { s := sim.total().Sessions; return s.Now == 10 && s.Up == 20 })
	sim.workers[0].post(sim.workers[0].beginHangup)
	if r := wait(); r.Tunnels.Opened != 4 || r.Tunnels.Clean != 2 {
		t.Errorf("%+v", r.Tunnels)
	}
}

func TestStdinAndFiles(t *testing.T) {
	s := serve(t, good)
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready.json")
	sim, wait := start(t, s, strings.NewReader("status\n\nnonsense\n"), "--sessions", "4", "--traffic", "ping", "--stay", "--ready-file", ready)
	r := wait() // the end of stdin hangs up
	if !strings.Contains(sim.stderr.(*bytes.Buffer).String(), `"nonsense" is no command`) {
		t.Errorf("stderr: %s", sim.stderr)
	}
	var status counters
	if err := json.Unmarshal(sim.stdout.(*bytes.Buffer).Bytes(), &status); err != nil {
		t.Errorf("status: %v: %s", err, sim.stdout)
	}
	file := filepath.Join(dir, "report.json")
	if err := writeJSON(file, r); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	var back report
	if err != nil || json.Unmarshal(b, &back) != nil || back.Sessions != r.Sessions {
		t.Errorf("report file: %v\n%s", err, b)
	}
	stdin, commands := io.Pipe()
	defer commands.Close()
	ready = filepath.Join(dir, "ready-again.json")
	sim, wait = start(t, s, stdin, "--sessions", "4", "--traffic", "ping", "--stay", "--ready-file", ready)
	eventually(t, func() bool { _, err := os.Stat(ready); return err == nil })
	if _, err := commands.Write([]byte("packets\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return sim.total().Packets.Answered == 8 })
	commands.Close()
	wantOK(t, wait())
}
