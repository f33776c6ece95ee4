package journal

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

const (
	killWorkers = 4
	// killWindow is how many entries each worker keeps.
	killWindow = 100
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("JOURNAL_KILL_DIR"); dir != "" {
		applyForEver(dir)
	}
	os.Exit(m.Run())
}

// killBatch is a worker's i-th batch: a session that carries i, the i-th
// entry, and the end of the entry killWindow before.
func killBatch(worker, i int, state []byte) []sessiondb.Change {
	s := storetest.SessionOf(worker*1000 + i%50)
	s.InOctets, s.State = uint64(i), state
	seq := killSeq(worker, i)
	changes := []sessiondb.Change{
		{Op: sessiondb.PutSession, Session: &s},
		{Op: sessiondb.PutEntry, Entry: &sessiondb.Entry{Seq: seq, Payload: state[:200]}},
	}
	if i > killWindow {
		changes = append(changes, sessiondb.Change{Op: sessiondb.DropEntry, Entry: &sessiondb.Entry{Seq: seq - killWindow}})
	}
	return changes
}

func killSeq(worker, i int) uint64 { return uint64(worker+1)<<40 | uint64(i) }

// applyForEver is the child process: it reports what Apply has confirmed,
// until it is killed.
func applyForEver(dir string) {
	j, err := Open(dir, quiet())
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	last := newestEntries(j)
	fmt.Println("epoch", j.Epoch())
	state := make([]byte, 2000)
	for w := range killWorkers {
		go func() {
			for i := last[w] + 1; ; i++ {
				if err := j.Apply(context.Background(), killBatch(w, i, state)); err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				os.Stdout.WriteString(fmt.Sprintln("did", w, i)) // one write: nothing stays in this process
			}
		}()
	}
	select {}
}

// newestEntries gives each worker's newest entry.
func newestEntries(j *Journal) (last [killWorkers]int) {
	for e, err := range j.Entries(context.Background()) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		last[e.Seq>>40-1] = int(e.Seq & (1<<40 - 1))
	}
	return last
}

// TestKill kills a process that applies changes, at random moments, and finds
// everything that it had reported.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	var reported [killWorkers]int
	for round := range rounds {
		epoch := killOnce(t, dir, &reported)
		if epoch != 2*round+1 {
			t.Fatalf("epoch %d in round %d", epoch, round)
		}
		j := mustOpen(t, dir)
		checkSurvivors(t, j, reported)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("batches reported: %v", reported)
}

func killOnce(t *testing.T, dir string, reported *[killWorkers]int) (epoch int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "JOURNAL_KILL_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var killer *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var w, i int
		line := lines.Text()
		switch n, _ := fmt.Sscanf(line, "did %d %d", &w, &i); {
		case n == 2:
			reported[w] = max(reported[w], i)
		case line[:5] == "epoch":
			fmt.Sscanf(line, "epoch %d", &epoch)
			killer = time.AfterFunc(rand.N(400*time.Millisecond), func() { cmd.Process.Kill() })
		default:
			t.Errorf("the process says %s", line)
		}
	}
	if killer == nil {
		t.Fatal("the process did not begin")
	}
	cmd.Wait()
	return epoch
}

func checkSurvivors(t *testing.T, j *Journal, reported [killWorkers]int) {
	t.Helper()
	last := newestEntries(j)
	kept := make(map[uint64]bool)
	for e, err := range j.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		kept[e.Seq] = true
	}
	total := 0
	for w := range killWorkers {
		if last[w] < reported[w] {
			t.Errorf("worker %d reported %d, the journal has %d", w, reported[w], last[w])
		}
		for i := max(1, last[w]-killWindow+1); i <= last[w]; i++ {
			total++
			if !kept[killSeq(w, i)] {
				t.Errorf("worker %d: entry %d of %d is missing", w, i, last[w])
			}
		}
	}
	if len(kept) != total {
		t.Errorf("%d entries, should be %d", len(kept), total)
	}
	for s, err := range j.Sessions(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		w := int(s.Key.Tunnel.ID - 1)
		k := int(s.Key.ID - 1)
		want := last[w] - (last[w]-k+50)%50 // the newest i of the worker with i%50 == k
		if int(s.InOctets) != want {
			t.Errorf("worker %d: session %d is of batch %d, the entries say %d", w, k, s.InOctets, want)
		}
	}
}
