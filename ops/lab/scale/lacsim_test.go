package scale

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"culvert/ops/lab/proc"
)

// lacsim is the simulator, with its sessions in hand.
type lacsim struct {
	*proc.Daemon
	dir      string
	commands *os.File // its standard input
}

// lacsimReport is what is used of lacsim's report.
type lacsimReport struct {
	OK             bool     `json:"ok"`
	Problems       []string `json:"problems"`
	CallsPerSecond float64  `json:"calls_per_second"`
	Setup          struct {
		P50 float64 `json:"p50_ms"`
		P90 float64 `json:"p90_ms"`
		P99 float64 `json:"p99_ms"`
		Max float64 `json:"max_ms"`
	} `json:"setup"`
	CPUPerCall float64 `json:"cpu_us_per_call"`
	Sessions   struct {
		Up uint64 `json:"up"`
	} `json:"sessions"`
	Packets struct {
		Sent     uint64 `json:"sent"`
		Answered uint64 `json:"answered"`
	} `json:"packets"`
	Wire struct {
		Retransmissions uint64 `json:"retransmissions"`
	} `json:"wire"`
}

// dial starts a lacsim that keeps its sessions up until hangup.
func (l *lab) dial(t *testing.T, dir string, flags ...string) *lacsim {
	t.Helper()
	in, out, err := os.Pipe()
	must(t, err)
	command := append([]string{"ip", "netns", "exec", lacNamespace, filepath.Join(l.bin, "lacsim"), "run",
		"--lns", lnsAddr + ":1701", "--stay", "--stdin",
		"--ready-file", filepath.Join(dir, "ready.json"), "--json", filepath.Join(dir, "lacsim.json")}, flags...)
	d, err := proc.Start(dir, "lacsim", in, command...)
	in.Close()
	must(t, err)
	s := &lacsim{Daemon: d, dir: dir, commands: out}
	t.Cleanup(func() {
		out.Close()
		_ = s.Stop(syscall.SIGKILL, time.Second)
	})
	return s
}

// ready waits until every call was dialled and every packet answered or lost,
// and checks that all are up.
func (s *lacsim) ready(limit time.Duration, want int) error {
	var r lacsimReport
	err := proc.Await(limit, 5*time.Millisecond, s.Daemon, func() error {
		return readJSON(filepath.Join(s.dir, "ready.json"), &r)
	})
	if err == nil && r.Sessions.Up != uint64(want) {
		err = fmt.Errorf("%d of %d sessions are up\n%s", r.Sessions.Up, want, s.Tail(10))
	}
	return err
}

// hangup ends all sessions and gives the report.
func (s *lacsim) hangup(limit time.Duration) (lacsimReport, error) {
	var r lacsimReport
	if _, err := s.commands.WriteString("hangup\n"); err != nil {
		return r, err
	}
	err := s.Wait(limit)
	err = errors.Join(err, readJSON(filepath.Join(s.dir, "lacsim.json"), &r))
	if err == nil && !r.OK {
		err = fmt.Errorf("lacsim: %v", r.Problems)
	}
	return r, err
}

func readJSON(name string, v any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
