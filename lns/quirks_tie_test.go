package lns

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"culvert/proto/l2tp"
)

// A LAC opens a tunnel at the moment at which this LNS opens one to it. With a Tie Breaker the LAC wants
// one of them only, and it is its own: the LNS sends none. Ours goes without a word, and the calls
// that it was opened for are placed in the LAC's.
func TestQuirk07BothOpen(t *testing.T) {
	for _, c := range []struct {
		name    string
		tie     uint64
		later   bool // ours is up when the LAC's SCCRQ comes
		tunnels int
	}{
		{"the LAC wants one tunnel", 7, false, 1},
		{"nobody minds two", 0, false, 2},
		{"ours is up already", 7, true, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			o := newOutRig(t, false, nil)
			for _, sh := range o.srv.shards {
				sh.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
			}
			w := watchWire(o.rig)
			// A LAC whose own SCCRQ has the Tie Breaker drops ours, and does not answer it.
			w.drop = func(toLNS bool, _ l2tp.Header, typ l2tp.MessageType) bool {
				return !toLNS && typ == l2tp.MessageSCCRQ && !c.later
			}
			answers := o.lac
			p, err := o.srv.place(aCall)
			if err != nil {
				t.Fatal(err)
			}
			o.run(time.Second)
			opens := newLAC(o.rig, lacListens, 78, &l2tp.TunnelConfig{
				HostName: "lac", Secret: []byte("tunnel secret"), Rand: rand.NewChaCha8([32]byte{3}), TieBreaker: c.tie,
			})
			o.rig.lacs[lacListens], o.lac = opens, opens
			opens.noticed = o.heard
			o.until(10*time.Second, "the LAC's tunnel up", func() bool { return opens.up })
			o.run(time.Second)
			if n, _, _ := o.counts(); n != c.tunnels {
				t.Fatalf("%d tunnels, want %d", n, c.tunnels)
			}
			if n := o.stats().TunnelsFailed; n != 0 || log.Len() != 0 || len(w.told(l2tp.MessageStopCCN)) != 0 {
				t.Errorf("%d tunnels failed; the LAC was told %v; the log has\n%s", n, w.told(l2tp.MessageStopCCN), log.String())
			}
			if c.tunnels == 2 {
				if placed := len(p.done) == 1; placed != (answers.up && c.later) {
					t.Errorf("the call was placed: %v, our tunnel is up: %v", placed, answers.up)
				}
				return
			}
			if r := <-p.done; r.err != nil {
				t.Fatal(r.err)
			}
			o.until(10*time.Second, "session up", func() bool { return o.session("alice") != nil && o.session("alice").state == stateUp })
			if s := o.session("alice"); s.facts.peerID != 78 || len(o.asked) != 1 {
				t.Errorf("the call is in the LAC's tunnel %d, %d OCRQs came", s.facts.peerID, len(o.asked))
			}
			o.calls[0].hangUp()
			o.until(5*time.Second, "the session is down", func() bool { return o.session("alice") == nil })
			o.onShards(func(sh *shard) { sh.shutdown() })
			o.run(time.Minute)
			o.checkEmpty()
			o.checkAccounting(1)
		})
	}
}
