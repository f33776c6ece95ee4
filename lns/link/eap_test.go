package link

import (
	"strings"
	"testing"
	"time"

	"culvert/proto/ppp"
)

// eapLink is a link that has asked its peer for the identity, and got it.
func eapLink(t *testing.T, change func(*Config)) (*Link, *Effects) {
	t.Helper()
	cfg := *testConfig(t, MethodEAP)
	if change != nil {
		change(&cfg)
	}
	l, fx := new(Link), NewEffects(8)
	l.Start(0, &cfg, seeded(3), nil, fx)
	request := append([]byte(nil), fx.Frames[0]...)
	request[4] = byte(ppp.ConfigureAck)
	l.Receive(0, request, fx)
	lcp := ppp.LCPConfig{Magic: 0x01020304}
	l.Receive(0, frameOf(ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.ConfigureRequest, 1, lcp.Append(nil))), fx)
	fx.Reset()
	l.Receive(0, eapFrame(ppp.AppendEAP(nil, ppp.EAPResponse, l.authID, ppp.EAPIdentity, []byte("ann"))), fx)
	if fx.Auth == nil || fx.Auth.User != "ann" {
		t.Fatalf("no credentials after the identity: %+v", fx.Auth)
	}
	return l, fx
}

func eapFrame(packet []byte) []byte { return frameOf(ppp.ProtocolEAP, packet) }

// TestEAPWithoutEnd: a server and a peer that go on for ever are stopped.
func TestEAPWithoutEnd(t *testing.T) {
	l, fx := eapLink(t, nil)
	rounds := 0
	for ; ; rounds++ {
		if rounds > 1000 {
			t.Fatal("a thousand rounds")
		}
		id := byte(rounds)
		fx.Reset()
		if err := l.Challenge(time.Second, &Challenge{Packet: []byte{1, id, 0, 6, 21, 0}, State: []byte{id}}, fx); err != nil {
			if !strings.Contains(err.Error(), "no end in 64 rounds") || len(fx.Frames) > 0 || !l.Awaits(l.serial) {
				t.Errorf("after %d rounds: %v", rounds, err)
			}
			break
		}
		l.Receive(time.Second, eapFrame([]byte{2, id, 0, 6, 21, 0}), fx)
		if fx.Auth == nil || fx.Auth.EAP.State[0] != id || fx.Auth.ID != id || fx.Auth.User != "ann" {
			t.Fatalf("round %d: %+v", rounds, fx.Auth)
		}
	}
	if rounds != maxEAPRounds {
		t.Errorf("%d rounds, want %d", rounds, maxEAPRounds)
	}
	fx.Reset()
	l.Deny(time.Second, "no end", fx)
	if len(fx.Frames) != 2 || fx.Frames[0][4] != byte(ppp.EAPFailure) {
		t.Errorf("the peer is told %x", fx.Frames)
	}
}

// TestEAPIgnoredWithoutEnd: Responses that the server ignores count as rounds too.
func TestEAPIgnoredWithoutEnd(t *testing.T) {
	l, fx := eapLink(t, nil)
	for i := range 2 * maxEAPRounds {
		fx.Reset()
		c := Challenge{Packet: []byte{1, 7, 0, 6, 21, 0}, Ignored: i > 0}
		if l.Challenge(0, &c, fx) != nil {
			return
		}
		l.Receive(0, eapFrame([]byte{2, 7, 0, 6, 21, 1}), fx)
		l.Receive(0, eapFrame([]byte{2, 7, 0, 6, 21, 2}), fx)
	}
	t.Error("no end")
}

// TestEAPKeepsNothingOfItsCaller: packet and State may be reused after Challenge, the frame after Receive.
func TestEAPKeepsNothingOfItsCaller(t *testing.T) {
	l, fx := eapLink(t, nil)
	packet, state := []byte{1, 7, 0, 6, 21, 1}, []byte{9}
	if err := l.Challenge(0, &Challenge{Packet: packet, State: state}, fx); err != nil {
		t.Fatal(err)
	}
	packet[5], state[0] = 99, 99
	fx.Reset()
	l.Tick(l.Deadline(), fx)
	if len(fx.Frames) != 1 || fx.Frames[0][9] != 1 {
		t.Errorf("repeated as %x", fx.Frames)
	}
	frame := eapFrame([]byte{2, 7, 0, 6, 21, 5})
	l.Receive(0, frame, fx)
	frame[9] = 77
	if fx.Auth == nil || fx.Auth.EAP.Packet[5] != 5 || fx.Auth.EAP.State[0] != 9 {
		t.Errorf("credentials %+v", fx.Auth)
	}
}

// TestEAPMTU: what the server is told fits both the peer and the profile.
func TestEAPMTU(t *testing.T) {
	l, fx := eapLink(t, func(c *Config) { c.MRU = 1300 })
	if fx.Auth.EAP.MTU != 1300 || l.PeerMRU() != 1500 {
		t.Errorf("Framed-MTU %d, peer's MRU %d", fx.Auth.EAP.MTU, l.PeerMRU())
	}
}

// TestEAPOnlyWhereAgreed: a challenge is no answer to CHAP, and after the answer nothing is awaited.
func TestEAPOnlyWhereAgreed(t *testing.T) {
	s := newScript(t)
	s.run("start\nrecv LCP Configure-Request 1\nack LCP\nrecv CHAP Response 1 000102030405060708090a0b0c0d0e0f alice\n")
	c := Challenge{Packet: []byte{1, 7, 0, 6, 21, 1}}
	if err := s.link.Challenge(0, &c, s.fx); err == nil || !strings.Contains(err.Error(), "CHAP") {
		t.Errorf("CHAP was challenged: %v", err)
	}
	l, fx := eapLink(t, nil)
	l.Grant(0, testNetwork(), string([]byte{3, l.authID, 0, 4}), fx)
	fx.Reset()
	if err := l.Challenge(0, &c, fx); err != nil || len(fx.Frames) > 0 {
		t.Errorf("a challenge after the grant: %v, %x", err, fx.Frames)
	}
	if (&Link{}).Challenge(0, &c, fx) != nil {
		t.Error("a link that has not started complains")
	}
}

// TestEAPNeedsRandomness: without it the link ends, as for CHAP.
func TestEAPNeedsRandomness(t *testing.T) {
	s := newScript(t)
	s.cfg.Auth = []Method{MethodEAP}
	s.link.Start(0, &s.cfg, brokenReader{}, nil, s.fx)
	s.show()
	if out := s.run("recv LCP Configure-Request 1 magic=01020304\nack LCP\nrecv LCP Terminate-Ack 2\n"); !strings.Contains(out, "Terminate-Request") || strings.Contains(out, "EAP Request") {
		t.Errorf("without randomness:\n%s", out)
	}
}
