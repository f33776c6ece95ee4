package l2tp

import (
	"testing"
	"time"
)

// A tunnel that is abandoned ends without a word to the peer, and once (RFC 4951 section 3.2.1).
func TestAbandon(t *testing.T) {
	for _, state := range []TunnelState{TunnelWaitReply, TunnelWaitConn, TunnelEstablished, TunnelStopping} {
		role := RoleLNS
		if state == TunnelWaitReply {
			role = RoleLAC
		}
		tun := tunnelIn(t, state, role)
		var fx Effects
		tun.Abandon(&fx)
		tun.Abandon(&fx)
		if state == TunnelStopping {
			if len(fx.Events) != 0 || tun.Done() {
				t.Errorf("%v: a tunnel that is down already has changed: %+v", state, fx.Events)
			}
			continue
		}
		if len(fx.Packets) != 0 || len(fx.Events) != 1 || !tun.Done() || tun.Deadline() != Never {
			t.Fatalf("%v: %d packets, events %+v, done %v", state, len(fx.Packets), fx.Events, tun.Done())
		}
		if e := fx.Events[0]; e.Kind != EventDown || e.Reason != ReasonRecovery || !e.Local {
			t.Errorf("%v: ended by %+v", state, e)
		}
	}
}

// FuzzRecovery gives a recovery tunnel of either end, and an old tunnel that is held and
// reset, any datagrams: no panic, and the ends and bounds of any tunnel.
func FuzzRecovery(f *testing.F) {
	lac := NewTunnel(RoleLAC, 22, testConfig("us", "", 1))
	sccrp := tunnelMessage(lac, inSCCRP)
	sccrp.SuggestedSequence = SuggestedSequence{3, 100}
	sccrp.Set(AVPSuggestedSequence)
	sccrq := tunnelMessage(lac, inSCCRQ)
	sccrq.Recovery = Recovery{33, 11}
	sccrq.Set(AVPTunnelRecovery)
	script := func(m *Message, id uint16) []byte {
		d := m.Append(ControlHeader(id, 0, 0, 0).Append(nil))
		PutLength(d)
		return append([]byte{0, byte(len(d)), 1}, d...)
	}
	fsq := &Message{Type: MessageFSQ, SessionStates: []SessionState{{1, 2}}}
	f.Add(byte(0), uint16(3), uint16(100), script(sccrp, 22))
	f.Add(byte(1), uint16(3), uint16(100), script(sccrq, 0))
	f.Add(byte(2), uint16(0), uint16(0), script(fsq, 22))
	f.Add(byte(3), uint16(65535), uint16(0), script(fsq, 22))
	f.Fuzz(func(t *testing.T, kind byte, ns, nr uint16, script []byte) {
		cfg := testConfig("us", "", 1)
		cfg.Failover = Failover{Control: true, Data: true, RecoveryTime: time.Minute}
		cfg.Control = ControlConfig{Window: 4, SendQueue: 8}
		z := scriptedTunnel{t: t, tun: NewTunnel(Role(kind&1), 22, cfg), queued: 9}
		switch kind & 3 {
		case 0:
			z.tun.OpenRecovery(0, Recovery{ns | 1, nr}, &z.fx)
		case 1:
			z.tun.AnswerRecovery(SuggestedSequence{ns, nr})
		default:
			z.tun.Restore(0, 0, SavedTunnel{PeerID: 9, PeerWindow: 4, Ns: nr, Una: nr, Nr: ns, Failover: cfg.Failover})
			z.tun.Hold()
			z.settle()
			z.play(script)
			z.tun.Reset(z.now, ns, nr, &z.fx)
		}
		z.settle()
		z.play(script)
		if z.tun.State() == TunnelIdle {
			return // it got nothing to start from
		}
		z.end()
	})
}
