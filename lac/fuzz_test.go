package lac_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"culvert/lac"
	"culvert/lac/lactest"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// FuzzEngine gives an Engine with a call any datagrams of its LNS. It must not panic, and every
// tunnel and call must end once when it is stopped.
func FuzzEngine(f *testing.F) {
	icrp := l2tp.ControlHeader(1, 1, 1, 3).Append(nil)
	m := l2tp.Message{Type: l2tp.MessageICRP, AssignedSessionID: 5}
	m.Set(l2tp.AVPAssignedSessionID)
	icrp = m.Append(icrp)
	l2tp.PutLength(icrp)
	cdn := l2tp.ControlHeader(1, 1, 1, 3).Append(nil)
	m = l2tp.Message{Type: l2tp.MessageCDN, AssignedSessionID: 5, Result: l2tp.Result{Code: 3}}
	m.Set(l2tp.AVPAssignedSessionID, l2tp.AVPResultCode)
	cdn = m.Append(cdn)
	l2tp.PutLength(cdn)
	for _, b := range [][]byte{icrp, cdn, {0, 2, 0, 1, 0, 1, 0xff, 3, 0xc0, 0x21, 1, 1, 0, 4}} {
		f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret"})
		tunnel := n.open("")
		n.run(20 * time.Millisecond)
		call, cl := n.dial(tunnel)
		n.loss = func() bool { return true }
		for len(b) >= 2 {
			size := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			n.engine.Receive(n.now, 3, lnsAddr, b[2:2+size])
			b = b[2+size:]
			n.now += time.Millisecond
			n.engine.Advance(n.now)
		}
		n.engine.Hangup(n.now, call, l2tp.Result{Code: l2tp.CDNLostCarrier})
		n.engine.Stop(n.now, tunnel, l2tp.Result{Code: l2tp.StopShutdown})
		for i := 0; i < 100 && n.engine.Wheel().Len() > 0; i++ {
			n.now = n.engine.Next()
			n.engine.Advance(n.now)
		}
		if cl.down%100 > 1 || cl.down/100 != 1 || len(n.tunnels) != 2 || len(n.closed) != 1 || n.engine.Tunnels() != 0 {
			t.Fatalf("call down %d, tunnels %q, closed %v, %d left", cl.down, n.tunnels, n.closed, n.engine.Tunnels())
		}
	})
}

// BenchmarkCall is one call in memory, set up with PAP and hung up, the small LNS's work included.
func BenchmarkCall(b *testing.B) {
	n := newNetwork(&testing.T{}, lactest.Config{Auth: ppp.AuthPAP, Password: "secret"})
	tunnel := n.open("")
	n.run(20 * time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		call, cl := n.dial(tunnel)
		for i := 0; i < 50 && cl.up == 0; i++ {
			n.run(time.Millisecond)
		}
		if cl.up == 0 {
			b.Fatal("the call did not come up")
		}
		n.engine.Hangup(n.now, call, l2tp.Result{Code: l2tp.CDNLostCarrier})
		delete(n.clients, call)
		n.run(time.Millisecond)
	}
}

var _ lac.Output = (*network)(nil)

func TestManyTunnelsAndCalls(t *testing.T) {
	n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret"})
	var tunnels []*lac.Tunnel
	for range 50 {
		tunnels = append(tunnels, n.open(""))
	}
	n.run(50 * time.Millisecond)
	for _, tunnel := range tunnels {
		for range 10 {
			n.dial(tunnel)
		}
	}
	n.run(200 * time.Millisecond)
	addresses := map[netip.Addr]bool{}
	for _, cl := range n.clients {
		if cl.up != 1 {
			t.Fatal("a call is not up")
		}
		addresses[cl.Address()] = true
	}
	if len(addresses) != 500 {
		t.Errorf("%d addresses for 500 calls", len(addresses))
	}
}
