package link

import (
	"testing"
	"time"

	"culvert/proto/ppp"
)

// A subscriber may begin LCP anew at any time, or never come to an end with it. See lns/QUIRKS.md.
func TestQuirk14LCPRestarts(t *testing.T) {
	request := frameOf(ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.ConfigureRequest, 77, ppp.AppendOption(nil, ppp.OptionMagic, []byte{9, 9, 9, 9})))
	t.Run("while AAA thinks", func(t *testing.T) {
		var l Link
		fx := NewEffects(0)
		l.Start(0, testConfig(t, MethodPAP), seeded(1), nil, fx)
		ask := func(id uint8) uint16 {
			t.Helper()
			ack := append([]byte(nil), fx.Frames[0]...)
			ack[4] = byte(ppp.ConfigureAck)
			l.Receive(0, ack, fx)
			if id == 1 {
				l.Receive(0, request, fx)
			}
			fx.Reset()
			l.Receive(0, frameOf(ppp.ProtocolPAP, ppp.AppendPAPRequest(nil, id, "alice", "secret")), fx)
			if fx.Auth == nil || !l.Awaits(fx.Auth.Serial) {
				t.Fatalf("AAA was not asked; phase %v", l.Phase())
			}
			return fx.Auth.Serial
		}
		first := ask(1)
		fx.Reset()
		l.Receive(time.Second, request, fx)
		if l.Phase() != PhaseLCP || l.Awaits(first) || len(fx.Frames) == 0 {
			t.Fatalf("phase %v, awaits the old answer %v, %d frames", l.Phase(), l.Awaits(first), len(fx.Frames))
		}
		if second := ask(2); l.Awaits(first) || !l.Awaits(second) {
			t.Error("the answer to the first question would be taken for the second")
		}
	})
	t.Run("when up", func(t *testing.T) {
		l, fx := upLink(t, testConfig(t))
		fx.Reset()
		l.Receive(time.Minute, request, fx)
		if !fx.Restarted || fx.Down || l.Phase() != PhaseLCP {
			t.Fatalf("restarted %v, down %v, phase %v", fx.Restarted, fx.Down, l.Phase())
		}
	})
	for name, answer := range map[string]func(our ppp.Packet) []byte{
		"never satisfied with us": func(our ppp.Packet) []byte {
			return frameOf(ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.ConfigureNak, our.ID, ppp.AppendOption(nil, ppp.OptionMRU, []byte{5, our.ID})))
		},
		"always wants what it cannot have": func(our ppp.Packet) []byte {
			return frameOf(ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.ConfigureRequest, our.ID, []byte{19, 4, 1, our.ID}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t, MethodPAP)
			var l Link
			fx := NewEffects(0)
			l.Start(0, cfg, seeded(1), nil, fx)
			rounds, now := 0, time.Duration(0)
			for ; !fx.Down && rounds < 1000; rounds++ {
				our := ppp.Packet{ID: uint8(rounds)}
				for _, f := range fx.Frames {
					if p, err := ppp.ParsePacket(f[4:]); err == nil && p.Code == ppp.ConfigureRequest {
						our = p
					}
				}
				fx.Reset()
				l.Receive(now, answer(our), fx)
				if !fx.Down {
					now += 10 * time.Millisecond
					l.Tick(now, fx)
				}
				if l.Phase() == PhaseClosing {
					break
				}
			}
			if l.Ending() != ReasonLCPFailed || rounds > 30 {
				t.Errorf("after %d rounds: phase %v, reason %v", rounds, l.Phase(), l.Ending())
			}
		})
	}
}

// A LAC may put FF 03 on every frame whatever was agreed, and need it back; another leaves it out,
// and shortens the protocol. See lns/QUIRKS.md.
func TestQuirk16AddressAndControl(t *testing.T) {
	for name, c := range map[string]struct {
		agree, keeps bool
		want         bool // FF 03 goes out
	}{
		"not agreed":            {false, true, true},
		"not agreed, left out":  {false, false, true},
		"agreed":                {true, false, false},
		"agreed, and sent back": {true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			var l Link
			fx := NewEffects(0)
			l.Start(0, testConfig(t, MethodPAP), seeded(1), nil, fx)
			ack := append([]byte(nil), fx.Frames[0]...)
			ack[4] = byte(ppp.ConfigureAck)
			l.Receive(0, ack, fx)
			peer := ppp.LCPConfig{Magic: 5, ACFC: c.agree, PFC: c.agree}
			l.Receive(0, frameOf(ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.ConfigureRequest, 1, peer.Append(nil))), fx)
			say := func(p ppp.Protocol, packet []byte) {
				fx.Reset()
				f := frameOf(p, packet)
				if !c.keeps {
					f = f[2:]
				}
				l.Receive(0, f, fx)
			}
			say(ppp.ProtocolPAP, ppp.AppendPAPRequest(nil, 1, "alice", "secret"))
			fx.Reset()
			l.Grant(0, testNetwork(), "", fx)
			for _, f := range fx.Frames {
				if has := f[0] == 0xff && f[1] == 3; has != c.want {
					t.Errorf("sent % x", f)
				}
			}
			request := fx.Frames[len(fx.Frames)-1]
			if request[0] == 0xff {
				request = request[2:]
			}
			own := append([]byte(nil), request[2:]...)
			own[0] = byte(ppp.ConfigureAck)
			say(ppp.ProtocolIPCP, own)
			ip := ppp.IPCPConfig{Address: testNetwork().Peer}
			say(ppp.ProtocolIPCP, ppp.AppendPacket(nil, ppp.ConfigureRequest, 1, ip.Append(nil)))
			if l.Phase() != PhaseUp || l.ACFC() == c.want || l.PFC() != c.agree {
				t.Errorf("phase %v; packets go out with ACFC %v, PFC %v", l.Phase(), l.ACFC(), l.PFC())
			}
		})
	}
}
