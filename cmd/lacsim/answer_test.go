package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/lac"
	"culvert/lac/subscriber"
	"culvert/lac/udp"
	"culvert/proto/l2tp"
)

// callsOut is a node with one LAC, to which it opens tunnels itself.
const callsOut = `
node: lnsout
l2tp:
  listen: ["%s"]
  shards: 2
plane:
  mode: memory
subscriber:
  local_address: 100.64.0.1
lacs:
  - name: exchange
    prefixes: [127.0.0.0/8]
    address: "%s"
    secret: hush
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

// exchange is a LAC that calls one subscriber, who answers at once.
type exchange struct {
	t      *testing.T
	now    func() time.Duration
	engine *lac.Engine
	client subscriber.Client
	fx     subscriber.Effects
	asked  []string
	up     bool
	down   *lac.End
	call   lac.Call
}

func (x *exchange) TunnelUp(time.Duration, *lac.Tunnel)              {}
func (x *exchange) TunnelDown(time.Duration, *lac.Tunnel, lac.End)   {}
func (x *exchange) TunnelClosed(time.Duration, *lac.Tunnel, bool)    {}
func (x *exchange) CallDown(_ time.Duration, _ *lac.Call, e lac.End) { x.down = &e }
func (x *exchange) Connect(time.Duration, *lac.Call, *l2tp.Message, *l2tp.Message) {
	x.t.Error("an outgoing call was connected like an incoming one")
}

func (x *exchange) Asked(_ time.Duration, _ *lac.Tunnel, m *l2tp.Message) (*lac.Call, l2tp.Result) {
	x.asked = append(x.asked, string(m.CalledNumber))
	return &x.call, l2tp.Result{}
}

func (x *exchange) CallUp(now time.Duration, c *lac.Call) {
	cfg := subscriber.DefaultConfig()
	x.client.Start(now, &cfg, "alice", "secret", rand.New(rand.NewPCG(1, 2)), &x.fx)
	x.apply(c)
}

func (x *exchange) Frame(now time.Duration, c *lac.Call, frame []byte) {
	x.client.Receive(now, frame, &x.fx)
	x.apply(c)
}

func (x *exchange) apply(c *lac.Call) {
	for _, f := range x.fx.Frames {
		x.engine.Send(c, f)
	}
	x.up = x.up || x.fx.Up
	x.fx.Reset()
}

// TestOutgoingCallOverUDP has the real LNS open a tunnel to a LAC, ask it for a call by its API, and
// end it again, over real sockets.
func TestOutgoingCallOverUDP(t *testing.T) {
	group, err := udp.Listen([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	socket := ""
	runLNSD(t, func(dir string, listen netip.AddrPort) []string {
		file := filepath.Join(dir, "lnsd.yaml")
		socket = filepath.Join(dir, "lnsd.sock")
		text := fmt.Sprintf(callsOut, listen, group.Local(0), filepath.Join(dir, "journal"), socket)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"--config", file}
	})
	begun := time.Now()
	x := &exchange{t: t, now: func() time.Duration { return time.Since(begun) }}
	x.engine = lac.New(0, group, x)
	x.engine.Serve(&l2tp.TunnelConfig{HostName: "exchange", Secret: []byte("hush"), Rand: rand.NewChaCha8([32]byte{3})})
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !ok(); {
			if time.Now().After(deadline) {
				t.Fatalf("not %s", what)
			}
			if err := group.Wait(10 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if err := group.Read(func(sock uint16, from netip.AddrPort, b []byte) { x.engine.Receive(x.now(), sock, from, b) }); err != nil {
				t.Fatal(err)
			}
			x.engine.Advance(x.now())
			if x.call.Established() && x.client.Deadline() <= x.now() {
				x.client.Tick(x.now(), &x.fx)
				x.apply(&x.call)
			}
			if len(x.asked) > 0 && !x.call.Established() && x.down == nil {
				x.engine.Answer(x.now(), &x.call, nil)
			}
			group.Flush()
		}
	}
	until("listening", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	lnsctl := operator(t, socket)
	called := lnsctl("call", "0815", "--lac", "exchange")
	until("up", func() bool { return x.up })
	out := <-called
	_, rest, _ := strings.Cut(out, "session ")
	id, _, found := strings.Cut(rest, ":")
	if !found || len(x.asked) != 1 || x.asked[0] != "0815" {
		t.Fatalf("asked %q: %s", x.asked, out)
	}
	ended := lnsctl("session", "disconnect", id, "--yes")
	until("down", func() bool { return x.down != nil })
	if out := <-ended; x.down.Result.Code != l2tp.CDNAdministrative {
		t.Errorf("%s; the LAC was told %v", out, x.down.Result)
	}
}

// operator builds lnsctl and gives what runs it; what it prints comes when it is done.
func operator(t *testing.T, socket string) func(args ...string) <-chan string {
	t.Helper()
	file := built(t, "lnsctl")
	return func(args ...string) <-chan string {
		done := make(chan string, 1)
		go func() {
			out, err := exec.CommandContext(t.Context(), file, append(args, "--address", "unix:"+socket)...).CombinedOutput()
			if err != nil {
				t.Errorf("lnsctl %q: %v: %s", args, err, out)
			}
			done <- string(out)
		}()
		return done
	}
}
