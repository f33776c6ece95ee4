package radius_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/aaa/radius"
	"culvert/aaa/radius/radtest"
)

// responderEnv makes the test binary a RADIUS server, so that a benchmark's CPU
// time is that of the client alone.
const responderEnv = "RADTEST_RESPONDER"

func responder() {
	s, err := radtest.New(radtest.Config{Secret: []byte(secret), AnyPassword: "password"})
	if err != nil {
		panic(err)
	}
	b, _ := s.AuthAddr().MarshalText()
	a, _ := s.AcctAddr().MarshalText()
	_, _ = os.Stdout.WriteString(string(b) + " " + string(a) + "\n")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the benchmark closes it
	_ = s.Close()
}

// startResponder gives the addresses of a server in another process.
func startResponder(b *testing.B) (auth, acct netip.AddrPort) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), responderEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	buf := make([]byte, 128)
	n, err := out.Read(buf)
	if err != nil {
		b.Fatal(err)
	}
	for i, c := range buf[:n] {
		if c == ' ' {
			return netip.MustParseAddrPort(string(buf[:i])), netip.MustParseAddrPort(string(buf[i+1 : n-1]))
		}
	}
	b.Fatal("no addresses")
	return
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// exchanges keeps window requests going and reports CPU time per exchange.
func exchanges(b *testing.B, window int, start func(done func(error))) {
	b.ReportAllocs()
	tokens := make(chan struct{}, window)
	var failed atomic.Int64
	before := cpuTime()
	for b.Loop() {
		tokens <- struct{}{}
		start(func(err error) {
			if err != nil {
				failed.Add(1)
			}
			<-tokens
		})
	}
	for range window {
		tokens <- struct{}{}
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
	if failed.Load() > 0 {
		b.Fatalf("%d failed", failed.Load())
	}
}

func benchServer(at netip.AddrPort) radius.Server {
	return radius.Server{Address: at, Secret: []byte(secret), InFlight: 512}
}

func BenchmarkAuthorize(b *testing.B) {
	auth, _ := startResponder(b)
	c, _ := newClient(b, []radius.Server{benchServer(auth)}, nil)
	req := pap("user@isp.example", "password")
	for name, window := range map[string]int{"one": 1, "window16": 16, "window256": 256} {
		b.Run(name, func(b *testing.B) {
			exchanges(b, window, func(done func(error)) {
				c.Authorize(req, func(_ *aaa.Grant, err error) { done(err) })
			})
		})
	}
}

func BenchmarkAccount(b *testing.B) {
	_, acct := startResponder(b)
	c, _ := newClient(b, nil, []radius.Server{benchServer(acct)})
	u := usage(aaa.UsageStop, "s1")
	exchanges(b, 64, func(done func(error)) { c.Account(&u, done) })
}

// BenchmarkLoopbackDatagram is the floor: one datagram out and one in by plain
// system calls.
func BenchmarkLoopbackDatagram(b *testing.B) {
	p, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	c, err := net.DialUDP("udp", nil, p.LocalAddr().(*net.UDPAddr))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 400)
	before := cpuTime()
	for b.Loop() {
		_, _ = c.Write(buf)
		_, _ = p.Read(buf)
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}
