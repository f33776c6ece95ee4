package lns

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/lns/dataplane"
)

// benchCalls is how many calls are set up at a time.
const benchCalls = 500

// stepTimed is rig.step that adds up the time its shards take. LACs, subscribers and
// fakes are not in it.
func (r *rig) stepTimed(spent *time.Duration) {
	for again := true; again; {
		again = false
		for _, sh := range r.srv.shards {
			sh.inbox.take(&sh.spare)
			again = again || len(sh.spare.grams)+len(sh.spare.msgs) > 0
			from := threadTime()
			sh.step(r.clock.now, &sh.spare)
			*spent += threadTime() - from
		}
		again = r.aaa.answer() || again
		sent := r.sent
		r.sent = nil
		for _, d := range sent {
			again = true
			if l := r.lacs[d.Peer]; l != nil {
				l.receive(d.B)
			}
		}
		for _, l := range r.lacs {
			again = l.flush() || again
		}
	}
	r.clock.now += wheelTick
}

// threadTime is the CPU time of this thread, which what else runs on the machine does not count in.
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// round sets up n calls, from ICRQ to up, and gives them back.
func (r *rig) round(l *rigLAC, n int, spent *time.Duration) []*rigCall {
	calls := make([]*rigCall, n)
	for i := range calls {
		calls[i] = l.dial(fmt.Sprintf("subscriber%d@example.net", i), nil)
	}
	for slices.ContainsFunc(calls, func(c *rigCall) bool { return !c.up }) {
		for _, l := range r.lacs {
			l.tick()
		}
		r.stepTimed(spent)
	}
	return calls
}

// benchRig is a rig with a tunnel that is up.
func benchRig(b *testing.B, off bool) (*rig, *rigLAC) {
	r := newRig(b, func(c *Config) { c.Trace.Off = off })
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	return r, l
}

// BenchmarkCall is what a call costs the shards, from ICRQ to CDN, with tracing and without it.
// The two are measured in turns, since a busy machine would favour either.
func BenchmarkCall(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var spent [2]time.Duration
	calls := 0
	rounds := max(1, b.N/benchCalls)
	for range rounds {
		for i, off := range []bool{true, false} {
			b.StopTimer()
			r, l := benchRig(b, off)
			var warm time.Duration
			hangUp(r, l, r.round(l, benchCalls, &warm), &warm)
			runtime.GC()
			b.StartTimer()
			hangUp(r, l, r.round(l, benchCalls, &spent[i]), &spent[i])
		}
		calls += benchCalls
	}
	off, on := float64(spent[0].Nanoseconds())/float64(calls), float64(spent[1].Nanoseconds())/float64(calls)
	b.ReportMetric(off, "ns/untraced")
	b.ReportMetric(on, "ns/traced")
	b.ReportMetric(100*(on/off-1), "%more")
}

func hangUp(r *rig, l *rigLAC, calls []*rigCall, spent *time.Duration) {
	for _, c := range calls {
		c.hangUp()
	}
	for r.srv.sessions.Load() > 0 {
		r.stepTimed(spent)
	}
	l.calls, l.order = map[uint16]*rigCall{}, nil
}

// BenchmarkSessionMemory is what an established session holds, with tracing and without it, journal,
// accounting and LAC not counted.
func BenchmarkSessionMemory(b *testing.B) {
	const sessions = 5000
	for _, off := range []bool{true, false} {
		b.Run(fmt.Sprintf("trace=%t", !off), func(b *testing.B) {
			for range b.N {
				r, l := benchRig(b, off)
				before := heapInUse(r)
				var spent time.Duration
				for range sessions / benchCalls {
					r.round(l, benchCalls, &spent)
				}
				logs, octets := 0, 0
				for _, sh := range r.srv.shards {
					for _, s := range sh.sessions {
						logs++
						octets += s.trace.Size()
					}
				}
				r.lacs, l.calls, l.order = nil, nil, nil
				b.ReportMetric(float64(heapInUse(r)-before)/sessions, "B/session")
				b.ReportMetric(float64(octets)/float64(logs), "B/log")
				runtime.KeepAlive(r)
			}
		})
	}
}

// heapInUse is what is in use when the fakes' own memory is gone.
func heapInUse(r *rig) uint64 {
	r.aaa.usages, r.aaa.reqs = nil, nil
	j := newMemJournal()
	j.epoch = r.journal.epoch
	*r.journal = *j
	r.sent = nil
	for _, sh := range r.srv.shards {
		sh.spare, sh.out, sh.adds, sh.changes = batch{}, []dataplane.Datagram(nil), nil, nil
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
