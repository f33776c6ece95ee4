package lns

import (
	"testing"
	"time"

	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// keptTunnel is the record of the only tunnel.
func (r *rig) keptTunnel() (rec sessiondb.Tunnel) {
	r.t.Helper()
	if len(r.journal.tunnels) != 1 {
		r.t.Fatalf("the journal has %d tunnels", len(r.journal.tunnels))
	}
	for _, rec = range r.journal.tunnels {
	}
	return rec
}

// What a LAC has sent is journaled when it is told that it has arrived, and not before: a LAC whose ICRQ
// is not acknowledged sends it again, and after a kill in between the call comes up all the same.
func TestKilledBeforeTheAcknowledgement(t *testing.T) {
	r := newRig(t, nil)
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	r.run(time.Second)
	rec := r.keptTunnel()
	on := dataplane.ShardOf(rec.Key.ID, len(r.srv.shards))
	for id := uint16(1); dataplane.ShardOf(id, len(r.srv.shards)) == on; id++ { // the call is to be on another shard
		other := l.dial("bob", nil)
		r.until(5*time.Second, "up", func() bool { return other.up })
	}
	r.run(time.Second)
	before, calls := r.keptTunnel(), len(r.journal.calls)
	c := l.dial("alice", nil)
	l.flush()
	sh := r.srv.shards[on] // it takes the ICRQ, and the call is on its way to its shard
	sh.inbox.take(&sh.spare)
	sh.step(r.clock.now, &sh.spare)
	if rec := r.keptTunnel(); rec.Nr != before.Nr || len(r.journal.calls) != calls {
		t.Errorf("the journal has Nr %d, %d before, and %d calls", rec.Nr, before.Nr, len(r.journal.calls))
	}
	r.start(nil)
	r.until(10*time.Second, "up", func() bool { return c.up })
	if c.cdn != nil {
		t.Errorf("the LAC was told %v", c.cdn)
	}
	r.run(time.Second)
	if rec := r.keptTunnel(); rec.Nr == before.Nr || len(r.journal.calls) != calls+1 {
		t.Errorf("the journal has Nr %d and %d calls", rec.Nr, len(r.journal.calls))
	}
}

// A call takes one record of its tunnel, with the ICRP, and another once what has come since is acknowledged.
func TestTunnelIsKeptWhenTheLACIsTold(t *testing.T) {
	r := newRig(t, nil)
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	r.run(time.Second)
	n := r.journal.puts
	c := l.dial("alice", nil)
	r.until(5*time.Second, "up", func() bool { return c.up })
	r.run(time.Second)
	if puts := r.journal.puts - n; puts != 2 {
		t.Errorf("%d records of the tunnel, want 2", puts)
	}
	if rec := r.keptTunnel(); rec.Nr != l.t.Ns() {
		t.Errorf("the journal has Nr %d, the LAC has sent up to %d", rec.Nr, l.t.Ns())
	}
}
