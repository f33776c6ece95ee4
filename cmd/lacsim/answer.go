package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"culvert/lac"
	"culvert/lac/subscriber"
	"culvert/lac/udp"
	"culvert/proto/l2tp"
)

// answerCmd is "lacsim answer": a LAC that places the calls an LNS asks for.
type answerCmd struct {
	Listen    string        `default:"0.0.0.0:1701" help:"Address and port of this LAC; LNSs open tunnels to it."`
	LNS       string        `name:"lns" placeholder:"HOST[:PORT]" help:"Open a tunnel to this LNS, which it can ask for calls through, rather than wait for one of its own."`
	Secret    string        `help:"Tunnel secret."`
	HostName  string        `default:"lac1" help:"Host Name of this LAC."`
	Rings     time.Duration `default:"1s" help:"How long a telephone rings until its subscriber answers."`
	BusyEvery int           `name:"busy-every" help:"Every so manieth call finds its subscriber busy; 0: none does."`
	Hold      time.Duration `help:"Subscribers hang up after so long; 0 leaves it to the LNS."`
	Calls     int           `help:"End when so many calls have ended or were refused; 0: at SIGINT or SIGTERM."`
	User      string        `default:"user%d@isp" help:"User name; %d (or %06d) is the call's number, from 1."`
	Password  string        `default:"secret" help:"Password, a template like --user."`
	Auth      string        `enum:"pap,chap,mschapv2,eap,eap-md5,eap-mschapv2,any,none" default:"any" help:"Authentication that subscribers agree to, as for run."`
	MRU       uint16        `name:"mru" default:"1492" help:"MRU in LCP; 0 says nothing."`
	TxSpeed   uint32        `default:"64000" help:"Connect speed to the subscriber in bit/s."`
	RxSpeed   uint32        `default:"64000" help:"Connect speed from the subscriber in bit/s."`
	JSON      string        `name:"json" placeholder:"FILE" help:"Write the report as JSON; - is stdout."`
}

// answerReport is what became of the calls.
type answerReport struct {
	Asked    uint64 `json:"asked"`    // OCRQs
	Busy     uint64 `json:"busy"`     // refused
	Answered uint64 `json:"answered"` // OCCNs
	Up       uint64 `json:"up"`       // IPCP opened
	ByLNS    uint64 `json:"ended_by_lns"`
	HungUp   uint64 `json:"hung_up"`
	// Failures are calls that the LNS ended before they were up, by cause.
	Failures causes `json:"failures"`
}

// answerer runs an answerCmd; all of it is one goroutine's.
type answerer struct {
	*answerCmd
	out            io.Writer
	now            func() time.Duration
	group          *udp.Group
	engine         *lac.Engine
	user, password template
	client         subscriber.Config
	tunnels        map[*lac.Tunnel]bool
	own            error // why the tunnel to --lns is not there
	ended          int   // calls that are over
	fx             subscriber.Effects
	report         answerReport
}

// Run answers until it is told to stop, or --calls have ended.
func (c *answerCmd) Run(ctx context.Context) error {
	a, lns, err := c.prepare(os.Stdout)
	if err != nil {
		return err
	}
	defer a.group.Close()
	if c.JSON == "-" {
		a.out = os.Stderr
	}
	stop := context.AfterFunc(ctx, a.group.Wake)
	defer stop()
	if err := a.run(ctx, lns); err != nil {
		return err
	}
	r := &a.report
	fmt.Fprintf(a.out, "%d calls asked for, %d answered, %d busy, %d up, %d ended by the LNS, %d hung up\n", r.Asked, r.Answered, r.Busy, r.Up, r.ByLNS, r.HungUp)
	for _, cause := range r.Failures.sorted() {
		fmt.Fprintf(a.out, "failed: %d: %s\n", r.Failures[cause], cause)
	}
	if c.JSON != "" {
		if err := writeJSON(c.JSON, r); err != nil {
			return err
		}
	}
	if r.Up < r.Answered {
		return errResult
	}
	return nil
}

// prepare checks the options and opens the socket; lns is invalid without --lns.
func (c *answerCmd) prepare(out io.Writer) (a *answerer, lns netip.AddrPort, err error) {
	begun := time.Now()
	a = &answerer{answerCmd: c, out: out, now: func() time.Duration { return time.Since(begun) }, tunnels: map[*lac.Tunnel]bool{}}
	listen, err := parseAddrPort(c.Listen, l2tpPort)
	if err != nil {
		return nil, lns, fmt.Errorf("--listen %s: %w", c.Listen, err)
	}
	if c.LNS != "" {
		if lns, err = parseAddrPort(c.LNS, l2tpPort); err != nil {
			return nil, lns, fmt.Errorf("--lns %s: %w", c.LNS, err)
		}
		if lns.Addr().Is4() != listen.Addr().Is4() {
			return nil, lns, errors.New("--listen and --lns: one is IPv4, the other IPv6")
		}
	}
	if a.user, err = parseTemplate(c.User); err != nil {
		return nil, lns, fmt.Errorf("--user: %w", err)
	}
	if a.password, err = parseTemplate(c.Password); err != nil {
		return nil, lns, fmt.Errorf("--password: %w", err)
	}
	if c.Rings < 0 || c.Hold < 0 || c.Calls < 0 || c.BusyEvery < 0 {
		return nil, lns, errors.New("--rings, --hold, --calls and --busy-every: want 0 or more")
	}
	if c.MRU != 0 && (c.MRU < 128 || c.MRU > 1500) {
		return nil, lns, fmt.Errorf("--mru %d: want 128 to 1500, or 0", c.MRU)
	}
	a.client = subscriber.DefaultConfig()
	a.client.Auth, a.client.EAP, a.client.MRU = authMethods(c.Auth), eapMethods(c.Auth), c.MRU
	a.group, err = udp.Listen([]netip.AddrPort{listen}, udp.Options{})
	return a, lns, err
}

// answerStop is how long the LNS has to acknowledge that the tunnels end.
const answerStop = 5 * time.Second

// run answers calls until ctx is done or all are over, then ends the tunnels.
func (a *answerer) run(ctx context.Context, lns netip.AddrPort) error {
	a.engine = lac.New(a.now(), a.group, a)
	cfg := &l2tp.TunnelConfig{HostName: a.HostName, VendorName: "Culvert lacsim", Secret: []byte(a.Secret), Rand: rand.Reader}
	a.engine.Serve(cfg)
	fmt.Fprintf(a.out, "LAC %s on %v\n", a.HostName, a.group.Local(0))
	if lns.IsValid() {
		if _, err := a.engine.Open(a.now(), 0, lns, cfg); err != nil {
			return err
		}
	}
	stopping := time.Duration(-1)
	for {
		a.engine.Advance(a.now())
		over := ctx.Err() != nil || a.own != nil || a.Calls > 0 && a.ended >= a.Calls
		if over && stopping < 0 {
			stopping = a.now()
			for t := range a.tunnels {
				a.engine.Stop(a.now(), t, l2tp.Result{Code: l2tp.StopShutdown})
			}
		}
		a.group.Flush()
		if stopping >= 0 && (len(a.tunnels) == 0 || a.now() > stopping+answerStop) {
			return a.own
		}
		if err := a.group.Wait(min(max(a.engine.Next()-a.now(), 0), 100*time.Millisecond)); err != nil {
			return err
		}
		if err := a.group.Read(func(sock uint16, from netip.AddrPort, b []byte) { a.engine.Receive(a.now(), sock, from, b) }); err != nil {
			return err
		}
	}
}

// say prints a line about a call or tunnel.
func (a *answerer) say(now time.Duration, format string, args ...any) {
	fmt.Fprintf(a.out, "%8.3fs  %s\n", now.Seconds(), fmt.Sprintf(format, args...))
}

// TunnelUp is called by the engine.
func (a *answerer) TunnelUp(now time.Duration, t *lac.Tunnel) {
	a.tunnels[t] = true
	a.say(now, "tunnel %d with %q at %v", t.ID(), t.PeerName(), t.Peer())
}

// TunnelDown is called by the engine.
func (a *answerer) TunnelDown(now time.Duration, t *lac.Tunnel, end lac.End) {
	a.say(now, "tunnel %d is down: %s", t.ID(), tunnelCause(end))
	if !end.Local && t.Opened() && a.LNS != "" {
		a.own = fmt.Errorf("the tunnel to %v: %s", t.Peer(), tunnelCause(end))
	}
}

// TunnelClosed is called by the engine.
func (a *answerer) TunnelClosed(_ time.Duration, t *lac.Tunnel, _ bool) { delete(a.tunnels, t) }

// Connect is of incoming calls, which this LAC has none of.
func (a *answerer) Connect(time.Duration, *lac.Call, *l2tp.Message, *l2tp.Message) {}
