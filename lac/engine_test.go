package lac_test

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"culvert/lac"
	"culvert/lac/lactest"
	"culvert/lac/subscriber"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

var (
	lacAddr = netip.MustParseAddrPort("192.0.2.1:1701")
	lnsAddr = netip.MustParseAddrPort("192.0.2.2:1701")
)

func TestCallThroughEveryAuthentication(t *testing.T) {
	for _, auth := range []ppp.Auth{ppp.AuthPAP, ppp.AuthCHAP, ppp.AuthMSCHAPv2} {
		t.Run(auth.String(), func(t *testing.T) {
			n := newNetwork(t, lactest.Config{Auth: auth, Password: "secret", Secret: "tunnel"})
			tunnel := n.open("tunnel")
			n.run(100 * time.Millisecond)
			n.wantTunnels("up")
			c, cl := n.dial(tunnel)
			n.run(time.Second)
			if cl.up != 1 || cl.down != 0 || !c.Established() || n.lns.Up != 1 || n.lns.Users[0] != "user@isp" {
				t.Fatalf("up %d, down %d, established %v, LNS %+v", cl.up, cl.down, c.Established(), n.lns)
			}
			if cl.Address() != netip.MustParseAddr("10.64.0.1") || cl.PeerAddress() != lactest.Local || cl.DNS() != lactest.DNS {
				t.Errorf("address %v, peer %v, DNS %v", cl.Address(), cl.PeerAddress(), cl.DNS())
			}
			n.engine.Hangup(n.now, c, l2tp.Result{Code: l2tp.CDNLostCarrier})
			n.engine.Hangup(n.now, c, l2tp.Result{Code: l2tp.CDNLostCarrier})
			n.run(100 * time.Millisecond)
			if cl.down != 100 || !cl.end.Local || n.lns.Clears != 1 || tunnel.Calls() != 0 {
				t.Errorf("after Hangup: down %d %+v, LNS clears %d", cl.down, cl.end, n.lns.Clears)
			}
			n.engine.Stop(n.now, tunnel, l2tp.Result{Code: l2tp.StopShutdown})
			n.run(time.Second)
			n.wantTunnels("up", "down local local")
			if len(n.closed) != 1 || !n.closed[0] || n.lns.Tunnels() != 0 || n.engine.Unacked() != 0 {
				t.Errorf("closed %v, %d tunnels at the LNS, %d unacknowledged", n.closed, n.lns.Tunnels(), n.engine.Unacked())
			}
			n.run(2 * time.Minute)
			if n.engine.Tunnels() != 0 || n.engine.Wheel().Len() != 0 {
				t.Errorf("%d tunnels and %d timers are left", n.engine.Tunnels(), n.engine.Wheel().Len())
			}
		})
	}
}

func TestProxiedCalls(t *testing.T) {
	for _, c := range []struct {
		name  string
		proxy subscriber.Proxy
		typ   uint16
	}{
		{"PAP", subscriber.Proxy{Auth: ppp.AuthPAP, Authenticated: true, ID: 9}, l2tp.ProxyAuthPAP},
		{"CHAP", subscriber.Proxy{Auth: ppp.AuthCHAP, Authenticated: true, ID: 9, Challenge: [16]byte{1, 2, 3}}, l2tp.ProxyAuthCHAP},
		{"LCP and then PAP", subscriber.Proxy{Auth: ppp.AuthPAP}, 0},
		{"LCP and then CHAP", subscriber.Proxy{Auth: ppp.AuthCHAP}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNetwork(t, lactest.Config{Auth: c.proxy.Auth, Password: "secret"})
			n.proxy = &c.proxy
			tunnel := n.open("")
			n.run(100 * time.Millisecond)
			_, cl := n.dial(tunnel)
			n.run(time.Second)
			if cl.up != 1 || len(n.lns.Proxies) != 1 || n.lns.Proxies[0] != c.typ || n.lns.Users[0] != "user@isp" {
				t.Errorf("up %d, phase %v, proxied %v, users %q", cl.up, cl.Phase(), n.lns.Proxies, n.lns.Users)
			}
		})
	}
}

func TestWrongPasswordEndsTheLink(t *testing.T) {
	for _, auth := range []ppp.Auth{ppp.AuthPAP, ppp.AuthCHAP, ppp.AuthMSCHAPv2} {
		n := newNetwork(t, lactest.Config{Auth: auth, Password: "another"})
		tunnel := n.open("")
		n.run(100 * time.Millisecond)
		_, cl := n.dial(tunnel)
		n.run(time.Second)
		if cl.up != 0 || cl.down != 1 || cl.reason != subscriber.ReasonAuthRejected || n.lns.Refused != 1 {
			t.Errorf("%v: up %d, down %d, %v, refused %d", auth, cl.up, cl.down, cl.reason, n.lns.Refused)
		}
	}
}

func TestTunnelSecrets(t *testing.T) {
	for _, c := range []struct{ lac, lns, want string }{
		{"a", "a", "up"}, {"", "", "up"}, {"a", "b", "down authentication"}, {"a", "", "down peer"}, {"", "b", "down authentication"},
	} {
		n := newNetwork(t, lactest.Config{Secret: c.lns})
		n.open(c.lac)
		n.run(time.Second)
		n.wantTunnels(c.want)
	}
}

func TestRefusedCall(t *testing.T) {
	n := newNetwork(t, lactest.Config{Refuse: l2tp.Result{Code: l2tp.ResultGeneralError, Error: l2tp.ErrorTryAnother, Message: "full"}})
	tunnel := n.open("")
	n.run(100 * time.Millisecond)
	c, cl := n.dial(tunnel)
	n.run(100 * time.Millisecond)
	if cl.down != 100 || cl.end.Local || cl.end.Tunnel || cl.end.Result != n.lns.Refuse || c.Tunnel() != nil {
		t.Errorf("down %d, %+v", cl.down, cl.end)
	}
	if !tunnel.Up() || tunnel.Calls() != 0 {
		t.Error("the tunnel went with the call")
	}
}

func TestEndedByLNS(t *testing.T) {
	n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret"})
	tunnel := n.open("")
	n.run(100 * time.Millisecond)
	_, one := n.dial(tunnel)
	n.run(time.Second)
	n.lns.Disconnect(n.now, 1, l2tp.Result{Code: l2tp.CDNAdministrative, Message: "operator"})
	n.run(100 * time.Millisecond)
	if one.down != 100 || one.end.Local || one.end.Result.Code != l2tp.CDNAdministrative || one.end.Result.Message != "operator" {
		t.Errorf("CDN: %d %+v", one.down, one.end)
	}
	_, two := n.dial(tunnel)
	n.run(time.Second)
	n.lns.TerminateAll()
	n.run(100 * time.Millisecond)
	if two.down != 101 || two.reason != subscriber.ReasonPeerTerminate || two.end.Local {
		t.Errorf("Terminate-Request: %d %v %+v", two.down, two.reason, two.end)
	}
	_, three := n.dial(tunnel)
	n.run(time.Second)
	n.lns.Stop(n.now, l2tp.Result{Code: l2tp.StopShutdown, Message: "bye"})
	n.run(100 * time.Millisecond)
	n.wantTunnels("up", "down peer")
	if three.down != 100 || !three.end.Tunnel || three.end.Result.Message != "bye" {
		t.Errorf("StopCCN: %d %+v", three.down, three.end)
	}
	if err := n.engine.Dial(n.now, tunnel, new(lac.Call), new(l2tp.Message)); !errors.Is(err, lac.ErrTunnelDown) {
		t.Errorf("Dial in a tunnel that is down: %v", err)
	}
}

func TestSilentLNS(t *testing.T) {
	n := newNetwork(t, lactest.Config{})
	n.loss = func() bool { return true }
	n.open("")
	n.run(2 * time.Minute)
	n.wantTunnels("down timeout")
	if len(n.closed) != 1 || n.closed[0] || n.engine.Tunnels() != 0 {
		t.Errorf("closed %v, %d tunnels left", n.closed, n.engine.Tunnels())
	}
}

func TestHangupBeforeReply(t *testing.T) {
	n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret"})
	tunnel := n.open("")
	n.run(100 * time.Millisecond)
	c, cl := n.dial(tunnel)
	n.engine.Hangup(n.now, c, l2tp.Result{Code: l2tp.CDNLostCarrier})
	n.run(time.Second)
	if cl.down != 100 || cl.up != 0 || tunnel.Calls() != 0 || n.lns.Up != 0 {
		t.Errorf("down %d, up %d, LNS up %d", cl.down, cl.up, n.lns.Up)
	}
	if _, next := n.dial(tunnel); true {
		n.run(time.Second)
		if next.up != 1 {
			t.Error("the next call does not come up")
		}
	}
}

func TestAnswerFromAnotherPort(t *testing.T) {
	n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret"})
	n.from = netip.MustParseAddrPort("192.0.2.2:40000")
	tunnel := n.open("")
	n.run(100 * time.Millisecond)
	_, cl := n.dial(tunnel)
	n.run(time.Second)
	if cl.up != 1 || tunnel.Peer() != n.from {
		t.Errorf("up %d, peer %v", cl.up, tunnel.Peer())
	}
	n.from = netip.MustParseAddrPort("192.0.2.66:1701")
	before := n.engine.Stats().Stranger
	n.lns.Repeat()
	n.run(10 * time.Millisecond)
	if n.engine.Stats().Stranger != before+1 {
		t.Error("a stranger's datagram was taken")
	}
}

func TestSequenceNumbers(t *testing.T) {
	for _, c := range []struct{ lac, lns bool }{{true, false}, {false, true}, {true, true}} {
		n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret", Sequenced: c.lns})
		n.seq = c.lac
		tunnel := n.open("")
		n.run(100 * time.Millisecond)
		call, cl := n.dial(tunnel)
		n.run(time.Second)
		n.engine.Send(call, []byte{0xff, 0x03, 0, 0x21})
		last := n.queue[len(n.queue)-1].b
		h, _, err := l2tp.ParseHeader(last)
		if cl.up != 1 || err != nil || !h.HasSequence || h.Ns == 0 {
			t.Errorf("%+v: up %d, header %+v, %v", c, cl.up, h, err)
		}
	}
}

func TestRubbish(t *testing.T) {
	n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret"})
	tunnel := n.open("")
	n.run(100 * time.Millisecond)
	for _, b := range [][]byte{nil, {0}, {0, 2, 0, 99, 0, 1, 0xc0, 0x21}, {0, 2, 0, 1, 0, 9, 0xc0, 0x21}, {0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 50, 0, 50}} {
		n.engine.Receive(n.now, 3, lnsAddr, b)
	}
	s := n.engine.Stats()
	if s.Malformed != 2 || s.NoTunnel != 1 || s.NoSession != 1 {
		t.Errorf("%+v", s)
	}
	n.engine.Receive(n.now, 4, lnsAddr, []byte{0, 2, 0, 1, 0, 9, 0xc0, 0x21})
	if n.engine.Stats().Stranger != 1 || !tunnel.Up() {
		t.Error("a datagram on another socket was taken")
	}
}

func TestLossyNetwork(t *testing.T) {
	for seed := range uint64(4) {
		n := newNetwork(t, lactest.Config{Auth: ppp.AuthPAP, Password: "secret", Secret: "x", Window: 4})
		rnd := rand.New(rand.NewPCG(seed, 1))
		n.loss = func() bool { return rnd.IntN(10) == 0 }
		var tunnels []*lac.Tunnel
		for range 4 {
			tunnels = append(tunnels, n.open("x"))
		}
		n.run(20 * time.Second)
		calls := map[*lac.Call]*client{}
		for _, tunnel := range tunnels {
			for range 10 {
				c, cl := n.dial(tunnel)
				calls[c] = cl
			}
		}
		n.run(60 * time.Second)
		for c, cl := range calls {
			if cl.up == 0 {
				t.Fatalf("seed %d: a call is not up: %v, %+v", seed, cl.Phase(), cl.end)
			}
			n.engine.Hangup(n.now, c, l2tp.Result{Code: l2tp.CDNLostCarrier})
		}
		for _, tunnel := range tunnels {
			n.engine.Stop(n.now, tunnel, l2tp.Result{Code: l2tp.StopShutdown})
		}
		n.run(2 * time.Minute)
		if n.lns.Sessions() != 0 || n.lns.Clears+countEnded(n) < 40 || n.engine.Tunnels() != 0 || n.engine.Wheel().Len() != 0 {
			t.Errorf("seed %d: %d sessions at the LNS, %d CDNs, %d tunnels, %d timers", seed, n.lns.Sessions(), n.lns.Clears, n.engine.Tunnels(), n.engine.Wheel().Len())
		}
	}
}
