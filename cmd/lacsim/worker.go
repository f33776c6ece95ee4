package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"culvert/lac"
	"culvert/lac/subscriber"
	"culvert/lac/udp"
	"culvert/lac/wheel"
	"culvert/proto/l2tp"
)

// worker runs a share of the tunnels in one goroutine.
type worker struct {
	// Set before it runs.
	plan   *plan
	group  *udp.Group
	clock  func() time.Duration
	rate   float64 // calls in a second; 0 is no bound
	burst  float64
	flight int // this worker's share of --in-flight

	// The worker's goroutine's.
	engine      *lac.Engine
	socks       []*tunnel // the tunnel being opened from each socket
	rnd         *rand.PCG
	sessions    []session
	tunnels     []tunnel
	opening     int // tunnels before this one were opened
	ready       []*tunnel
	closing     []*tunnel
	hangup      bool
	terminating int // sessions hung up by a Terminate-Request and not yet down
	live        int // tunnels that are opened and not yet closed
	isBusy      bool
	busySince   time.Duration
	busyCount   uint64
	tokens      float64
	filled      time.Duration
	fx          subscriber.Effects
	msg         l2tp.Message
	frame       []byte
	line        line
	reports     lineReports
	count       counters
	setup       histogram // ICRQ to IPCP
	openTime    histogram // SCCRQ to SCCCN
	latency     histogram

	// For other goroutines.
	commands chan func(now time.Duration)
	mu       sync.Mutex
	shown    counters
}

const publishEvery = 20 * time.Millisecond

// newWorker makes worker number i of n, with its sockets.
func newWorker(p *plan, i, n int, clock func() time.Duration) (*worker, error) {
	w := &worker{plan: p, clock: clock, rnd: rand.NewPCG(p.opt.Seed, uint64(i)), commands: make(chan func(time.Duration), 16)}
	var sources []netip.AddrPort
	for j := i; j < len(p.sources); j += n {
		sources = append(sources, p.sources[j])
	}
	var err error
	if w.group, err = udp.Listen(sources, udp.Options{Buffer: 8 << 20}); err != nil {
		return nil, err
	}
	w.rate = p.opt.Rate / float64(n)
	w.burst = max(1, w.rate/200)
	w.flight = max(1, p.opt.InFlight/n)
	w.engine = lac.New(clock(), w.group, w)
	w.line = line{worker: w, delay: p.opt.LineDelay}
	w.reports = lineReports{worker: w}
	w.reports.begin(clock())
	w.socks = make([]*tunnel, w.group.Sockets())
	w.share(i, n)
	return w, nil
}

// share makes this worker's tunnels and sessions: those whose number is i modulo n.
func (w *worker) share(i, n int) {
	o := &w.plan.opt
	count := (o.LACs - i + n - 1) / n
	w.tunnels = make([]tunnel, count)
	w.sessions = make([]session, count*o.Sessions)
	for j := range w.tunnels {
		t := &w.tunnels[j]
		number := j*n + i
		*t = tunnel{worker: w, number: number + 1, lns: w.plan.lns[number%len(w.plan.lns)], sock: uint16(j % w.group.Sockets())}
		t.sessions = w.sessions[j*o.Sessions : (j+1)*o.Sessions]
		for k := range t.sessions {
			t.sessions[k] = session{worker: w, tunnel: t, index: uint32(j*o.Sessions + k), number: o.First + number*o.Sessions + k}
		}
	}
	w.count.Sessions.Wanted = uint64(len(w.sessions))
	w.count.Sessions.Pending = int64(len(w.sessions))
}

// run works until everything is hung up.
func (w *worker) run() error {
	defer w.group.Close()
	published := time.Duration(-1 << 62)
	now := w.clock()
	receive := func(sock uint16, from netip.AddrPort, b []byte) { w.engine.Receive(now, sock, from, b) }
	for {
		w.engine.Advance(now)
		w.obey(now)
		wake := w.pump(now)
		w.group.Flush()
		if now-published >= publishEvery {
			published = now
			w.publish()
		}
		if w.hangup && w.live == 0 {
			w.publish()
			return nil
		}
		wake = min(wake, w.engine.Next(), now+publishEvery)
		if w.busy(now) {
			w.group.Gather(gather)
		}
		if err := w.group.Wait(max(wake-w.clock(), 0)); err != nil {
			return err
		}
		now = w.clock()
		if err := w.group.Read(receive); err != nil {
			return err
		}
	}
}

const (
	// gather is how long a busy worker waits for more datagrams before it reads. It adds to
	// the times measured, as little as busyRate permits.
	gather = 250 * time.Microsecond
	// busyRate is when a worker is busy, in datagrams a second.
	busyRate   = 8000
	busyWindow = 10 * time.Millisecond
)

// busy says whether so many datagrams come in that it pays to gather them.
func (w *worker) busy(now time.Duration) bool {
	if now-w.busySince >= busyWindow {
		received := w.group.Stats().Received
		w.isBusy = float64(received-w.busyCount) > busyRate*(now-w.busySince).Seconds()
		w.busySince, w.busyCount = now, received
	}
	return w.isBusy
}

func (w *worker) obey(now time.Duration) {
	for {
		select {
		case f := <-w.commands:
			f(now)
		default:
			return
		}
	}
}

// post has the worker's goroutine call f.
func (w *worker) post(f func(now time.Duration)) {
	w.commands <- f
	w.group.Wake()
}

func (w *worker) publish() {
	s, e := w.group.Stats(), w.engine.Stats()
	c := &w.count.Wire
	c.Received, c.Sent, c.SendDropped = s.Received, s.Sent, s.SendDropped
	w.count.Failovers = e.Failovers
	c.Dropped = s.Truncated + e.NoTunnel + e.NoSession + e.Stranger + e.Dropped + e.Late
	c.Malformed = e.Malformed
	w.count.Lines.SpeedRequests, w.count.Lines.LinkInfos = e.SpeedRequests, e.LinkInfos
	w.mu.Lock()
	w.shown = w.count.clone()
	w.mu.Unlock()
}

// show is a copy of the counters, at most publishEvery old.
func (w *worker) show() counters {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown.clone()
}

// pump opens tunnels, dials and hangs up as far as bounds permit, and says when to
// be called again at the latest.
func (w *worker) pump(now time.Duration) time.Duration {
	if w.hangup {
		w.pumpHangup(now)
		return wheel.Never
	}
	for w.opening < len(w.tunnels) && w.count.Tunnels.Opening < int64(w.flight) {
		t := &w.tunnels[w.opening]
		if w.plan.opt.SerialOpen && w.socks[t.sock] != nil {
			break
		}
		w.opening++
		t.open(now)
	}
	return w.pumpDial(now)
}

func (w *worker) pumpDial(now time.Duration) time.Duration {
	if w.rate > 0 {
		w.tokens = min(w.tokens+w.rate*(now-w.filled).Seconds(), w.burst)
		w.filled = now
	}
	for n := len(w.ready); n > 0 && w.count.Sessions.SettingUp < int64(w.flight); n-- {
		if w.rate > 0 && w.tokens < 1 {
			return now + time.Duration((1-w.tokens)/w.rate*float64(time.Second))
		}
		t := w.ready[0]
		w.ready = w.ready[1:]
		if t.dialNext(now) {
			w.tokens--
			n = len(w.ready) + 1
		}
		if t.queued = t.wantsDial(); t.queued {
			w.ready = append(w.ready, t)
		}
	}
	return wheel.Never
}

// pumpHangup ends sessions, then tunnels, with no more messages under way than --in-flight.
func (w *worker) pumpHangup(now time.Duration) {
	kept := w.closing[:0]
	for i, t := range w.closing {
		if w.underWay() >= w.flight {
			kept = append(kept, w.closing[i:]...)
			break
		}
		if !t.hangupSome(now) {
			kept = append(kept, t)
		}
	}
	w.closing = kept
}

// underWay is how many messages, and Terminate-Requests, wait for an answer.
func (w *worker) underWay() int { return w.engine.Unacked() + w.terminating }

// beginHangup ends the run: nothing is dialled any more, everything is hung up.
func (w *worker) beginHangup(now time.Duration) {
	if w.hangup {
		return
	}
	w.hangup = true
	for i := range w.tunnels {
		w.closing = append(w.closing, &w.tunnels[i])
	}
	w.ready = nil
	for i := range w.sessions {
		w.sessions[i].beginHangup(now)
	}
}

// errors that only a programming mistake brings about end the worker.
func must(err error) {
	if err != nil && !errors.Is(err, lac.ErrTunnelDown) && !errors.Is(err, lac.ErrNoSessionID) {
		panic(fmt.Sprintf("lacsim: %v", err))
	}
}
