package lns

import (
	"testing"
	"time"

	"culvert/proto/l2tp"
)

// A call that comes together with its tunnel's StopCCN, and is refused, leaves nothing in the journal.
func TestRefusedCallOfAStoppedTunnel(t *testing.T) {
	r := newRig(t, nil)
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	r.srv.Drain(true)
	lost := 0
	r.lose = func(toLNS bool, b []byte) bool {
		h, payload, err := l2tp.ParseHeader(b)
		if err == nil && toLNS && h.Control && controlType(payload) == "ICRQ" && lost == 0 {
			lost++
			return true
		}
		return false
	}
	l.dial("alice", nil)
	l.t.Stop(r.clock.now, l2tp.Result{Code: l2tp.StopShutdown}, &l.fx)
	r.run(time.Minute)
	if lost != 1 || len(r.journal.calls) != 0 || len(r.journal.tunnels) != 0 {
		t.Errorf("%d ICRQs were lost; the journal has the calls %v and the tunnels %v", lost, r.journal.calls, r.journal.tunnels)
	}
	r.checkEmpty()
}
