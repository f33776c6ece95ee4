package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"culvert/sessiondb/cluster"
)

// Manual runs a Runner without goroutines, sockets or a clock, for
// simulations: whoever made it calls Step when Wake was called and when the time that
// Step gave has passed, and gives messages to Receive. All of it is called from one goroutine, or
// from coroutines of it that take turns.
type Manual struct {
	// Now is the time of the Runner.
	Now func() time.Duration
	// Wake says that Step has something to do.
	Wake func()
	// Go runs f soon, not at once. f may call Sleep and Wait, as may what it calls in Config.
	Go func(f func())
	// Sleep lets time pass for the caller; Wait until ok.
	Sleep func(d time.Duration)
	Wait  func(ok func() bool)
	// Send takes a message to another node.
	Send func(cluster.Out)

	queue []func()
}

// NewManual makes a Runner that m runs. Start and Close are not for it.
func NewManual(cfg Config, m *Manual) (*Runner, error) { return newRunner(cfg, m) }

// Step does what is to be done now, and says after what time the next is due.
func (r *Runner) Step() time.Duration {
	m := r.by
	for len(m.queue) > 0 {
		f := m.queue[0]
		m.queue = m.queue[1:]
		f()
	}
	r.tick()
	return min(max(0, r.m.Deadline()-r.now()), maxSleep)
}

// Receive takes a message of another node.
func (r *Runner) Receive(from string, msg *cluster.Message) {
	r.post(func() { r.m.Receive(r.now(), from, msg, &r.fx) })
}

var errStopping = errors.New("this node is stopping")

func (m *Manual) ask(r *Runner, f func()) error {
	done := false
	r.post(func() { f(); done = true })
	m.Wait(func() bool { return done })
	return nil
}

// spawn runs f beside the loop.
func (r *Runner) spawn(f func()) {
	if r.by != nil {
		r.by.Go(f)
		return
	}
	r.done.Go(f)
}

// send gives a message to another node.
func (r *Runner) send(o cluster.Out) {
	if r.by != nil {
		r.by.Send(o)
		return
	}
	r.peers.send(o)
}

// onHost has an address put onto this host, or taken away.
func (r *Runner) onHost(p put) {
	if r.by != nil {
		r.put(p)
		return
	}
	if p.again { // never worth waiting for
		select {
		case r.puts <- p:
		default:
		}
		return
	}
	r.puts <- p
}

// after calls f later.
func (r *Runner) after(d time.Duration, f func()) {
	if r.by != nil {
		r.by.Go(func() { r.by.Sleep(d); f() })
		return
	}
	time.AfterFunc(d, f)
}

// sleep waits for d, or for ctx's end, which is its error.
func (r *Runner) sleep(ctx context.Context, d time.Duration) error {
	if r.by != nil {
		r.by.Sleep(d)
		return nil
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("stopped: %w", ctx.Err())
	case <-time.After(d):
		return nil
	}
}
