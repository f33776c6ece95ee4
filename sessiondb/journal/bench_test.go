package journal

import (
	"fmt"
	"sync"
	"testing"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// BenchmarkApply is the cost of one change to a session, encoding included,
// in batches, with as many callers as there would be shards.
func BenchmarkApply(b *testing.B) {
	for _, callers := range []int{1, 4} {
		for _, batch := range []int{1, 16, 100} {
			b.Run(fmt.Sprintf("callers=%d/batch=%d", callers, batch), func(b *testing.B) { benchApply(b, callers, batch) })
		}
	}
}

func benchApply(b *testing.B, callers, batch int) {
	j := mustOpen(b, b.TempDir())
	b.ReportAllocs()
	cpu := cpuTime()
	b.ResetTimer()
	var group sync.WaitGroup
	for w := range callers {
		group.Go(func() {
			changes := make([]sessiondb.Change, batch)
			for done := 0; done < b.N; done += batch * callers {
				for i := range changes {
					s := storetest.SessionOf(w*5000 + (done+i)%5000)
					s.State = make([]byte, 200)
					s.InOctets = uint64(done)
					changes[i] = sessiondb.Change{Op: sessiondb.PutSession, Session: &s}
				}
				if err := j.Apply(b.Context(), changes); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/1000/float64(b.N), "cpu-us/change")
}

// BenchmarkOpen is the recovery of 200,000 sessions.
func BenchmarkOpen(b *testing.B) {
	const sessions = 200_000
	dir := b.TempDir()
	j := mustOpen(b, dir)
	for i := 0; i < sessions; i += 1000 {
		changes := make([]sessiondb.Change, 1000)
		for k := range changes {
			s := storetest.SessionOf(i + k)
			s.State = make([]byte, 200)
			changes[k] = sessiondb.Change{Op: sessiondb.PutSession, Session: &s}
		}
		if err := j.Apply(b.Context(), changes); err != nil {
			b.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		j := mustOpen(b, dir)
		n := 0
		for _, err := range j.Sessions(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if err := j.Close(); err != nil || n != sessions {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkEncodeSession(b *testing.B) {
	s := storetest.SessionOf(7)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendSession(buf[:0], &s)
	}
}

func BenchmarkDecodeSession(b *testing.B) {
	want := storetest.SessionOf(7)
	record := appendSession(nil, &want)
	b.ReportAllocs()
	for b.Loop() {
		var s sessiondb.Session
		if err := decodeSession(record, &s); err != nil {
			b.Fatal(err)
		}
	}
}
