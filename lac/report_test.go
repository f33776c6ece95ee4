package lac_test

import (
	"testing"
	"time"

	"culvert/lac/lactest"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// What the LNS sets is taken over; what it asks for is answered; errors are reported.
func TestReports(t *testing.T) {
	n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret"})
	tunnel := n.open("")
	n.run(100 * time.Millisecond)
	call, _ := n.dial(tunnel)
	other, _ := n.dial(tunnel)
	n.run(time.Second)
	if call.ACCM() != (l2tp.ACCM{Send: 0xffffffff, Receive: 0xffffffff}) {
		t.Errorf("before any Set-Link-Info: %+v", call.ACCM())
	}
	var got []l2tp.Message
	n.lns.Heard = func(session uint16, m *l2tp.Message) {
		if (m.Type == l2tp.MessageWEN) != (session != 0) {
			t.Errorf("%v for session %d", m.Type, session)
		}
		got = append(got, m.Clone())
	}
	sli := &l2tp.Message{Type: l2tp.MessageSLI, ACCM: l2tp.ACCM{Send: 1, Receive: 2}}
	sli.Set(l2tp.AVPACCM)
	n.lns.Tell(n.now, call.ID(), sli)
	call.SetSpeed(80_000_000, 20_000_000)
	n.lns.Tell(n.now, 0, &l2tp.Message{Type: l2tp.MessageCSURQ, SpeedUpdates: []l2tp.SpeedUpdate{{SessionID: call.ID()}, {SessionID: 999}, {SessionID: other.ID()}}})
	n.run(time.Second)
	if call.ACCM() != (l2tp.ACCM{Send: 1, Receive: 2}) || other.ACCM().Send != 0xffffffff {
		t.Errorf("after it: %+v and %+v", call.ACCM(), other.ACCM())
	}
	want := []l2tp.SpeedUpdate{{SessionID: call.PeerID(), Tx: 80_000_000, Rx: 20_000_000}, {SessionID: other.PeerID()}}
	if len(got) != 1 || got[0].Type != l2tp.MessageCSUN || len(got[0].SpeedUpdates) != 2 || got[0].SpeedUpdates[0] != want[0] || got[0].SpeedUpdates[1] != want[1] {
		t.Fatalf("the CSURQ was answered by %+v", got)
	}
	n.lns.Tell(n.now, 0, &l2tp.Message{Type: l2tp.MessageCSURQ, SpeedUpdates: []l2tp.SpeedUpdate{{SessionID: 999}}})
	n.engine.ReportErrors(n.now, call, l2tp.CallErrors{CRC: 5})
	n.run(time.Second)
	if len(got) != 2 || got[1].Type != l2tp.MessageWEN || got[1].Errors != (l2tp.CallErrors{CRC: 5}) {
		t.Errorf("heard %+v", got[1:])
	}
	n.engine.Hangup(n.now, call, l2tp.Result{Code: l2tp.CDNLostCarrier})
	n.engine.ReportErrors(n.now, call, l2tp.CallErrors{CRC: 6})
	n.engine.ReportSpeed(n.now, tunnel, call)
	n.run(time.Second)
	if len(got) != 2 {
		t.Errorf("heard of a call that is down: %+v", got[2:])
	}
}
