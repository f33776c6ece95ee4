package lns

import (
	"testing"
	"time"

	"culvert/proto/l2tp"
)

// TestRFC2661 has the cells of section 7.5.2 that belong to the owner of an outgoing call: without
// a tunnel one is opened, the OCRQ waits for it, and a request that is withdrawn meanwhile is
// never sent. All other cells are in proto/l2tp.
func TestRFC2661(t *testing.T) {
	t.Run("7.5.2/idle/Local Open request", func(t *testing.T) {
		o := newOutRig(t, false, nil)
		p, err := o.srv.place(aCall)
		if err != nil {
			t.Fatal(err)
		}
		var order []l2tp.MessageType
		o.lose = func(toLNS bool, b []byte) bool {
			var m l2tp.Message
			if _, payload, err := l2tp.ParseHeader(b); err == nil && !toLNS && len(payload) > 0 && l2tp.ParseMessage(payload, []byte("tunnel secret"), &m) == nil {
				order = append(order, m.Type)
			}
			return false
		}
		o.until(5*time.Second, "the call is placed", func() bool { return len(o.asked) > 0 })
		want := []l2tp.MessageType{l2tp.MessageSCCRQ, l2tp.MessageSCCCN, l2tp.MessageOCRQ}
		if len(order) < len(want) || [3]l2tp.MessageType(order) != [3]l2tp.MessageType(want) {
			t.Errorf("the LNS sent %v, want %v first", order, want)
		}
		if r := <-p.done; r.err != nil {
			t.Error(r.err)
		}
	})
	t.Run("7.5.2/wait-tunnel/Local Close request", func(t *testing.T) {
		o := newOutRig(t, false, nil)
		p, err := o.srv.place(aCall)
		if err != nil {
			t.Fatal(err)
		}
		p.givenUp.Store(true)
		o.until(5*time.Second, "the tunnel is up", func() bool { return o.lac.t.State() == l2tp.TunnelEstablished })
		o.run(5 * time.Second)
		if _, sessions, _ := o.counts(); sessions != 0 || len(o.asked) != 0 {
			t.Errorf("%d sessions, %d OCRQs", sessions, len(o.asked))
		}
	})
}
