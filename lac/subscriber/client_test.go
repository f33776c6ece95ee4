package subscriber

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"culvert/proto/ppp"
)

const (
	lcp, pap, chap, ipcp = ppp.ProtocolLCP, ppp.ProtocolPAP, ppp.ProtocolCHAP, ppp.ProtocolIPCP

	authPAP   = "0304c023"
	authCHAP  = "0305c22305"
	authMS    = "0305c22381"
	authEAP   = "0304c227"
	peerMagic = "050601020304"
)

func TestOptionsOfLCP(t *testing.T) {
	for _, c := range []struct{ name, request, want string }{
		{"nothing", "", "LCP 2 5 "},
		{"all known", "010405d4 0206ffffffff 050600000001 0702 0802", "LCP 2 5 010405d40206ffffffff05060000000107020802"},
		{"tiny MRU", "01040010", "LCP 3 5 010405dc"},
		{"quality", "0408c02500000000", "LCP 4 5 0408c02500000000"},
		{"unknown", "0d0306 05060a0b0c0d", "LCP 4 5 0d0306"},
		{"rejected before naked", "01040010 0d0306", "LCP 4 5 0d0306"},
		{"zero magic", "050600000000", "LCP 3 5 0506*"},
		{"wrong length", "0105000000", "LCP 3 5 010405dc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, nil)
			p.out = nil
			p.send(lcp, ppp.ConfigureRequest, 5, c.request)
			p.want(c.want)
		})
	}
}

func TestOurOptionsAreRefused(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.Compress = true })
	magic := p.out[0][len("LCP 1 1 010405d4"):][:12]
	p.want("LCP 1 1 010405d4" + magic + "07020802")
	p.send(lcp, ppp.ConfigureReject, 1, "07020802")
	p.want("LCP 1 2 010405d4" + magic)
	p.send(lcp, ppp.ConfigureNak, 2, "010405dc"+magic)
	if p.out[0] == "LCP 1 3 "+magic {
		t.Error("the magic number was not changed")
	}
	p.want("LCP 1 3 0506*")
	p.send(lcp, ppp.ConfigureNak, 2, "010405dc") // an old answer
	p.want()
}

func TestOptionsOfIPCP(t *testing.T) {
	p := newPeer(t, nil)
	p.lcpUp("")
	p.out = nil
	for _, c := range []struct{ request, want string }{
		{"0206002d0f01 03060a000001", "IPCP 4 5 0206002d0f01"},
		{"030600000000", "IPCP 4 5 030600000000"},
		{"810600000000", "IPCP 4 5 810600000000"},
		{"03060a000001", "IPCP 2 5 03060a000001"},
	} {
		p.send(ipcp, ppp.ConfigureRequest, 5, c.request)
		p.want(c.want)
	}
	p.send(ipcp, ppp.ConfigureReject, 1, "810600000000 830600000000")
	p.want("IPCP 1 2 030600000000")
	p.send(ipcp, ppp.ConfigureReject, 2, "030600000000")
	p.want("IPCP 1 3 ")
	p.send(ipcp, ppp.ConfigureAck, 3, "")
	p.want("LCP 5 2 ") // without an address the link is of no use
	p.send(lcp, ppp.TerminateAck, 2, "")
	p.wantDown(ReasonIPCPFailed)
}

func TestEchoAndUnknown(t *testing.T) {
	p := upWithPAP(t)
	p.send(lcp, ppp.EchoRequest, 3, "01020304 aabb")
	p.want(fmt.Sprintf("LCP 10 3 %08xaabb", p.c.magic))
	p.send(lcp, ppp.EchoReply, 3, "01020304")
	p.send(lcp, ppp.DiscardRequest, 3, "01020304")
	p.send(lcp, ppp.Identification, 3, "01020304")
	p.want()
	p.send(lcp, 77, 3, "aa")
	p.want("LCP 7 2 4d030005aa")
	p.send(ppp.ProtocolIPV6CP, ppp.ConfigureRequest, 1, "010a0000000000000001")
	p.want("LCP 8 3 80570101000e010a0000000000000001")
	if p.c.Phase() != PhaseUp {
		t.Error("not up any more")
	}
}

func TestPackets(t *testing.T) {
	p := upWithPAP(t)
	p.fx.Reset()
	p.c.Receive(p.now, []byte{0xff, 0x03, 0x00, 0x21, 0x45, 0x00}, &p.fx)
	if fmt.Sprintf("%x", p.fx.Packet) != "4500" {
		t.Errorf("packet %x", p.fx.Packet)
	}
	p.fx.Reset()
	p.c.Receive(p.now, []byte{0x21, 0x45, 0x01}, &p.fx) // compressed, though not agreed
	if fmt.Sprintf("%x", p.fx.Packet) != "4501" {
		t.Errorf("packet %x", p.fx.Packet)
	}
	p.fx.Reset()
	p.c.Send([]byte{0x45}, &p.fx)
	if fmt.Sprintf("%x", p.fx.Frames) != "[ff03002145]" {
		t.Errorf("frame %x", p.fx.Frames)
	}
}

func TestCompression(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.Compress = true })
	req := strings.Fields(p.out[0])[3]
	p.out = nil
	p.send(lcp, ppp.ConfigureRequest, 7, "0702 0802")
	p.send(lcp, ppp.ConfigureAck, 1, req)
	p.out = nil
	p.send(ipcp, ppp.ConfigureRequest, 1, "03060a000001")
	p.send(ipcp, ppp.ConfigureNak, 1, "03060a400001")
	p.send(ipcp, ppp.ConfigureAck, 2, "03060a400001810600000000830600000000")
	p.fx.Reset()
	p.c.Send([]byte{0x45}, &p.fx)
	if fmt.Sprintf("%x", p.fx.Frames) != "[2145]" {
		t.Errorf("frame %x", p.fx.Frames)
	}
}

func TestPeerTerminates(t *testing.T) {
	p := upWithPAP(t)
	p.send(lcp, ppp.TerminateRequest, 77, "")
	p.want("LCP 6 77 ")
	p.wantDown(ReasonPeerTerminate)
	p = upWithPAP(t)
	p.send(ipcp, ppp.TerminateRequest, 77, "")
	p.want("IPCP 6 77 ")
	p.wait(5 * time.Second)
	p.wantDown(ReasonPeerTerminate)
}

func TestClose(t *testing.T) {
	p := upWithPAP(t)
	p.fx.Reset()
	p.c.Close(p.now, &p.fx)
	p.take()
	p.want("LCP 5 2 ")
	p.wait(20 * time.Second)
	p.want("LCP 5 2 ")
	p.wantDown(ReasonLocal)
	if !p.fx.Unanswered {
		t.Error("nobody answered, and it is not said")
	}
}

func TestRenegotiation(t *testing.T) {
	p := upWithPAP(t)
	p.send(lcp, ppp.ConfigureRequest, 8, authPAP+peerMagic)
	if !p.fx.Restarted || p.c.Phase() != PhaseLCP {
		t.Fatalf("restarted %v, phase %v", p.fx.Restarted, p.c.Phase())
	}
	req := strings.Fields(p.out[0])
	p.want("LCP 1 2 *", "LCP 2 8 "+authPAP+peerMagic)
	p.send(lcp, ppp.ConfigureAck, 2, req[3])
	p.want("PAP 1 2 036a6f6506736563726574")
	p.send(pap, ppp.PAPAck, 2, "00")
	p.want("IPCP 1 3 03060a400001810608080808830608080404")
	p.send(ipcp, ppp.ConfigureRequest, 2, "03060a000001")
	p.send(ipcp, ppp.ConfigureAck, 3, "03060a400001 810608080808 830608080404")
	if !p.fx.Up {
		t.Error("not up again")
	}
}

func TestTimeouts(t *testing.T) {
	p := newPeer(t, nil)
	p.wait(time.Minute)
	if n := len(p.out); n != 10 {
		t.Errorf("%d Configure-Requests", n)
	}
	p.wantDown(ReasonLCPTimeout)
	p = newPeer(t, nil)
	p.lcpUp(authPAP)
	p.wait(2 * time.Minute)
	p.wantDown(ReasonAuthTimeout)
	if n := len(p.out); n != 12 { // ten PAP requests, two Terminate-Requests
		t.Errorf("%q", p.out)
	}
	p = newPeer(t, nil)
	p.lcpUp(authCHAP)
	p.wait(2 * time.Minute)
	p.wantDown(ReasonAuthTimeout)
	p = newPeer(t, nil)
	p.lcpUp("")
	p.wait(2 * time.Minute)
	p.wantDown(ReasonIPCPTimeout)
}

func TestNeverConverges(t *testing.T) {
	p := newPeer(t, nil)
	for i := range uint8(100) {
		p.send(lcp, ppp.ConfigureRequest, i, "01040010")
		if p.c.Phase() >= PhaseClosing {
			break
		}
	}
	if p.c.Reason() != ReasonLCPFailed {
		t.Errorf("reason %v, phase %v", p.c.Reason(), p.c.Phase())
	}
}

func TestRejectedProtocols(t *testing.T) {
	p := newPeer(t, nil)
	p.lcpUp("")
	p.send(lcp, ppp.ProtocolReject, 1, "8021 0101")
	p.wantDown(ReasonPeerTerminate)
	p = upWithPAP(t)
	p.send(lcp, ppp.CodeReject, 1, "01010004")
	p.want("LCP 5 2 ")
	p.send(lcp, ppp.TerminateAck, 2, "")
	p.wantDown(ReasonPeerTerminate)
}

func TestMalformed(t *testing.T) {
	p := upWithPAP(t)
	for _, frame := range []string{"", "ff03", "ff0300", "c021", "c02101", "c0210101000a01", "c02101010008010405", "c0230101", "c2230101", "c2230101000401"} {
		b, _ := hex.DecodeString(frame)
		p.c.Receive(p.now, b, &p.fx)
	}
	if p.fx.Malformed < 8 || len(p.fx.Frames) != 0 || p.c.Phase() != PhaseUp {
		t.Errorf("%d malformed, %d frames sent, phase %v", p.fx.Malformed, len(p.fx.Frames), p.c.Phase())
	}
}

func TestStrings(t *testing.T) {
	for r := ReasonNone; r <= ReasonIPCPFailed+1; r++ {
		if r.String() == "" {
			t.Errorf("reason %d has no name", r)
		}
	}
	if PhaseAuth.String() != "authentication" || Phase(99).String() != "down" {
		t.Error("wrong phase names")
	}
}

// FuzzSubscriber gives a client any frames and times: it must not panic, and it must come
// to an end when nothing comes any more.
func FuzzSubscriber(f *testing.F) {
	f.Add([]byte("\x12\xc0\x21\x01\x07\x00\x0e\x03\x04\xc0\x23\x05\x06\x01\x02\x03\x04\x04\xc0\x23\x02\x01"), uint8(0))
	f.Add([]byte("\x0d\xc0\x21\x01\x07\x00\x09\x03\x05\xc2\x23\x81"), uint8(1))
	f.Add([]byte("\x0e\x80\x21\x03\x01\x00\x0a\x03\x06\x0a\x40\x00\x01\x07\xc0\x21\x05\x01\x00\x04"), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, mode uint8) {
		cfg := DefaultConfig()
		cfg.Compress = mode&1 != 0
		var c Client
		var fx Effects
		now := time.Duration(0)
		c.Start(now, &cfg, "joe", "secret", rand.NewPCG(1, 1), &fx)
		if mode&2 != 0 {
			c.lcp.Adopt(&cfg.Limits)
			c.peerAuth = ppp.AuthMSCHAPv2
			c.authenticate(now, &fx)
		}
		for len(b) > 0 {
			n := min(int(b[0]), len(b)-1)
			c.Receive(now, b[1:1+n], &fx)
			b = b[1+n:]
			now += 100 * time.Millisecond
			c.Tick(now, &fx)
			if len(fx.Frames) > 10 {
				t.Fatalf("%d frames for one", len(fx.Frames))
			}
			fx.Reset()
		}
		for range 100 {
			if c.Deadline() == Never {
				break
			}
			now = max(now, c.Deadline())
			c.Tick(now, &fx)
			fx.Reset()
		}
		if c.Deadline() != Never {
			t.Fatalf("still waiting in %v, %v", c.Phase(), c.lcp.State())
		}
		if p := c.Phase(); p != PhaseUp && p != PhaseDown {
			t.Fatalf("waits for nothing in %v", p)
		}
	})
}

// BenchmarkClient is a whole link: LCP, PAP, IPCP.
func BenchmarkClient(b *testing.B) {
	cfg := DefaultConfig()
	var c Client
	var fx Effects
	rnd := rand.NewPCG(1, 1)
	frame := func(p ppp.Protocol, code ppp.Code, id uint8, data []byte) []byte {
		return ppp.AppendPacket(ppp.AppendHeader(nil, p, false, false), code, id, data)
	}
	auth, _ := hex.DecodeString(authPAP + peerMagic)
	addr, _ := hex.DecodeString("03060a000001")
	nak, _ := hex.DecodeString("03060a400001810608080808830608080404")
	frames := [][]byte{
		frame(lcp, ppp.ConfigureRequest, 7, auth), nil, frame(pap, ppp.PAPAck, 1, []byte{0}),
		frame(ipcp, ppp.ConfigureRequest, 1, addr), frame(ipcp, ppp.ConfigureNak, 1, nak), frame(ipcp, ppp.ConfigureAck, 2, nak),
	}
	ack := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		fx.Reset()
		c.Start(0, &cfg, "joe", "secret", rnd, &fx)
		ack = append(ack[:0], fx.Frames[0]...)
		ack[4] = byte(ppp.ConfigureAck)
		frames[1] = ack
		for _, f := range frames {
			fx.Reset()
			c.Receive(0, f, &fx)
		}
		if c.Phase() != PhaseUp {
			b.Fatal(c.Phase())
		}
	}
}
