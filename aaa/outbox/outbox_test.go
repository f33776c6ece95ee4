package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"culvert/aaa"
	"culvert/sessiondb"
)

func closeOutbox(t *testing.T, o *Outbox, wait time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return o.Close(ctx)
}

func TestOrderAndDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, ac := newStore(), &accountant{delay: time.Millisecond}
		o := New(Config{Concurrency: 8}, st, ac)
		seq := uint64(0)
		for i := range 100 {
			id := fmt.Sprint("s", i)
			o.Submit(st.put(rec(seq+1, aaa.UsageStart, id), rec(seq+2, aaa.UsageInterim, id), rec(seq+3, aaa.UsageStop, id)))
			seq += 3
		}
		if err := closeOutbox(t, o, time.Minute); err != nil {
			t.Fatal(err)
		}
		if st.len() != 0 {
			t.Errorf("%d entries left in the journal", st.len())
		}
		for i := range 100 {
			got := ac.kinds(fmt.Sprint("s", i))
			if !slices.Equal(got, []aaa.UsageKind{aaa.UsageStart, aaa.UsageStop}) {
				t.Fatalf("session %d: %v", i, got)
			}
		}
		if ac.maxOut != 8 {
			t.Errorf("%d records were out at once, want 8", ac.maxOut)
		}
		if s := o.Stats(); s.Acknowledged != 200 || s.Coalesced != 100 || s.Submitted != 300 || s.Pending != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestAwayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, ac := newStore(), &accountant{delay: time.Millisecond, refuse: always}
		o := New(Config{Concurrency: 16}, st, ac)
		seq := uint64(0)
		for round := range 50 {
			for i := range 100 {
				kind := aaa.UsageInterim
				if round == 0 {
					kind = aaa.UsageStart
				}
				seq++
				o.Submit(st.put(rec(seq, kind, fmt.Sprint("s", i))))
			}
			time.Sleep(time.Minute)
		}
		// Every session has a Start and its last interim.
		if n := st.len(); n != 200 {
			t.Errorf("%d entries in the journal, want 200", n)
		}
		if s := o.Stats(); s.Pending != 200 || !s.Away {
			t.Errorf("stats %+v", s)
		}
		// 50 minutes with a pause of a minute at most.
		if ac.tries > 16+2*70 {
			t.Errorf("%d tries while the server was away", ac.tries)
		}
		ac.setRefuse(nil)
		time.Sleep(65 * time.Second)
		if s := o.Stats(); s.Pending != 0 || s.Away {
			t.Errorf("a minute after the server's return: %+v", s)
		}
		for i := range 100 {
			if got := ac.kinds(fmt.Sprint("s", i)); !slices.Equal(got, []aaa.UsageKind{aaa.UsageStart, aaa.UsageInterim}) {
				t.Fatalf("session %d: %v", i, got)
			}
		}
		if err := closeOutbox(t, o, time.Second); err != nil {
			t.Error(err)
		}
	})
}

// What comes while an interim is out waits for it, whether it is acknowledged
// or not.
func TestInterimOutIsNotSuperseded(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			st, ac := newStore(), &accountant{delay: 100 * time.Millisecond}
			if fails {
				ac.refuse = func(u aaa.Usage) bool { return u.Seq == 1 }
			}
			o := New(Config{}, st, ac)
			o.Submit(st.put(rec(1, aaa.UsageInterim, "a")))
			time.Sleep(50 * time.Millisecond)
			o.Submit(st.put(rec(2, aaa.UsageInterim, "a"), rec(3, aaa.UsageStop, "a")))
			if err := closeOutbox(t, o, time.Minute); err != nil {
				t.Fatal(err)
			}
			want := []aaa.UsageKind{aaa.UsageInterim, aaa.UsageStop}
			if fails {
				want = want[1:]
			}
			if got := ac.kinds("a"); !slices.Equal(got, want) || st.len() != 0 || o.Stats().InFlight != 0 {
				t.Errorf("fails %t: %v, %+v", fails, got, o.Stats())
			}
		})
	}
}

// One record that the server never acknowledges must not keep the others.
func TestPoisonRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStore()
		ac := &accountant{delay: time.Millisecond, refuse: func(u aaa.Usage) bool { return u.Identity.AcctSessionID == "poison" }}
		o := New(Config{Concurrency: 4}, st, ac)
		o.Submit(st.put(rec(1, aaa.UsageStart, "poison"), rec(2, aaa.UsageStop, "poison")))
		for i := range 1000 {
			o.Submit(st.put(rec(uint64(10+i), aaa.UsageStart, fmt.Sprint("s", i))))
		}
		time.Sleep(time.Second)
		if s := o.Stats(); s.Acknowledged != 1000 || s.Pending != 2 {
			t.Errorf("stats %+v", s)
		}
		if err := closeOutbox(t, o, time.Second); err == nil {
			t.Error("Close does not tell of the records that are left")
		}
		if st.len() != 2 {
			t.Errorf("%d entries left, want the two of the poisoned session", st.len())
		}
	})
}

func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, ac := newStore(), &accountant{}
		st.put(rec(3, aaa.UsageStop, "b"), rec(1, aaa.UsageStart, "a"), rec(2, aaa.UsageStart, "b"), rec(4, aaa.UsageInterim, "a"), rec(5, aaa.UsageInterim, "a"))
		st.entries[6] = sessiondb.Entry{Seq: 6, Payload: []byte("rubbish")}
		o := New(Config{}, st, ac)
		n, err := o.Load(context.Background())
		if n != 5 || err != nil {
			t.Fatalf("loaded %d, %v", n, err)
		}
		o.Submit(st.put(rec(7, aaa.UsageStop, "a")))
		if err := closeOutbox(t, o, time.Second); err != nil {
			t.Fatal(err)
		}
		if got := ac.kinds("b"); !slices.Equal(got, []aaa.UsageKind{aaa.UsageStart, aaa.UsageStop}) {
			t.Errorf("b: %v", got)
		}
		if got := ac.kinds("a"); !slices.Contains(got, aaa.UsageStart) || got[len(got)-1] != aaa.UsageStop {
			t.Errorf("a: %v", got)
		}
		if s := o.Stats(); s.Corrupt != 1 || st.len() != 1 {
			t.Errorf("stats %+v, %d entries left, want the unreadable one", s, st.len())
		}
	})
}

// Beyond MemoryRecords the journal has the records, and they come back in order.
func TestStubs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, ac := newStore(), &accountant{delay: time.Millisecond, refuse: always}
		o := New(Config{Concurrency: 16, MemoryRecords: 100}, st, ac)
		const sessions = 20000
		for i := range sessions {
			o.Submit(st.put(rec(uint64(i+1), aaa.UsageStart, fmt.Sprint("s", i))))
		}
		for i := range sessions {
			o.Submit(st.put(rec(uint64(sessions+i+1), aaa.UsageStop, fmt.Sprint("s", i))))
		}
		time.Sleep(10 * time.Minute)
		s := o.Stats()
		if whole := s.Pending - s.Stubs; s.Pending != 2*sessions || whole > 100+2*refill {
			t.Errorf("%d records whole in memory: %+v", whole, s)
		}
		ac.setRefuse(nil)
		if err := closeOutbox(t, o, time.Hour); err != nil {
			t.Fatal(err)
		}
		if st.len() != 0 || len(ac.got) != 2*sessions {
			t.Errorf("%d entries left, %d records got", st.len(), len(ac.got))
		}
		started := map[string]bool{}
		for _, u := range ac.got {
			if u.Kind == aaa.UsageStart {
				started[u.Identity.AcctSessionID] = true
			} else if !started[u.Identity.AcctSessionID] {
				t.Fatalf("Stop of %s before its Start", u.Identity.AcctSessionID)
			}
		}
		if o.Stats().JournalErrors != 0 {
			t.Errorf("stats %+v", o.Stats())
		}
	})
}

func TestJournalFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, ac := newStore(), &accountant{}
		o := New(Config{}, st, ac)
		records := st.put(rec(1, aaa.UsageStart, "a"))
		st.mu.Lock()
		st.fail = errors.New("disk full")
		st.mu.Unlock()
		o.Submit(records)
		time.Sleep(10 * time.Second)
		if s := o.Stats(); s.Acknowledged != 1 || s.JournalErrors < 5 || s.JournalErrors > 15 {
			t.Errorf("stats %+v", s)
		}
		st.mu.Lock()
		st.fail = nil
		st.mu.Unlock()
		time.Sleep(2 * time.Second)
		if st.len() != 0 {
			t.Error("the entry was never dropped")
		}
		if err := closeOutbox(t, o, time.Second); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, ac := newStore(), &accountant{refuse: always}
		o := New(Config{}, st, ac)
		o.Submit(st.put(rec(1, aaa.UsageStart, "a")))
		began := time.Now()
		err := closeOutbox(t, o, 5*time.Second)
		if err == nil || time.Since(began) != 5*time.Second || st.len() != 1 {
			t.Errorf("got %v after %s, %d entries left", err, time.Since(began), st.len())
		}
		o.Submit(st.put(rec(2, aaa.UsageStop, "a")))
		if s := o.Stats(); s.Submitted != 1 || st.len() != 2 {
			t.Errorf("a submission after Close: %+v", s)
		}
	})
}

// A server that fails at random, crashes of the process in between: nothing
// is lost, and order holds.
func TestRandomFailures(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) { randomRun(t, seed) })
	}
}

func randomRun(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	st, ac := newStore(), &accountant{delay: time.Millisecond}
	var mu sync.Mutex
	ac.refuse = func(aaa.Usage) bool { mu.Lock(); defer mu.Unlock(); return rnd.IntN(3) == 0 }
	cfg := Config{Concurrency: 1 + int(seed), MemoryRecords: 1 + int(seed)*5, RetryFirst: 10 * time.Millisecond, RetryCap: time.Second}
	o := New(cfg, st, ac)
	state := map[string]aaa.UsageKind{}
	for seq := uint64(1); seq < 400; seq++ {
		mu.Lock()
		id, crash, nap := fmt.Sprint("s", rnd.IntN(40)), rnd.IntN(100) == 0, rnd.IntN(10)
		mu.Unlock()
		kind := map[aaa.UsageKind]aaa.UsageKind{0: aaa.UsageStart, aaa.UsageStart: aaa.UsageInterim, aaa.UsageInterim: aaa.UsageStop}[state[id]]
		if kind != 0 {
			state[id] = kind
			o.Submit(st.put(rec(seq, kind, id)))
		}
		time.Sleep(time.Duration(nap) * time.Millisecond)
		if crash {
			_ = closeOutbox(t, o, 0)
			o = New(cfg, st, ac)
			if _, err := o.Load(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := closeOutbox(t, o, time.Hour); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	for id, last := range state {
		got := slices.Compact(ac.kinds(id))
		if got[0] != aaa.UsageStart || last == aaa.UsageStop && got[len(got)-1] != last || slices.Index(got, aaa.UsageStop) >= 0 && got[len(got)-1] != aaa.UsageStop {
			t.Fatalf("seed %d: session %s: %v, last was %v", seed, id, got, last)
		}
	}
}

// BenchmarkMemory tells what a Start that waits costs.
func BenchmarkMemory(b *testing.B) {
	const n = 200000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		o := New(Config{}, newStore(), nobody{})
		one := make([]aaa.Usage, 1)
		for i := range n {
			one[0] = rec(uint64(i+1), aaa.UsageStart, "x")
			one[0].Identity.AcctSessionID = fmt.Sprint("s", i)
			o.Submit(one)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/record")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = o.Close(ctx)
	}
}

// BenchmarkRecord is one record from Submit to its drop.
func BenchmarkRecord(b *testing.B) {
	b.ReportAllocs()
	st := newStore()
	o := New(Config{}, st, instant{})
	one, seq := []aaa.Usage{rec(1, aaa.UsageStart, "a-session")}, uint64(0)
	for b.Loop() {
		seq++
		one[0].Seq = seq
		o.Submit(one)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = o.Close(ctx)
}
