package main

import (
	"io"
	"testing"
	"time"

	"culvert/lac/lactest"
	"culvert/proto/l2tp"
)

// TestFailover has the LNS fail, then the LACs: each time the tunnels are recovered and no session ends.
// An LNS that does not offer failover leaves "fail" without effect.
func TestFailover(t *testing.T) {
	for _, offered := range []bool{true, false} {
		cfg := good
		if offered {
			cfg.Failover = l2tp.Failover{Control: true, Data: true, RecoveryTime: time.Minute}
		}
		s := serve(t, cfg)
		stdin, commands := io.Pipe()
		sim, wait := start(t, s, stdin, "--lacs", "2", "--sessions", "5", "--stay", "--failover")
		eventually(t, func() bool { n := sim.total(); return n.Sessions.Now == 10 })
		want := uint64(0)
		if offered {
			want = 2
			s.Do(func(now time.Duration, l *lactest.LNS) { l.Fail(now) })
			eventually(t, func() bool { n := sim.total(); return n.Failovers.Remote == 2 })
		}
		io.WriteString(commands, "fail\n")
		eventually(t, func() bool { n := sim.total(); return n.Failovers.Recovered == want })
		time.Sleep(100 * time.Millisecond) // for what it should not do
		io.WriteString(commands, "hangup\n")
		r := wait()
		commands.Close()
		wantOK(t, r)
		if f := r.Failovers; f.Recovered != want || f.Remote != want || f.Failed+f.Cleared != 0 || r.Sessions.Ended != 10 {
			t.Errorf("offered %v: %+v, %+v", offered, f, r.Sessions)
		}
	}
}
