package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// BenchmarkApply measures changes per second on a server of default settings
// but fsync, which is off in the shared one.
func BenchmarkApply(b *testing.B) {
	for _, batch := range []int{16, 100, 1000} {
		b.Run(fmt.Sprintf("insert/batch=%d", batch), func(b *testing.B) { benchApply(b, batch, 1<<30) })
		b.Run(fmt.Sprintf("update/batch=%d", batch), func(b *testing.B) { benchApply(b, batch, 20_000) })
	}
}

// benchApply puts sessions, of which keys are different.
func benchApply(b *testing.B, batch, keys int) {
	s := mustOpen(b, newDatabase(b))
	changes := make([]sessiondb.Change, batch)
	start := time.Now()
	b.ResetTimer()
	for done := 0; done < b.N; done += batch {
		for i := range changes {
			session := storetest.SessionOf((done + i) % keys)
			session.InOctets = uint64(done)
			changes[i] = put(session)
		}
		if err := s.Apply(b.Context(), changes); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "rows/s")
}

// BenchmarkDrop moves sessions to the history.
func BenchmarkDrop(b *testing.B) {
	s := mustOpen(b, newDatabase(b))
	const batch = 1000
	for begin := 0; begin < b.N; begin += batch {
		changes := make([]sessiondb.Change, 0, batch)
		for i := begin; i < min(begin+batch, b.N); i++ {
			changes = append(changes, put(storetest.SessionOf(i)))
		}
		if err := s.Apply(b.Context(), changes); err != nil {
			b.Fatal(err)
		}
	}
	start := time.Now()
	b.ResetTimer()
	for begin := 0; begin < b.N; begin += batch {
		changes := make([]sessiondb.Change, 0, batch)
		for i := begin; i < min(begin+batch, b.N); i++ {
			changes = append(changes, drop(storetest.SessionOf(i), "x"))
		}
		if err := s.Apply(b.Context(), changes); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "rows/s")
}

// BenchmarkSessions reads sessions back.
func BenchmarkSessions(b *testing.B) {
	s := mustOpen(b, newDatabase(b))
	const n = 20_000
	if err := s.Apply(b.Context(), puts(sessions(n))); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	rows := 0
	for b.Loop() {
		for _, err := range s.Sessions(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			rows++
		}
	}
	b.ReportMetric(float64(rows)/time.Since(start).Seconds(), "rows/s")
}

// BenchmarkResync brings an empty database, and then the one that has all of
// it already, up to date with 50,000 sessions.
func BenchmarkResync(b *testing.B) {
	const n = 50_000
	var source storetest.Memory
	if err := source.Apply(b.Context(), puts(sessions(n))); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		db := newDatabase(b)
		for _, name := range []string{"empty-ms", "same-ms"} {
			start := time.Now()
			w := sessiondb.NewWriter(func(ctx context.Context) (sessiondb.Store, error) {
				return Open(ctx, Config{ConnString: db, Node: storetest.Node})
			}, &source, sessiondb.WriterOptions{Log: slog.New(slog.DiscardHandler)})
			w.Start()
			for w.Stats().Resyncs == 0 {
				time.Sleep(time.Millisecond)
			}
			b.ReportMetric(float64(time.Since(start).Milliseconds()), name)
			if err := w.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
