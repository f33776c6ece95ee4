package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/ops/lab/proc"
)

// simCounters are those of lacsim's report that matter here.
type simCounters struct {
	Sessions struct {
		Up, Now, Failed, Ended, Abandoned int64
		ByLNS                             int64 `json:"ended_by_lns"`
	}
	Tunnels  struct{ Now, Failed int64 }
	Packets  struct{ Sent, Answered, Duplicate, Corrupt, Misrouted int64 }
	Lost     int64   `json:"packets_lost"`
	OK       bool    `json:"ok"`
	Latency  latency `json:"latency"`
	Problems []string
}

type latency struct {
	Max float64 `json:"max_ms"`
}

// ask has lacsim tell its counters.
func (l *lab) ask() (c simCounters, err error) {
	before, _ := os.ReadFile(l.lacs.Log)
	fmt.Fprintln(l.stdin, "status")
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		after, _ := os.ReadFile(l.lacs.Log)
		if text := after[len(before):]; bytes.HasSuffix(text, []byte("\n")) {
			return c, json.Unmarshal(text, &c)
		}
	}
	return c, errors.New("lacsim does not tell its counters")
}

// unanswered is how many packets have no answer, but for those that are on their way: hardly ever is
// there one at each of so many moments.
func (l *lab) unanswered() (least int64, err error) {
	least = 1 << 62
	for range 40 {
		c, err := l.ask()
		if err != nil {
			return 0, err
		}
		least = min(least, c.Packets.Sent-c.Packets.Answered)
		time.Sleep(25 * time.Millisecond) // lacsim's counters are 20 ms old
	}
	return least, nil
}

// dialWith brings sessions up and leaves them there.
func (l *lab) dialWith(tunnels, each int, more ...string) {
	l.t.Helper()
	ready := filepath.Join(l.dir, "ready.json")
	os.Remove(ready)
	l.run(tunnels, each, append(more, "--ready-file", ready, "--json", filepath.Join(l.dir, "report.json"))...)
	must(l.t, proc.Await(patience, 50*time.Millisecond, l.lacs, func() error {
		c, err := l.ask()
		if err == nil && c.Sessions.Now != int64(tunnels*each) {
			err = fmt.Errorf("%d of %d sessions are up", c.Sessions.Now, tunnels*each)
		}
		return err
	}))
}

// run starts lacsim.
func (l *lab) run(tunnels, each int, more ...string) {
	l.t.Helper()
	r, w, err := os.Pipe()
	must(l.t, err)
	defer r.Close()
	l.stdin = w
	args := []string{
		filepath.Join(bin, "lacsim"), "run", "--lns", fmt.Sprint("127.0.0.1:", l.port), "--lacs", fmt.Sprint(tunnels), "--sessions", fmt.Sprint(each),
		"--password", password, "--traffic", "ping", "--stdin", "-q",
	}
	l.lacs, err = proc.Start(l.dir, "lacsim", r, append(args, more...)...)
	must(l.t, err)
}

// ids are the Acct-Session-Ids of all sessions that are up, with their addresses.
func (l *lab) ids() []string {
	l.t.Helper()
	var ids []string
	must(l.t, proc.Await(patience, 100*time.Millisecond, l.lnsd, func() error {
		out, err := l.ctl("session", "list", "--state", "up", "-o", "json")
		if err != nil {
			return err
		}
		var list []struct{ ID, Address string }
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return fmt.Errorf("%w: %.200s", err, out)
		}
		ids = ids[:0]
		for _, s := range list {
			ids = append(ids, s.ID+" "+s.Address)
		}
		slices.Sort(ids)
		return nil
	}))
	return ids
}

// hangUpReport ends all sessions and gives lacsim's report.
func (l *lab) hangUpReport(t *testing.T) (r simCounters) {
	t.Helper()
	fmt.Fprintln(l.stdin, "hangup")
	l.stdin.Close()
	err := l.lacs.Wait(patience)
	b, rerr := os.ReadFile(filepath.Join(l.dir, "report.json"))
	if rerr != nil {
		t.Fatalf("lacsim has not reported: %v\n%s", err, l.lacs.Tail(20))
	}
	must(t, json.Unmarshal(b, &r))
	for _, p := range r.Problems {
		if !strings.Contains(p, "packets were lost") && !strings.HasSuffix(p, " calls failed") && !strings.Contains(p, "before they were up") {
			t.Errorf("lacsim: %s (%v)", p, err)
		}
	}
	l.lacs = nil
	return r
}
