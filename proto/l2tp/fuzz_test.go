package l2tp

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// FuzzControlReceive drives a Control with any operations: it never panics,
// delivers every sequence number once and in order, never sends more than the
// peer's window or what it was not given, and its queues stay bounded.
func FuzzControlReceive(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 1, 2, 9, 3, 1, 0, 1, 0, 2, 3, 200})
	f.Add([]byte{1, 0, 2, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 3, 40})
	f.Add(bytes.Repeat([]byte{2, 3}, 40))
	f.Add(bytes.Repeat([]byte{2, 1, 0, 0, 0, 1}, 20))
	f.Fuzz(func(t *testing.T, ops []byte) {
		cfg := &ControlConfig{Window: 4, SendQueue: 8, Hello: time.Second}
		c := NewControl(cfg)
		c.SetPeer(9, 3)
		c.StartHello(0)
		now, delivered := time.Duration(0), uint16(0)
		var fx Effects
		deliver := func(body []byte) {
			if len(body) < 2 || binary.BigEndian.Uint16(body) != delivered {
				t.Fatalf("delivered %x as number %d", body, delivered)
			}
			delivered++
		}
		for len(ops) > 0 && !c.Dead() {
			op := ops[0]
			ops = ops[1:]
			switch {
			case op < 2 && len(ops) >= 4: // a datagram, whose body is its Ns
				h := ControlHeader(1, 0, binary.BigEndian.Uint16(ops), binary.BigEndian.Uint16(ops[2:]))
				body := ops[:2:2]
				if op == 1 {
					body = nil
				}
				ops = ops[4:]
				if c.Receive(now, h, body, &fx) == VerdictDeliver {
					deliver(body)
					for {
						_, body, ok := c.Next(now)
						if !ok {
							break
						}
						deliver(body)
					}
				}
				c.Flush(now, &fx)
			case op == 2:
				_ = c.Send(now, 0, []byte{byte(c.Ns() >> 8), byte(c.Ns()), 0xaa}, &fx)
			case len(ops) > 0:
				now += time.Duration(ops[0]) * 50 * time.Millisecond
				ops = ops[1:]
				c.Tick(now, &fx)
				if c.Deadline() <= now {
					t.Fatalf("deadline %v after Tick at %v", c.Deadline(), now)
				}
			}
			checkControl(t, &c, delivered, &fx)
			fx.Reset()
		}
	})
}

func checkControl(t *testing.T, c *Control, delivered uint16, fx *Effects) {
	t.Helper()
	if c.Nr() != delivered {
		t.Fatalf("Nr %d after %d deliveries", c.Nr(), delivered)
	}
	if len(c.early) > 3 || c.Unacked() > 9 || c.flight > 3 || c.flight > c.Unacked() {
		t.Fatalf("%d early, %d queued, %d in flight", len(c.early), c.Unacked(), c.flight)
	}
	bodies := 0
	for _, m := range c.queue[c.head:] {
		bodies += int(m.size)
	}
	if c.skip+bodies != len(c.buf) {
		t.Fatalf("bodies of %d octets in a buffer of %d from %d", bodies, len(c.buf), c.skip)
	}
	for _, p := range fx.Packets {
		h, payload, err := ParseHeader(p)
		if err != nil || h.TunnelID != 9 {
			t.Fatalf("sent %x: %v", p, err)
		}
		if len(payload) == 3 && binary.BigEndian.Uint16(payload) != h.Ns {
			t.Fatalf("body %x goes out as number %d", payload, h.Ns)
		}
	}
}

// FuzzTunnel gives a tunnel any datagrams and lets time pass: it never panics,
// ends at most once, and is done in the end when nobody answers any more.
func FuzzTunnel(f *testing.F) {
	talk := func(role byte, messages ...*Message) []byte {
		script := []byte{role}
		for i, m := range messages {
			id := uint16(22)
			if m.Type == MessageSCCRQ {
				id = 0
			}
			d := m.Append(ControlHeader(id, 0, uint16(i), uint16(i)).Append(nil))
			PutLength(d)
			script = append(append(binary.BigEndian.AppendUint16(script, uint16(len(d))), 1), d...)
		}
		return script
	}
	lns := NewTunnel(RoleLNS, 22, testConfig("us", "", 1))
	f.Add(talk(0, tunnelMessage(lns, inSCCRQ), tunnelMessage(lns, inSCCCN), tunnelMessage(lns, inCall), tunnelMessage(lns, inStopCCN)))
	f.Add(talk(1, tunnelMessage(lns, inSCCRP), tunnelMessage(lns, inCall), tunnelMessage(lns, inBad)))
	f.Add(talk(3, tunnelMessage(lns, inSCCRP), full()))
	f.Add(talk(2, tunnelMessage(lns, inSCCRQ), tunnelMessage(lns, inSCCRQ), full()))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) == 0 {
			return
		}
		z := scriptedTunnel{t: t, tun: fuzzTunnel(script[0]), queued: 9}
		if script[0]&1 != 0 {
			z.tun.Open(0, &z.fx)
			z.settle()
		}
		z.play(script[1:])
		z.end()
	})
}

// scriptedTunnel is a tunnel under fire, with what must hold after each step.
type scriptedTunnel struct {
	t      *testing.T
	tun    *Tunnel
	fx     Effects
	now    time.Duration
	downs  int
	queued int // bounds the messages that wait
}

// play gives the tunnel what a script holds: length, time in 10 ms, datagram.
func (z *scriptedTunnel) play(script []byte) {
	for len(script) >= 3 {
		n := min(int(binary.BigEndian.Uint16(script)), len(script)-3)
		z.now += time.Duration(script[2]) * 10 * time.Millisecond
		if z.tun.Deadline() <= z.now {
			z.tun.Tick(z.now, &z.fx)
		}
		_ = z.tun.Receive(z.now, script[3:3+n], &z.fx)
		z.settle()
		script = script[3+n:]
	}
}

// end stops the tunnel and lets time pass until it is done.
func (z *scriptedTunnel) end() {
	z.tun.Stop(z.now, Result{Code: StopShutdown}, &z.fx)
	z.settle()
	for range 100 {
		if z.tun.Deadline() == Never {
			break
		}
		z.now = max(z.now, z.tun.Deadline())
		z.tun.Tick(z.now, &z.fx)
		z.settle()
	}
	if !z.tun.Done() || z.downs != 1 || z.tun.State() != TunnelStopping {
		z.t.Fatalf("done %v, down %d times, %v", z.tun.Done(), z.downs, z.tun.State())
	}
}

// settle checks one step's effects, and counts how many ends there were.
func (z *scriptedTunnel) settle() {
	z.t.Helper()
	for _, p := range z.fx.Packets {
		_, payload, err := ParseHeader(p)
		if err != nil {
			z.t.Fatalf("sent %x: %v", p, err)
		}
		var m Message
		if len(payload) > 0 && ParseMessage(payload, z.tun.cfg.Secret, &m) != nil {
			z.t.Fatalf("sent %x", p)
		}
	}
	for i := range z.fx.Events {
		e := &z.fx.Events[i]
		switch {
		case e.Kind == EventDown:
			z.downs++
		case e.Kind == 0 || e.Kind == EventBadMessage && e.Err == nil:
			z.t.Fatalf("event %+v", e)
		}
	}
	c := &z.tun.ctl
	if len(c.early) > 4 || c.Unacked() > z.queued || c.flight > max(int(c.peerWindow), 1) {
		z.t.Fatalf("%d early, %d queued, %d in flight", len(c.early), c.Unacked(), c.flight)
	}
	z.fx.Reset()
}

func fuzzTunnel(kind byte) *Tunnel {
	secret := ""
	if kind&2 != 0 {
		secret = "swordfish"
	}
	cfg := testConfig("us", secret, 1)
	cfg.NoChallenge, cfg.AcceptUnknownMandatory, cfg.Hide = kind&4 != 0, kind&8 != 0, kind&16 != 0
	cfg.Control = ControlConfig{Window: 4, SendQueue: 8, Hello: time.Second}
	if kind&1 != 0 {
		return NewTunnel(RoleLAC, 22, cfg)
	}
	return NewTunnel(RoleLNS, 22, cfg)
}
