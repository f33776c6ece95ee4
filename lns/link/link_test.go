package link

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
	"unsafe"

	"culvert/proto/ppp"
)

// 200,000 of these are alive at once.
func TestLinkSize(t *testing.T) {
	size := unsafe.Sizeof(Link{})
	t.Logf("a Link that is up has %d octets; negotiation has %d more", size, unsafe.Sizeof(negotiation{}))
	if size > 144 {
		t.Errorf("a Link has %d octets, want at most 144", size)
	}
}

// upLink is a link that is up, without authentication.
func upLink(t testing.TB, cfg *Config) (*Link, *Effects) {
	t.Helper()
	x := newSim(1, cfg, MethodNone)
	if !x.run(time.Second, x.bothUp) {
		t.Fatal("not up")
	}
	return &x.s.link, x.s.fx
}

func TestNegotiationIsDropped(t *testing.T) {
	l, fx := upLink(t, testConfig(t))
	if l.neg != nil {
		t.Error("a link that is up keeps its negotiation")
	}
	l.Close(time.Second, fx)
	l.Tick(time.Hour, fx)
	l.Tick(2*time.Hour, fx)
	if l.neg != nil || l.Phase() != PhaseDown {
		t.Errorf("phase %v with negotiation %v", l.Phase(), l.neg)
	}
}

func TestConfigValidate(t *testing.T) {
	good := Config{Auth: []Method{MethodPAP}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.EchoInterval = 0
	if good.MRU != 1500 || good.Restart != want.Restart || good.MaxFailure != want.MaxFailure || good.EchoInterval != 0 {
		t.Errorf("defaults: %+v", good)
	}
	for name, c := range map[string]Config{
		"link: MRU 100":               {MRU: 100},
		"link: echo interval -1s":     {EchoInterval: -time.Second},
		"with 256 failures":           {EchoFailures: 256},
		"link: restart timer from 4s": {RestartFirst: 4 * time.Second, Restart: time.Second},
		"link: timeouts -1ns":         {AuthTimeout: -1},
		"link: name has 256 octets":   {Name: strings.Repeat("n", 256)},
		"[PAP PAP]":                   {Auth: []Method{MethodPAP, MethodPAP}},
		"[none]":                      {Auth: []Method{MethodNone}},
		"link: authentication":        {Auth: []Method{9}},
		"link: proxy policy 4":        {Proxy: ProxyAlways + 1},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A saved link goes on in another process: echoes, data addresses, and a renegotiation.
func TestSaveAndRestore(t *testing.T) {
	x := newSim(3, testConfig(t, MethodCHAP), MethodCHAP)
	if _, ok := x.s.link.Save(); ok {
		t.Error("a link that is not up was saved")
	}
	if !x.run(time.Second, x.bothUp) {
		t.Fatal("not up")
	}
	saved, ok := x.s.link.Save()
	if !ok {
		t.Fatal("a link that is up was not saved")
	}
	before := x.s.link
	x.s.link = Link{}
	x.s.link.Restore(x.now, before.cfg, seeded(9), saved)
	if again, _ := x.s.link.Save(); again != saved || x.s.link.Phase() != PhaseUp || x.s.link.Method() != MethodCHAP ||
		x.s.link.PeerMRU() != 1492 || x.s.link.Magic() != before.Magic() {
		t.Errorf("restored %+v, saved %+v", again, saved)
	}
	x.run(x.now+time.Hour, func() bool { return false })
	if !x.bothUp() {
		t.Fatalf("an hour later: server %v, ends %v", x.s.link.Phase(), x.s.downs)
	}
	x.s.ups = 0
	// The client begins LCP anew.
	x.c.stepLCP(x.now, ppp.Down, ppp.Packet{}, ppp.Packet{})
	x.c.stepLCP(x.now, ppp.Up, ppp.Packet{}, ppp.Packet{})
	x.collect()
	if !x.run(x.now+10*time.Second, func() bool { return x.s.ups == 1 && x.c.up }) {
		t.Errorf("renegotiation: server %v, client %v", x.s.link.Phase(), x.c.ipcp.State())
	}
}

// brokenReader stands for a source of randomness that fails.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

// Without randomness there is no challenge that an old answer would not fit:
// the link ends rather than accept one.
func TestNoRandomness(t *testing.T) {
	s := newScript(t)
	s.link.Start(0, &s.cfg, brokenReader{}, nil, s.fx)
	s.show()
	out := s.run("recv LCP Configure-Request 1 magic=01020304\nack LCP\nrecv LCP Terminate-Ack 2\n")
	if !strings.Contains(out, "Terminate-Request") || strings.Contains(out, "Challenge") || s.downs != 1 {
		t.Errorf("without randomness:\n%s", out)
	}
	if s.link.Magic() != 0 {
		t.Errorf("magic %#x", s.link.Magic())
	}
}

// A source that yields only zeros still gives a magic number, which is never zero.
func TestMagicIsNeverZero(t *testing.T) {
	l := Link{rnd: bytes.NewReader(make([]byte, 64))}
	if m := l.random32(); m == 0 {
		t.Error("magic number 0")
	}
}

// A line that is looped back for good ends with ReasonLoop.
func TestLoopedLine(t *testing.T) {
	cfg := testConfig(t, MethodPAP)
	var l Link
	fx := NewEffects(0)
	l.Start(0, cfg, seeded(5), nil, fx)
	for range 100 {
		frames := fx.Frames
		down, reason := fx.Down, fx.Reason
		fx = NewEffects(0)
		if down {
			if reason != ReasonLoop {
				t.Errorf("ended with %v", reason)
			}
			return
		}
		for _, f := range frames {
			l.Receive(time.Millisecond, f, fx)
		}
	}
	t.Errorf("a loop goes on for ever in phase %v", l.Phase())
}

// What cannot happen does nothing: before Start, after Down, answers that nobody waits for.
func TestCallsOutOfPlace(t *testing.T) {
	var l Link
	fx := NewEffects(8)
	calls := func(now time.Duration) {
		l.Receive(now, []byte("\xff\x03\xc0\x21\x01\x01\x00\x04"), fx)
		l.Tick(now, fx)
		l.Grant(now, testNetwork(), "", fx)
		l.Deny(now, "", fx)
		l.Close(now, fx)
	}
	calls(time.Second)
	if len(fx.Frames) != 0 || fx.Down || l.Deadline() != Never || l.Phase() != PhaseIdle {
		t.Errorf("before Start: %d frames, down %v", len(fx.Frames), fx.Down)
	}
	up, fx := upLink(t, testConfig(t))
	l = *up
	l.Close(time.Second, fx)
	fx.Reset()
	l.Tick(time.Hour, fx)
	l.Tick(2*time.Hour, fx)
	if !fx.Down || fx.Reason != ReasonLocal {
		t.Fatalf("after Close: down %v, %v", fx.Down, fx.Reason)
	}
	fx.Reset()
	calls(3 * time.Hour)
	if len(fx.Frames) != 0 || fx.Down || l.Deadline() != Never {
		t.Errorf("after Down: %d frames, down %v, deadline %v", len(fx.Frames), fx.Down, l.Deadline())
	}
}

// Credentials that a renegotiation made stale are told by their serial number.
func TestStaleAnswer(t *testing.T) {
	s := newScript(t)
	s.cfg.Auth = []Method{MethodPAP}
	s.run("start\nrecv LCP Configure-Request 1\nack LCP\n")
	s.link.Receive(0, s.frame(strings.Fields("PAP Request 1 alice secret")), s.fx)
	first := s.fx.Auth.Serial
	if !s.link.Awaits(first) {
		t.Error("the answer to the only request is not awaited")
	}
	s.run("recv LCP Configure-Request 2\nack LCP\n")
	if s.link.Awaits(first) {
		t.Error("an answer is awaited in the middle of a renegotiation")
	}
	s.link.Receive(0, s.frame(strings.Fields("PAP Request 2 bob guess")), s.fx)
	if second := s.fx.Auth.Serial; s.link.Awaits(first) || !s.link.Awaits(second) {
		t.Errorf("awaits %d: %v, %d: %v", first, s.link.Awaits(first), second, s.link.Awaits(second))
	}
}

func TestEffects(t *testing.T) {
	fx := NewEffects(4)
	l := Link{peerMRU: 1500}
	l.send(ppp.ProtocolIPCP, ppp.TerminateAck, 1, nil, fx)
	// Make the arena move: frames keep their octets.
	l.send(ppp.ProtocolIPCP, ppp.TerminateAck, 2, make([]byte, 4096), fx)
	copy(fx.Whole(0), "head")
	if string(fx.Whole(0)) != "head\xff\x03\x80\x21\x06\x01\x00\x04" || string(fx.Frames[0]) != string(fx.Whole(0)[4:]) {
		t.Errorf("% x", fx.Whole(0))
	}
	fx.Auth, fx.Up, fx.Down, fx.Reason, fx.Restarted = &Credentials{}, true, true, ReasonLoop, true
	fx.Next()
	if fx.Auth != nil || fx.Up || fx.Down || fx.Reason != ReasonNone || fx.Restarted || len(fx.Frames) != 2 {
		t.Errorf("after Next: %+v", fx)
	}
	fx.Reset()
	if len(fx.Frames) != 0 || len(fx.whole) != 0 || fx.headroom != 4 {
		t.Errorf("after Reset: %+v", fx)
	}
}

func TestNames(t *testing.T) {
	for r := ReasonNone; r <= ReasonLocal; r++ {
		if r.String() == "" || r.String() == "unknown" {
			t.Errorf("reason %d has no name", r)
		}
	}
	if Reason(200).String() != "unknown" || Phase(200).String() != "down" || PhaseUp.String() != "up" {
		t.Error("a name is wrong")
	}
	if Method(9).String() != "none" || MethodMSCHAPv2.String() != "MS-CHAPv2" || wireAuth(9) != (ppp.Auth{}) {
		t.Error("a method's name is wrong")
	}
}

// The owner's network is in IPv6 clothes, and has an MTU.
func TestMappedAddressesAndMTU(t *testing.T) {
	n := testNetwork()
	n.Peer = addrOf([4]byte{198, 51, 100, 7})
	n.MTU = 1400
	x := newSim(1, testConfig(t), MethodNone)
	x.s.net = n
	if !x.run(time.Second, x.bothUp) || x.s.link.MTU() != 1400 || x.s.link.PeerACCM() != 0xffffffff {
		t.Errorf("MTU %d", x.s.link.MTU())
	}
	x.s.link.mtu = 9000
	if x.s.link.MTU() != 1492 {
		t.Errorf("MTU %d is more than the peer takes", x.s.link.MTU())
	}
	if as4(testNetwork().Peer) != as4(testNetwork().Peer.Unmap()) || as4(n.NBNS[0]) != [4]byte{} {
		t.Error("as4")
	}
}

// Whose map of control characters is which (RFC 1662 section 7.1): without the option all are escaped.
func TestControlCharacters(t *testing.T) {
	w := &wired{t: t, cfg: testConfig(t), fx: NewEffects(0)}
	w.l.Start(0, w.cfg, seeded(1), nil, w.fx)
	w.collect()
	w.deliver(ppp.ConfigureRequest, 1, []byte{2, 6, 0, 10, 0, 0, 5, 6, 1, 2, 3, 4})
	w.collect()
	w.event(ppp.RCA)
	if peer, own := w.l.PeerACCM(), w.l.OwnACCM(); peer != 0xa0000 || own != 0xffffffff {
		t.Errorf("the peer's map is %08x, ours %08x", peer, own)
	}
}

// A line that dies is noticed after the last unanswered echo.
func TestKeepaliveOfADeadLine(t *testing.T) {
	cfg := *testConfig(t)
	cfg.EchoInterval, cfg.EchoFailures = 10*time.Second, 3
	x := newSim(7, &cfg, MethodNone)
	if !x.run(time.Second, x.bothUp) {
		t.Fatal("not up")
	}
	x.run(x.now+time.Hour, func() bool { return x.s.link.Phase() != PhaseUp })
	if x.s.link.Phase() != PhaseUp {
		t.Fatalf("a good line went down: %v", x.s.downs)
	}
	start := x.now
	x.cut = true
	x.run(x.now+time.Hour, func() bool { return len(x.s.downs) > 0 })
	if took := x.now - start; len(x.s.downs) != 1 || x.s.downs[0] != ReasonEchoTimeout || took > 41*time.Second || took < 30*time.Second {
		t.Errorf("ends %v after %v", x.s.downs, took)
	}
}
