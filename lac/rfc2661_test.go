package lac_test

import (
	"errors"
	"testing"
	"time"

	"culvert/lac"
	"culvert/lac/lactest"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// TestRFC2661 has the cell of section 7.4.1 that belongs to the owner of a call: a bearer that
// rings before there is a tunnel opens one and waits for it. An Engine's user does so: Open, then
// Dial when TunnelUp comes; the Engine refuses to send an ICRQ any earlier. All other cells are in
// proto/l2tp.
func TestRFC2661(t *testing.T) {
	t.Run("7.4.1/idle/Bearer Ring", func(t *testing.T) {
		n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret"})
		tunnel := n.open("")
		if len(n.queue) != 1 || !n.queue[0].toLNS {
			t.Fatalf("%d datagrams left, want the SCCRQ", len(n.queue))
		}
		icrq := &l2tp.Message{CallSerial: 7}
		icrq.Set(l2tp.AVPCallSerial)
		if err := n.engine.Dial(n.now, tunnel, new(lac.Call), icrq); !errors.Is(err, lac.ErrTunnelDown) || len(n.queue) != 1 {
			t.Fatalf("an ICRQ in a tunnel that is not open: %v, %d datagrams", err, len(n.queue))
		}
		n.run(20 * time.Millisecond)
		n.wantTunnels("up")
		_, client := n.dial(tunnel)
		n.run(time.Second)
		if client.up != 1 {
			t.Errorf("the call that waited for its tunnel came up %d times", client.up)
		}
	})
}
