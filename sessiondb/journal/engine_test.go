package journal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/bbolt"
)

// The measurement that chose the engine; the figures are in the package's
// documentation. Run it with: go test -run '^$' -bench Engine -benchtime 150000x
//
// 200,000 keys with values of 400 octets are there already; then two
// goroutines replace random ones in batches, 30,000 a second in all, or
// as fast as they can.

type engine interface {
	write(keys []uint64, value []byte) error
	Close() error
}

type pebbleEngine struct{ *pebble.DB }

func (e pebbleEngine) write(keys []uint64, value []byte) error {
	b := e.NewBatch()
	defer b.Close()
	for _, k := range keys {
		if err := b.Set(engineKey(k), value, nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync) // with a file system whose WAL does not sync
}

type boltEngine struct{ *bbolt.DB }

func (e boltEngine) write(keys []uint64, value []byte) error {
	put := func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("s"))
		for _, k := range keys {
			if err := b.Put(engineKey(k), value); err != nil {
				return err
			}
		}
		return nil
	}
	return e.Update(put)
}

func engineKey(k uint64) []byte {
	return []byte{'s', 4, 192, 0, 2, 1, 6, 165, byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}
}

func openEngine(tb testing.TB, name string) engine {
	tb.Helper()
	dir := tb.TempDir()
	if name == "pebble" {
		s, err := createSeal(dir)
		if err != nil {
			tb.Fatal(err)
		}
		db, err := pebble.Open(dir, pebbleOptions(quiet(), newWALFS(vfs.Default, s)))
		if err != nil {
			tb.Fatal(err)
		}
		return pebbleEngine{db}
	}
	db, err := bbolt.Open(filepath.Join(dir, "db"), 0o600, &bbolt.Options{
		NoSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoGrowSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("s")); return err })
	if err != nil {
		tb.Fatal(err)
	}
	return boltEngine{db}
}

func BenchmarkEngine(b *testing.B) {
	for _, name := range []string{"pebble", "bbolt"} {
		for _, batch := range []int{1, 16, 100} {
			for _, rate := range []int{30000, 0} {
				b.Run(fmt.Sprintf("%s/batch=%d/rate=%d", name, batch, rate), func(b *testing.B) {
					benchEngine(b, name, batch, rate)
				})
			}
		}
	}
}

func benchEngine(b *testing.B, name string, batch, rate int) {
	const sessions, workers = 200_000, 2
	e := openEngine(b, name)
	value := make([]byte, 400)
	keys := make([]uint64, 0, 1000)
	for i := range uint64(sessions) {
		if keys = append(keys, i); len(keys) == cap(keys) {
			if err := e.write(keys, value); err != nil {
				b.Fatal(err)
			}
			keys = keys[:0]
		}
	}
	cpu := cpuTime()
	b.ResetTimer()
	var group sync.WaitGroup
	var latencies [workers][]time.Duration
	for w := range workers {
		group.Go(func() { latencies[w] = drive(b, e, (b.N+workers-1)/workers, batch, rate/workers, value) })
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/1000/float64(b.N), "cpu-us/change")
	all := slices.Concat(latencies[0], latencies[1])
	slices.Sort(all)
	for _, q := range []float64{0.5, 0.99, 0.999} {
		b.ReportMetric(float64(all[int(q*float64(len(all)))].Microseconds()), fmt.Sprintf("p%v-us", q*100))
	}
	b.ReportMetric(float64(all[len(all)-1].Milliseconds()), "worst-ms")
	b.ReportMetric(anonymousMiB(), "MiB")
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
}

// drive makes n changes in batches, rate of them a second (0: no limit), and
// gives the duration of each batch's write.
func drive(b *testing.B, e engine, n, batch, rate int, value []byte) []time.Duration {
	took := make([]time.Duration, 0, n/batch+1)
	keys := make([]uint64, batch)
	start := time.Now()
	for done := 0; done < n; done += batch {
		if rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(done) * time.Second / time.Duration(rate))))
		}
		for i := range keys {
			keys[i] = rand.Uint64N(200_000)
		}
		before := time.Now()
		if err := e.write(keys, value); err != nil {
			b.Error(err)
			return took
		}
		took = append(took, time.Since(before))
	}
	return took
}

// cpuTime is the process' CPU time so far, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// anonymousMiB is the process' memory that is not backed by files.
func anonymousMiB() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "RssAnon: %f kB", &kib); err == nil {
			return kib / 1024
		}
	}
	return 0
}
