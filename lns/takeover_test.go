package lns

import (
	"encoding/binary"
	"maps"
	"testing"
	"time"
)

// isSCCCN tells a Start-Control-Connection-Connected by its Message Type AVP, which is the first.
func isSCCCN(b []byte) bool {
	return len(b) >= 20 && b[0]&0x80 != 0 && binary.BigEndian.Uint16(b[18:]) == 3
}

// TestTakeoverOfATunnelBeingSetUp has a node taken over while a LAC has its SCCRP, and the SCCCN is on its way.
// The new node knows nothing of the tunnel and does not answer, as a message for an id that it has not
// given to this LAC may be a stranger's; the LAC gives up after its retransmissions, and its next SCCRQ is taken. The
// tunnels that were up are not touched, nor is a call that was being set up in one of them in the way of the next.
func TestTakeoverOfATunnelBeingSetUp(t *testing.T) {
	r, l, c := oneUp(t, nil)
	r.aaa.hold = true
	half := l.dial("half", nil) // waits for AAA when the node dies
	r.run(time.Second)
	r.lose = func(toLNS bool, b []byte) bool { return toLNS && isSCCCN(b) }
	late := r.lac(2, "tunnel secret")
	r.run(time.Second)
	r.lose, r.aaa.hold = nil, false
	if late.up && late.down != nil {
		t.Fatal("the tunnel is not being set up")
	}
	theirs := r.journal
	r.journal = newMemJournal()
	r.start(func(c *Config) { c.Node = "lns2" })
	for k, s := range theirs.sessions {
		s.Node = "lns1"
		theirs.sessions[k] = s
	}
	done, err := r.srv.Recover(t.Context(), Recovered{Tunnels: theirs.Tunnels(t.Context()), Sessions: theirs.Sessions(t.Context()), Adopt: true})
	if err != nil || done.Tunnels != 1 || done.Sessions != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	r.run(90 * time.Second)
	if late.down == nil {
		t.Error("the LAC still believes in a tunnel that nobody has")
	}
	if half.up {
		t.Error("a call that nobody has is up")
	}
	again := r.lac(2, "tunnel secret")
	r.until(5*time.Second, "the LAC's next tunnel", func() bool { return again.up })
	for _, lac := range []*rigLAC{l, again} {
		d := lac.dial("bob", nil)
		r.until(30*time.Second, "a call", func() bool { return d.up })
	}
	if r.session("alice") == nil || c.closed || l.down != nil {
		t.Error("the session that was up is gone")
	}
}

// TestStraysAfterARestart has a node taken over that had not written its last call yet, and the new node restarted from
// its own journal before that call's subscriber says anything: the call is cleared at its first packet all the same.
func TestStraysAfterARestart(t *testing.T) {
	r, l, _ := oneUp(t, nil)
	theirs := newMemJournal()
	maps.Copy(theirs.tunnels, r.journal.tunnels)
	maps.Copy(theirs.sessions, r.journal.sessions)
	late := l.dial("bob", nil)
	r.until(5*time.Second, "the last call", func() bool { return late.up })
	second := func(c *Config) { c.Node, c.Elsewhere = "lns2", true }
	r.journal = newMemJournal()
	r.start(second)
	done, err := r.srv.Recover(t.Context(), Recovered{Tunnels: theirs.Tunnels(t.Context()), Sessions: theirs.Sessions(t.Context()), Adopt: true})
	if err != nil || done.Tunnels != 1 || done.Sessions != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	r.run(time.Second)
	r.start(second)
	r.run(time.Second)
	if late.cdn != nil {
		t.Fatal("the call is cleared before the node could know of it")
	}
	late.ping(late.client.Address(), 100)
	r.until(5*time.Second, "the call that only the LAC knows is cleared", func() bool { return late.cdn != nil })
	if s := r.session("alice"); s == nil || s.state != stateUp {
		t.Error("the session that was known is gone")
	}
}
