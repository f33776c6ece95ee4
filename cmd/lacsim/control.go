package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"time"

	"golang.org/x/sync/errgroup"
)

// controller watches the workers and says when to hang up.
type controller struct {
	plan    *plan
	workers []*worker
	started time.Time
	stderr  io.Writer
	stdout  io.Writer

	hungUp    bool
	settledAt time.Duration // every session was dialled and answered; 0: not yet
	upAt      time.Duration // the last session came up
	lastUp    uint64
	peak      int64
	shownAt   time.Duration
	shownUp   uint64
}

const pollEvery = 20 * time.Millisecond

// Run is "lacsim run".
func (o *runCmd) Run(ctx context.Context) error {
	p, err := o.plan()
	if err != nil {
		return err
	}
	c := &controller{plan: p, started: time.Now(), stderr: os.Stderr, stdout: os.Stdout}
	if o.JSON == "-" {
		c.stdout = os.Stderr
	}
	if o.CPUProfile != "" {
		f, err := os.Create(o.CPUProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var stdin io.Reader
	if o.Stdin {
		stdin = os.Stdin
	}
	if err := c.prepare(); err != nil {
		return err
	}
	r, err := c.run(ctx, stdin)
	if err != nil {
		return err
	}
	r.print(c.stdout)
	if o.JSON != "" {
		if err := writeJSON(o.JSON, r); err != nil {
			return err
		}
	}
	if !r.OK {
		return errResult
	}
	return nil
}

func (c *controller) clock() time.Duration { return time.Since(c.started) }

// prepare makes the workers.
func (c *controller) prepare() error {
	n := c.plan.opt.Workers
	for i := range n {
		w, err := newWorker(c.plan, i, n, c.clock)
		if err != nil {
			for _, w := range c.workers {
				w.group.Close()
			}
			return err
		}
		c.workers = append(c.workers, w)
	}
	return nil
}

// run runs the workers until all is hung up.
func (c *controller) run(ctx context.Context, stdin io.Reader) (*report, error) {
	before := usage()
	var tasks errgroup.Group
	done := make(chan struct{})
	for _, w := range c.workers {
		tasks.Go(w.run)
	}
	var failure error
	go func() { failure = tasks.Wait(); close(done) }()
	commands := make(chan string)
	if stdin != nil {
		go readCommands(stdin, commands, done)
	}
	c.watch(ctx, commands, done)
	if failure != nil {
		return nil, failure
	}
	return c.report(before), nil
}

// readCommands hands on the lines of stdin, and "hangup" at its end.
func readCommands(stdin io.Reader, commands chan<- string, done <-chan struct{}) {
	lines := bufio.NewScanner(stdin)
	send := func(s string) {
		select {
		case commands <- s:
		case <-done:
		}
	}
	for lines.Scan() {
		send(lines.Text())
	}
	send("hangup")
}

// watch polls the workers until they are done.
func (c *controller) watch(ctx context.Context, commands <-chan string, done <-chan struct{}) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			c.hangup("told to stop")
			ctx = context.Background()
		case line := <-commands:
			c.command(line)
		case <-tick.C:
			c.poll()
		}
	}
}

func (c *controller) total() counters {
	var sum counters
	for _, w := range c.workers {
		s := w.show()
		sum.add(&s)
	}
	return sum
}

func (c *controller) poll() {
	now, sum, o := c.clock(), c.total(), &c.plan.opt
	c.peak = max(c.peak, sum.Sessions.Now)
	if sum.Sessions.Up > c.lastUp {
		c.lastUp, c.upAt = sum.Sessions.Up, now
	}
	if !o.Quiet && now-c.shownAt >= o.Interval {
		c.progress(now, &sum)
	}
	if sum.Sessions.Wanted > 0 && sum.Sessions.Pending == 0 && c.settledAt == 0 {
		c.settledAt = now
		c.writeReady(&sum)
	}
	switch {
	case o.Duration > 0 && now >= o.Duration:
		c.hangup("--duration is over")
	case c.settledAt != 0 && !o.Stay && !o.Redial && (o.Packets != 0 || o.Hold > 0 || !c.plan.traffic.on):
		c.hangup("")
	}
}

func (c *controller) hangup(why string) {
	if c.hungUp {
		return
	}
	c.hungUp = true
	if why != "" && !c.plan.opt.Quiet {
		fmt.Fprintln(c.stderr, "lacsim: hanging up:", why)
	}
	for _, w := range c.workers {
		w.post(w.beginHangup)
	}
}

// command does one line of --stdin.
func (c *controller) command(line string) {
	switch line {
	case "status":
		sum := c.total()
		_ = json.NewEncoder(c.stdout).Encode(&sum)
	case "packets":
		c.settledAt = 0
		for _, w := range c.workers {
			done := make(chan struct{})
			w.post(func(now time.Duration) { w.morePackets(now); w.publish(); close(done) })
			<-done
		}
	case "fail":
		for _, w := range c.workers {
			w.post(w.fail)
		}
	case "hangup":
		c.hangup("asked on stdin")
	case "":
	default:
		fmt.Fprintf(c.stderr, "lacsim: %q is no command; want status, packets, fail or hangup\n", line)
	}
}

// progress prints a line on how far the run is.
func (c *controller) progress(now time.Duration, sum *counters) {
	s := &sum.Sessions
	rate := float64(s.Up-c.shownUp) / (now - c.shownAt).Seconds()
	fmt.Fprintf(c.stderr, "%6.1fs tunnels %d, dialled %d, setting up %d, up %d (%.0f/s), failed %d, ended by LNS %d",
		now.Seconds(), sum.Tunnels.Now, s.Dialled, s.SettingUp, s.Now, rate, s.Failed, s.ByLNS)
	if c.plan.traffic.on {
		fmt.Fprintf(c.stderr, ", packets %d, answered %d", sum.Packets.Sent, sum.Packets.Answered)
	}
	fmt.Fprintln(c.stderr)
	c.shownAt, c.shownUp = now, s.Up
}

// writeReady tells who waits for it that every session has been dialled. The file appears
// whole.
func (c *controller) writeReady(sum *counters) {
	name := c.plan.opt.Ready
	if name == "" {
		return
	}
	if err := writeJSON(name+".tmp", sum); err == nil {
		err = os.Rename(name+".tmp", name)
		if err == nil {
			return
		}
	}
	fmt.Fprintln(c.stderr, "lacsim: cannot write", name)
}

func writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if name == "-" {
		_, err = os.Stdout.Write(b)
		return err
	}
	return os.WriteFile(name, b, 0o644)
}
