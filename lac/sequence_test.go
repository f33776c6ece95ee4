package lac_test

import (
	"encoding/binary"
	"testing"
	"time"

	"culvert/lac/lactest"
	"culvert/proto/ppp"
)

// Data of the LNS that comes twice, or after its turn, is dropped.
func TestLateDataIsDropped(t *testing.T) {
	n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret"})
	tunnel := n.open("")
	n.run(100 * time.Millisecond)
	call, _ := n.dial(tunnel)
	n.run(time.Second)
	before := n.engine.Stats()
	for _, ns := range []uint16{7, 9, 8, 9, 9, 10, 12} {
		b := binary.BigEndian.AppendUint16([]byte{8, 2}, tunnel.ID())
		b = binary.BigEndian.AppendUint16(b, call.ID())
		b = append(binary.BigEndian.AppendUint16(b, ns), 0, 0, 0xff, 0x03, 0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0)
		n.engine.Receive(n.now, 3, lnsAddr, b)
	}
	s := n.engine.Stats()
	if got, late := s.DataIn-before.DataIn, s.Late-before.Late; got != 4 || late != 3 {
		t.Errorf("%d data messages were taken and %d dropped as late, want 4 and 3", got, late)
	}
}
