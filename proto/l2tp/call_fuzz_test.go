package l2tp

import "testing"

// fuzzedCall is a call under fire, with what its owner has seen of it.
type fuzzedCall struct {
	t         *testing.T
	c         Call
	fx        CallEffects
	ups, ends int
	peer      uint16
}

// check looks at one step's effects.
func (z *fuzzedCall) check(cdn bool) {
	c, fx := &z.c, &z.fx
	if z.ends > 0 && (fx.Send != nil || fx.Up || fx.Down || c.State() != CallDown) {
		z.t.Fatalf("a call that ended does something: %+v, %v", fx, c.State())
	}
	if fx.Up {
		z.ups++
	}
	if fx.Down {
		z.ends++
	}
	switch {
	case z.ups > 1, z.ends > 1, fx.Up && fx.Down:
		z.t.Fatalf("up %d times, ended %d times", z.ups, z.ends)
	case (z.ends > 0) != (c.State() == CallDown):
		z.t.Fatalf("ended %d times, in %v", z.ends, c.State())
	case (z.ups > 0) != (c.State() == CallEstablished) && z.ends == 0:
		z.t.Fatalf("up %d times, in %v", z.ups, c.State())
	case fx.Down && fx.Local == cdn:
		z.t.Fatalf("ended here: %v, by the peer's CDN: %v", fx.Local, cdn)
	case z.peer != 0 && c.PeerID() != z.peer:
		z.t.Fatalf("the peer's id was %d and is %d", z.peer, c.PeerID())
	case c.LocalID() != 5:
		z.t.Fatalf("our id became %d", c.LocalID())
	}
	z.peer = c.PeerID()
	if fx.Send == nil {
		return
	}
	var m Message
	if err := ParseMessage(fx.Send.Append(nil), nil, &m); err != nil {
		z.t.Fatalf("sends %+v: %v", fx.Send, err)
	}
	if allowed := z.says(); m.Type != MessageCDN && m.Type != allowed[0] && m.Type != allowed[1] {
		z.t.Fatalf("the role says no %v", m.Type)
	}
	if (m.Type == MessageCDN) != fx.Down {
		z.t.Fatalf("sends %v, ended: %v", m.Type, fx.Down)
	}
}

// says are the messages of a role, besides CDN.
func (z *fuzzedCall) says() [2]MessageType {
	switch {
	case z.c.Role() == RoleLAC && z.c.Outgoing():
		return [2]MessageType{MessageOCRP, MessageOCCN}
	case z.c.Role() == RoleLAC:
		return [2]MessageType{MessageICRQ, MessageICCN}
	case z.c.Outgoing():
		return [2]MessageType{MessageOCRQ, MessageOCRQ}
	}
	return [2]MessageType{MessageICRP, MessageICRP}
}

// FuzzCall gives calls of both kinds and roles anything that can happen, in any
// order: they come up once at most and end once, say nothing afterwards, keep the
// peer's id, and send what the peer can read.
func FuzzCall(f *testing.F) {
	f.Add(uint8(0), []byte{0, 0, 11, 9, 1, 14, 3})
	f.Add(uint8(1), []byte{10, 9, 12, 9, 2, 0})
	f.Add(uint8(2), []byte{7, 9, 3, 0, 2, 0})
	f.Add(uint8(3), []byte{0, 0, 8, 9, 9, 9, 14, 1})
	f.Add(uint8(1), []byte{10, 9, 10, 9, 14, 1})
	f.Fuzz(func(t *testing.T, kind uint8, ops []byte) {
		role := Role(kind & 1)
		z := &fuzzedCall{t: t, c: NewCall(role, 5)}
		if kind&2 != 0 {
			z.c = NewOutCall(role, 5)
		}
		for ; len(ops) >= 2; ops = ops[2:] {
			m := &Message{Type: MessageType(ops[0] & 31), AssignedSessionID: uint16(ops[1]), Result: Result{Code: ResultCode(ops[1])}}
			m.Set(AVPAssignedSessionID)
			switch op := ops[0] & 31; op {
			case 0:
				z.c.Dial(&Message{CallSerial: uint32(ops[1])}, &z.fx)
			case 1:
				z.c.Refuse(m, Result{Code: CDNBusy}, &z.fx)
			case 2:
				z.c.Close(Result{Code: CDNAdministrative}, &PPPDisconnect{Code: uint16(ops[1])}, &z.fx)
			case 3:
				z.c.Answer(nil, &z.fx)
			default:
				z.c.Receive(m, nil, &z.fx)
			}
			z.check(m.Type == MessageCDN)
		}
		z.c.Close(Result{Code: CDNAdministrative}, nil, &z.fx)
		z.check(false)
		if z.ends != 1 {
			t.Fatalf("a call that was closed is %v", z.c.State())
		}
	})
}

// FuzzRestore goes on with whatever another process has left of a tunnel, then with
// any datagrams: it never panics, never exceeds the peer's window, and is done in the end.
func FuzzRestore(f *testing.F) {
	hello := Message{Type: MessageHello}
	d := hello.Append(ControlHeader(22, 0, 5, 7).Append(nil))
	PutLength(d)
	script := append([]byte{0, byte(len(d)), 1}, d...)
	f.Add(uint16(9), uint16(4), uint16(7), uint16(5), uint16(5), false, script)
	f.Add(uint16(9), uint16(0), uint16(3), uint16(65530), uint16(5), true, script)
	f.Add(uint16(1), uint16(1), uint16(0), uint16(1), uint16(0), true, []byte{})
	f.Add(uint16(1), uint16(65535), uint16(40), uint16(0), uint16(0), false, append(script, script...))
	f.Fuzz(func(t *testing.T, peer, window, ns, una, nr uint16, behind bool, script []byte) {
		cfg := testConfig("us", "", 1)
		cfg.Control = ControlConfig{Window: 4, SendQueue: 8}
		z := scriptedTunnel{t: t, tun: NewTunnel(RoleLNS, 22, cfg), queued: maxFill + 9}
		if peer == 0 {
			return // the record of no tunnel
		}
		z.tun.Restore(0, 0, SavedTunnel{PeerID: peer, PeerWindow: window, Ns: ns, Una: una, Nr: nr, Behind: behind})
		if got, ok := z.tun.Save(); !ok || got.Ns != ns || got.Nr != nr || got.PeerID != peer {
			t.Fatalf("restored and saved again: %+v, %v", got, ok)
		}
		z.play(script)
		z.end()
	})
}
