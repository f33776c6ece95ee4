package dataplane

import (
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Fence says until when each listener may be answered for, where addresses
// move between the nodes of a cluster. A plane with a fence looks at it for
// every batch, before it sends and before it takes what came: a process that was
// stopped in between finds the time passed, and is silent. Times are those of
// BootTime. What is beyond a deadline is dropped and counted (Stats.Fenced).
//
// One gap is left: a thread that is stopped between its look at the clock and
// the system call that sends will send that one batch when it goes on.
type Fence struct {
	until []atomic.Int64
	late  []atomic.Pointer[Late]
	// now is for tests.
	now func() time.Duration
}

// Late takes what a fence does not let pass: what came, or with out what was to leave. The
// datagrams are only lent. It is called by the plane's goroutines, several at a time, and must not block.
type Late func(out bool, batch []Datagram)

// Unfenced is the deadline of a listener that may always be answered for.
const Unfenced = time.Duration(1<<63 - 1)

// NewFence makes a fence for n listeners, all closed.
func NewFence(n int) *Fence {
	return &Fence{until: make([]atomic.Int64, n), late: make([]atomic.Pointer[Late], n), now: BootTime}
}

// NewFenceAt makes a fence that goes by another clock, for tests and simulations.
func NewFenceAt(n int, now func() time.Duration) *Fence {
	f := NewFence(n)
	f.now = now
	return f
}

// Closed says, of each listener, whether its time is up, in shut, whose length
// is that of the fence. It looks at the clock once.
func (f *Fence) Closed(shut []bool) {
	now := int64(f.now())
	for i := range shut {
		shut[i] = f.until[i].Load() <= now
	}
}

// Set lets a listener be answered for until a time; one that has passed closes it.
func (f *Fence) Set(listener int, until time.Duration) { f.until[listener].Store(int64(until)) }

// Divert has late take what a listener's fence does not let pass, where another node answers
// for it now; nil has it dropped and counted again.
func (f *Fence) Divert(listener int, late Late) {
	if late == nil {
		f.late[listener].Store(nil)
		return
	}
	f.late[listener].Store(&late)
}

// Diverted is what Divert has set; nil where what does not pass is dropped.
func (f *Fence) Diverted(listener int) Late {
	if late := f.late[listener].Load(); late != nil {
		return *late
	}
	return nil
}

// Until is what Set has set.
func (f *Fence) Until(listener int) time.Duration {
	return time.Duration(f.until[listener].Load())
}

// A process that has its sockets from the one before reads nothing while the fence is shut, as it would drop what has
// waited there; but no longer than readAnyway, in which it has learned whose the addresses are or others answer for them.
const (
	readAnyway = 10 * time.Second
	lookAgain  = 2 * time.Millisecond
)

// opens waits until one of the listeners may be answered for, until readAnyway has passed, or until done.
func (f *Fence) opens(done <-chan struct{}, listeners ...int) {
	open := func(l int) bool { return f.until[l].Load() > int64(f.now()) }
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for end := time.Now().Add(readAnyway); !slices.ContainsFunc(listeners, open) && time.Now().Before(end); {
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// BootTime is CLOCK_BOOTTIME: it never jumps back, and counts while the machine is suspended.
func BootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("CLOCK_BOOTTIME: " + err.Error()) // it is there since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}

// fenced is a Transport behind a Fence.
type fenced struct {
	Transport
	fence   *Fence
	dropped atomic.Uint64
}

// files gives the descriptors of the Transport behind the fence.
func (t *fenced) files(f func(File) error) error {
	if k, ok := t.Transport.(interface{ files(func(File) error) error }); ok {
		return k.files(f)
	}
	return nil
}

// opens waits until any listener may be answered for; see Fence.opens.
func (t *fenced) opens(done <-chan struct{}) {
	all := make([]int, len(t.fence.until))
	for i := range all {
		all[i] = i
	}
	t.fence.opens(done, all...)
}

// Quiet implements Quieter.
func (t *fenced) Quiet() {
	if q, ok := t.Transport.(Quieter); ok {
		q.Quiet()
	}
}

// Send implements Transport. What is dropped counts as taken: it is not the kernel that refuses.
func (t *fenced) Send(shard int, batch []Datagram) int {
	sent, now := 0, t.fence.now()
	t.runs(batch, now, true, func(run []Datagram) { sent += t.Transport.Send(shard, run) }, &sent)
	return sent
}

// Start implements Transport.
func (t *fenced) Start(receive func(int, []Datagram)) error {
	return t.Transport.Start(func(shard int, batch []Datagram) {
		dropped := 0
		t.runs(batch, t.fence.now(), false, func(run []Datagram) { receive(shard, run) }, &dropped)
	})
}

// stop gives a run whose time is up to who takes it, or drops it.
func (t *fenced) stop(out bool, run []Datagram) {
	if l := int(run[0].Listener); l < len(t.fence.late) {
		if late := t.fence.Diverted(l); late != nil {
			late(out, run)
			return
		}
	}
	t.dropped.Add(uint64(len(run)))
}

// runs gives what may pass to f, in runs, and adds what may not to dropped.
func (t *fenced) runs(batch []Datagram, now time.Duration, out bool, f func([]Datagram), dropped *int) {
	for len(batch) > 0 {
		l, n := batch[0].Listener, 1
		for n < len(batch) && batch[n].Listener == l {
			n++
		}
		if int(l) < len(t.fence.until) && t.fence.until[l].Load() > int64(now) {
			f(batch[:n])
		} else {
			*dropped += n
			t.stop(out, batch[:n])
		}
		batch = batch[n:]
	}
}
