package lns

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/journal"
)

// noJournal keeps nothing: what a call costs without a journal.
type noJournal struct{}

func (noJournal) Apply(context.Context, []sessiondb.Change) error { return nil }
func (noJournal) Close() error                                    { return nil }
func (noJournal) Epoch() uint32                                   { return 1 }

func none[T any](func(T, error) bool) {}

func (noJournal) Tunnels(context.Context) iter.Seq2[sessiondb.Tunnel, error] {
	return none[sessiondb.Tunnel]
}

func (noJournal) Sessions(context.Context) iter.Seq2[sessiondb.Session, error] {
	return none[sessiondb.Session]
}

func (noJournal) Calls(context.Context) iter.Seq2[sessiondb.Call, error] {
	return none[sessiondb.Call]
}

func (noJournal) Entries(context.Context) iter.Seq2[sessiondb.Entry, error] {
	return none[sessiondb.Entry]
}

func (noJournal) Objects(context.Context, string) iter.Seq2[sessiondb.Object, error] {
	return none[sessiondb.Object]
}

// BenchmarkCallJournal is what a call costs the shards, from ICRQ to CDN, with nothing
// journaled and with a journal on disk, in turns, since a busy machine would favour either.
// CPU is the whole process's, the journal's own goroutines and the LAC included.
func BenchmarkCallJournal(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	on, err := journal.Open(filepath.Join(b.TempDir(), "journal"), journal.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer on.Close()
	var spent, cpu [2]time.Duration
	calls := 0
	for range max(1, b.N/benchCalls) {
		for i, j := range []sessiondb.Journal{noJournal{}, on} {
			b.StopTimer()
			r := newRig(b, func(c *Config) { c.Journal = j })
			r.journal.fail = errors.New("not asked") // the rig's own is not used
			l := r.lac(1, "tunnel secret")
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			var warm time.Duration
			hangUp(r, l, r.round(l, benchCalls, &warm), &warm)
			runtime.GC()
			b.StartTimer()
			began := processorTime()
			hangUp(r, l, r.round(l, benchCalls, &spent[i]), &spent[i])
			cpu[i] += processorTime() - began
			b.StopTimer()
			r.stopTunnels()
			b.StartTimer()
		}
		calls += benchCalls
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(calls) }
	b.ReportMetric(each(spent[0]), "us/none")
	b.ReportMetric(each(spent[1]), "us/journal")
	b.ReportMetric(each(cpu[1]-cpu[0]), "us-CPU-more")
}
