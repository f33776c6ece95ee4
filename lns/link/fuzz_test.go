package link

import (
	"testing"
	"time"

	"culvert/proto/ppp"
)

// fuzzedLink is a link under fire with what must hold after each step.
type fuzzedLink struct {
	t     *testing.T
	l     Link
	fx    *Effects
	now   time.Duration
	last  []byte
	downs int
}

// check looks at one step's effects. limit bounds what one input may cause.
func (z *fuzzedLink) check(input int) {
	octets := 0
	for i, f := range z.fx.Frames {
		octets += len(f)
		pf, err := ppp.ParseFrame(f)
		if err != nil {
			z.t.Fatalf("sent a malformed frame % x: %v", f, err)
		}
		if p, err := ppp.ParsePacket(pf.Payload); err != nil || len(p.Data)+4 != len(pf.Payload) {
			z.t.Fatalf("sent a malformed packet % x: %v", f, err)
		}
		if len(z.fx.Whole(i)) != len(f)+8 {
			z.t.Fatal("a frame without its headroom")
		}
		z.last = append(z.last[:0], f...)
	}
	if len(z.fx.Frames) > 4 || octets > 1200+2*input {
		z.t.Fatalf("%d octets in made %d frames with %d octets", input, len(z.fx.Frames), octets)
	}
	if z.downs > 0 && len(z.fx.Frames)+btoi(z.fx.Up)+btoi(z.fx.Auth != nil) > 0 {
		z.t.Fatal("a link that ended does something")
	}
	if z.fx.Down {
		z.downs++
	}
	if z.downs > 1 || z.downs == 1 != (z.l.Phase() == PhaseDown) {
		z.t.Fatalf("ended %d times, phase %v", z.downs, z.l.Phase())
	}
	if z.l.Phase() != PhaseDown && z.l.Deadline() == Never && z.l.Phase() != PhaseUp {
		z.t.Fatalf("a link in phase %v waits for nothing", z.l.Phase())
	}
	if z.l.Phase() == PhaseUp && z.l.neg != nil {
		z.t.Fatal("a link that is up keeps its negotiation")
	}
	z.fx.Reset()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// step takes one command off the script: an octet that says what to do, and
// for a frame an octet of length and so many octets.
func (z *fuzzedLink) step(script []byte) []byte {
	op, script := script[0], script[1:]
	input := 0
	switch op % 8 {
	case 0, 1:
		n := 0
		if len(script) > 0 {
			n, script = int(script[0]), script[1:]
		}
		n = min(n, len(script))
		frame := script[:n:n]
		script, input = script[n:], n
		z.l.Receive(z.now, frame, z.fx)
	case 2:
		if d := z.l.Deadline(); d != Never {
			z.now = max(z.now, d)
		}
		z.l.Tick(z.now, z.fx)
	case 3:
		z.now += time.Duration(op) * 100 * time.Millisecond
		z.l.Tick(z.now, z.fx)
	case 4:
		z.l.Grant(z.now, testNetwork(), "S=ok", z.fx)
	case 5:
		// The peer agrees with whatever was sent last, or sends it back.
		if f := append([]byte(nil), z.last...); len(f) > 4 {
			if f[4] == byte(ppp.ConfigureRequest) && op < 200 {
				// Of EAP's Request this makes a Response.
				f[4] = byte(ppp.ConfigureAck)
			}
			input = len(f)
			z.l.Receive(z.now, f, z.fx)
		}
	case 6:
		z.l.Deny(z.now, "no", z.fx)
	case 7:
		if op > 250 {
			z.l.Close(z.now, z.fx)
			break
		}
		z.challenge(op)
	}
	z.check(input)
	return script
}

// challenge goes on with EAP; whatever the link refuses must leave it as it was.
func (z *fuzzedLink) challenge(op byte) {
	c := Challenge{Packet: []byte{1, op, 0, 6, 4, op}, State: z.last, Ignored: op&8 != 0, Timeout: time.Duration(op>>4) * time.Second}
	if op&128 != 0 {
		c.Packet = z.last
	}
	awaited := z.l.Awaits(z.l.serial)
	if err := z.l.Challenge(z.now, &c, z.fx); err != nil && (!awaited || !z.l.Awaits(z.l.serial) || len(z.fx.Frames) > 0) {
		z.t.Fatalf("a challenge that is refused (%v) changes the link", err)
	}
}

// run starts a link and feeds it a script, then lets time end it.
func (z *fuzzedLink) run(cfg *Config, proxy *Proxy, script []byte) {
	z.fx = NewEffects(8)
	z.l.Start(0, cfg, seeded(1), proxy, z.fx)
	z.check(0)
	for len(script) > 0 {
		script = z.step(script)
	}
	z.l.Close(z.now, z.fx)
	z.check(0)
	for range 100 {
		if z.downs > 0 {
			break
		}
		z.now = max(z.now, z.l.Deadline())
		z.l.Tick(z.now, z.fx)
		z.check(0)
	}
	if z.downs != 1 || z.l.Deadline() != Never {
		z.t.Fatalf("ended %d times; deadline %v", z.downs, z.l.Deadline())
	}
}

// FuzzLink feeds a link frames, time and its owner's decisions.
func FuzzLink(f *testing.F) {
	frame := func(b []byte) []byte { return append([]byte{0, byte(len(b))}, b...) }
	lcp := ppp.LCPConfig{MRU: 1492, Magic: 0x01020304, PFC: true, ACFC: true}
	r := newReplay()
	request := frame(frameOf(ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.ConfigureRequest, 1, lcp.Append(nil))))
	up := append([]byte{5}, request...)
	up = append(append(up, frame(r.pap)...), 4, 5)
	up = append(up, frame(r.request)...)
	f.Add(uint8(0), up)
	f.Add(uint8(0), append(append(append([]byte{}, up...), request...), up...))
	f.Add(uint8(0), append(append([]byte{}, up...), 2, 2, 2, 2, 2, 2, 2))
	f.Add(uint8(1), []byte{5, 2, 5, 3, 6, 255})
	f.Add(uint8(2), []byte{4, 5, 0, 4, 0x80, 0x21, 1, 1})
	f.Add(uint8(3), []byte{205, 205, 205, 205, 205, 205})
	// The identity, two challenges and a verdict.
	eap := append(append([]byte{5}, request...), 5, 7, 5, 15, 5)
	f.Add(uint8(4), append(append([]byte{}, eap...), 4))
	f.Add(uint8(4), append(append([]byte{}, eap...), 6))
	f.Add(uint8(4), append(append([]byte{}, eap...), 135, 2, 2, 2, 2))
	f.Add(uint8(4), append(append([]byte{}, eap...), frame([]byte{0xff, 3, 0xc2, 0x27, 2, 15, 0, 6, 4, 1})...))
	configs := []*Config{testConfig(f, MethodPAP), testConfig(f, MethodMSCHAPv2, MethodCHAP), testConfig(f), testConfig(f, MethodCHAP), testConfig(f, MethodEAP, MethodCHAP)}
	f.Fuzz(func(t *testing.T, which uint8, script []byte) {
		z := &fuzzedLink{t: t}
		z.run(configs[int(which)%len(configs)], nil, script)
	})
}

// FuzzProxy starts links on whatever a LAC may claim.
func FuzzProxy(f *testing.F) {
	cfg := testConfig(f, MethodCHAP, MethodPAP, MethodMSCHAPv2)
	f.Add([]byte("\x03\x05\xc2\x23\x05"), []byte("\x01\x04\x05\xd4"), uint16(2), []byte("c"), make([]byte, 16))
	f.Add([]byte("\x03\x04\xc0\x23"), []byte{}, uint16(3), []byte{}, []byte("secret"))
	f.Fuzz(func(t *testing.T, sent, received []byte, typ uint16, challenge, response []byte) {
		z := &fuzzedLink{t: t}
		z.run(cfg, &Proxy{
			LastSent: sent, LastReceived: received, AuthType: typ,
			AuthChallenge: challenge, AuthResponse: response, AuthID: typ,
		}, []byte{4, 5, 2, 3})
	})
}
