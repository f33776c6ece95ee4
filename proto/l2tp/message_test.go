package l2tp

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"
)

// avp encodes one AVP for the tests: flags are the first hex digit.
func avp(flags byte, vendor, attribute uint16, value string) []byte {
	b := appendAVPHeader(nil, false, vendor, attribute)
	b = append(b, value...)
	putAVPLength(b, len(value))
	b[0] |= flags << 4
	return b
}

func body(typ MessageType, avps ...[]byte) []byte {
	b := avp(8, 0, 0, string([]byte{byte(typ >> 8), byte(typ)}))
	return append(b, bytes.Join(avps, nil)...)
}

// parse decodes a body that has to be good.
func parse(t testing.TB, b []byte) *Message {
	t.Helper()
	m := new(Message)
	if err := ParseMessage(b, nil, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// full returns a message with every AVP there is.
func full() *Message {
	m := &Message{
		Type: MessageICRQ, ProtocolVersion: 0x100, FirmwareRevision: 0x690, AssignedTunnelID: 1, ReceiveWindow: 2,
		FramingCap: 3, BearerCap: 4, TieBreaker: 1<<63 | 5, HostName: []byte("host"), VendorName: []byte("vendor"),
		Challenge: []byte("challenge"), ChallengeResponse: []byte("0123456789abcdef"), AssignedSessionID: 6, CallSerial: 7,
		MinimumBPS: 8, MaximumBPS: 9, BearerType: 1, FramingType: 2, PhysicalChannel: 10, TxSpeed: 11, RxSpeed: 12,
		CalledNumber: []byte("123"), CallingNumber: []byte("456"), SubAddress: []byte("789"), PrivateGroup: []byte("vrf"),
		SequencingRequired: true, SpeedUpdateEnable: true, InitialLCP: []byte{1, 4, 5, 0xdc}, LastSentLCP: []byte{3, 4, 0xc0, 0x23},
		LastReceivedLCP: []byte{5, 6, 1, 2, 3, 4}, ProxyAuthType: ProxyAuthCHAP, ProxyAuthID: 13, ProxyAuthName: []byte("user"),
		ProxyAuthChallenge: []byte("c"), ProxyAuthResponse: []byte("r"),
		Result:        Result{Code: 2, Error: 7, Message: "full"},
		Q931:          Q931Cause{Cause: 16, Msg: 5, Advisory: []byte("clearing")},
		Errors:        CallErrors{1, 2, 3, 4, 5, 6},
		ACCM:          ACCM{Send: 0xa0000, Receive: 0xffffffff},
		PPPDisconnect: PPPDisconnect{Code: 3, Protocol: 0xc021, Direction: 1, Message: []byte("bye")},
		RandomVector:  []byte("vector"),
		SpeedUpdates:  []SpeedUpdate{{1, 2, 3}, {4, 5, 6}},
		Failover:      Failover{Control: true, Data: true, RecoveryTime: 90 * time.Second}, Recovery: Recovery{14, 15},
		SuggestedSequence: SuggestedSequence{0xfffe, 17}, SessionStates: []SessionState{{18, 19}, {0, 20}},
		Line: &AccessLine{
			AgentCircuitID: []byte("dslam eth 1/2"), AgentRemoteID: []byte("DEU.QSC"),
			Encapsulation: [3]byte{1, 2, 0}, Type: 5, Interworking: true,
		},
		Extra: []RawAVP{{Vendor: 9, Attribute: 1, Value: []byte("cisco")}},
	}
	for a := AVPMessageType; a < avpCount; a++ {
		if a != AVPMessageType && a != avpReserved20 && a != AVPSpeedUpdate && a != AVPTxSpeed && a != AVPRxSpeed {
			m.Set(a)
		}
	}
	m.Line.Set(LineAgentCircuitID, LineAgentRemoteID, LineAccessLoop, LineType, LineInterworking)
	for _, a := range lineAVPs {
		m.Line.SetRate(a, uint64(a)*1000)
	}
	return m
}

// same compares what messages say, not what buffers they keep.
func same(a, b *Message) bool {
	x, y := a.Clone(), b.Clone()
	x.present &^= 1<<AVPSpeedUpdate | 1<<AVPSessionState
	y.present &^= 1<<AVPSpeedUpdate | 1<<AVPSessionState
	return reflect.DeepEqual(normal(x), normal(y))
}

// normal makes empty slices nil.
func normal(m Message) Message {
	for i := range int(avpCount) + 4 + len(m.Extra) {
		if f := m.octets(i); f != nil && len(*f) == 0 {
			*f = nil
		}
	}
	if len(m.SpeedUpdates) == 0 {
		m.SpeedUpdates = nil
	}
	if len(m.SessionStates) == 0 {
		m.SessionStates = nil
	}
	if len(m.Extra) == 0 {
		m.Extra = nil
	}
	return m
}

func TestMessageRoundTrip(t *testing.T) {
	want := full()
	got := parse(t, want.Append(nil))
	if !same(got, want) {
		t.Errorf("got  %+v\nwant %+v", normal(got.Clone()), normal(want.Clone()))
	}
	for a := AVPMessageType + 1; a < avpCount; a++ {
		if got.Has(a) != (a == AVPSpeedUpdate || a == AVPSessionState || want.Has(a)) {
			t.Errorf("%v: there is %v", a, got.Has(a))
		}
	}
	if v, ok := got.Line.Rate(LineActualDown); v != 130000 || !ok {
		t.Errorf("actual rate down %d %v", v, ok)
	}
	if v, ok := got.Line.Rate(LineActualDelayUp); v != 140000 || !ok {
		t.Errorf("actual delay up %d %v", v, ok)
	}
	// A message is used again and has nothing left of the one before.
	if err := ParseMessage(body(MessageHello), nil, got); err != nil {
		t.Fatal(err)
	}
	if !same(got, &Message{Type: MessageHello}) || got.Line != nil {
		t.Errorf("after reuse: %+v", got)
	}
}

func TestMessageClone(t *testing.T) {
	b := full().Append(nil)
	m := parse(t, b)
	c := m.Clone()
	for i := range b {
		b[i] = 0xee
	}
	_ = ParseMessage(body(MessageHello), nil, m)
	if want := full(); !same(&c, want) {
		t.Errorf("clone changed with its original: %+v", c)
	}
	c = new(Message).Clone()
	if !same(&c, new(Message)) {
		t.Errorf("empty clone: %+v", c)
	}
	got := parse(t, (&Message{Type: MessageICRQ, AssignedSessionID: 4, CalledNumber: []byte("1234"), present: 1<<AVPAssignedSessionID | 1<<AVPCalledNumber}).Append(nil))
	if n := testing.AllocsPerRun(100, func() { c = got.Clone() }); n > 1 {
		t.Errorf("Clone allocates %v times", n)
	}
}

func TestAppendCuts(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 2000)
	m := Message{Type: MessageICRQ, AssignedSessionID: 7, CalledNumber: long, Extra: []RawAVP{{Vendor: 1, Value: long, Mandatory: false, Hidden: true}}}
	m.Set(AVPAssignedSessionID, AVPCalledNumber)
	got := parse(t, m.Append(nil))
	if len(got.CalledNumber) != maxValue || len(got.Extra) != 1 || len(got.Extra[0].Value) != maxValue || !got.Extra[0].Hidden {
		t.Errorf("called number of %d, extra %d", len(got.CalledNumber), len(got.Extra[0].Value))
	}
	var hidden Message
	m.Extra = nil
	if err := ParseMessage(m.AppendHidden(nil, []byte("s"), []byte("vector")), []byte("s"), &hidden); err != nil || len(hidden.CalledNumber) != maxHidden {
		t.Errorf("hidden: called number of %d, %v", len(hidden.CalledNumber), err)
	}
	m = Message{Type: MessageICCN, TxSpeed: 1 << 40, RxSpeed: 1 << 40}
	m.Set(AVPTxSpeed, AVPRxSpeed)
	if got := parse(t, m.Append(nil)); got.TxSpeed != 1<<32-1 || got.RxSpeed != 1<<32-1 {
		t.Errorf("32-bit speeds %d and %d", got.TxSpeed, got.RxSpeed)
	}
}

func TestMessageSet(t *testing.T) {
	var m Message
	m.Set(AVPHostName, avpUnknown)
	if !m.Has(AVPHostName) || m.Has(avpUnknown) || m.Has(AVPVendorName) {
		t.Errorf("present %b", m.present)
	}
	if m.Unset(AVPHostName, avpUnknown); m.Has(AVPHostName) {
		t.Error("Unset does nothing")
	}
	// Messages that a peer may not know are not mandatory (RFC 5515).
	if b := (&Message{Type: MessageCSURQ}).Append(nil); b[0] != 0 {
		t.Errorf("CSURQ has flags %x", b[0])
	}
}

// An extraordinary message does not keep its memory, an ordinary one does.
func TestMessageReset(t *testing.T) {
	m := Message{SpeedUpdates: make([]SpeedUpdate, 300), SessionStates: make([]SessionState, 300), scratch: make([]byte, 5000)}
	if m.Reset(); cap(m.SpeedUpdates) != 0 || cap(m.SessionStates) != 0 || cap(m.scratch) != 0 {
		t.Errorf("room for %d updates, %d states, %d octets is kept", cap(m.SpeedUpdates), cap(m.SessionStates), cap(m.scratch))
	}
	m = Message{SpeedUpdates: make([]SpeedUpdate, 3), SessionStates: make([]SessionState, 3), scratch: make([]byte, 50)}
	if m.Reset(); cap(m.SpeedUpdates) != 3 || cap(m.SessionStates) != 3 || cap(m.scratch) != 50 {
		t.Error("an ordinary message's memory is not used again")
	}
}

// Of two AVPs of one kind the first counts, in the line's as in all others.
func TestAccessLineTwice(t *testing.T) {
	one := Message{Type: MessageICRQ, AssignedSessionID: 1, Line: &AccessLine{AgentCircuitID: []byte("first")}}
	one.Set(AVPAssignedSessionID, AVPCallSerial)
	one.Line.Set(LineAgentCircuitID)
	two := AccessLine{AgentCircuitID: []byte("second")}
	two.Set(LineAgentCircuitID)
	if got := parse(t, two.append(one.Append(nil), hiding{})); string(got.Line.AgentCircuitID) != "first" {
		t.Errorf("the line is %q", got.Line.AgentCircuitID)
	}
}

func TestAccessLineNil(t *testing.T) {
	var l *AccessLine
	if _, ok := l.Rate(LineActualUp); ok || l.Has(LineType) {
		t.Error("a nil AccessLine has AVPs")
	}
	l = new(AccessLine)
	l.Set(LineType)
	if _, ok := l.Rate(LineType); ok {
		t.Error("the line type is a rate")
	}
	if l.SetRate(LineMaximumDelayUp, 1<<40); l.delays[0] != 1<<32-1 {
		t.Errorf("delay %d", l.delays[0])
	}
	seen := map[uint32]LineAVP{}
	for _, a := range lineAVPs {
		if b := lineBit(a); b == 0 || seen[b] != 0 {
			t.Errorf("%d shares bit %b with %d", a, b, seen[b])
		}
		seen[lineBit(a)] = a
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add(full().Append(nil), []byte("secret"))
	f.Add(full().AppendHidden(nil, []byte("secret"), []byte("vector")), []byte("secret"))
	f.Add(body(MessageHello), []byte(nil))
	fsq := Message{Type: MessageFSQ, SessionStates: []SessionState{{71, 70}, {0, 72}}}
	f.Add(fsq.Append(nil), []byte(nil))
	f.Add(fsq.AppendHidden(nil, []byte("secret"), []byte("vector")), []byte("secret"))
	f.Add(body(MessageSCCRQ, avp(8, 0, 77, "\x00\x00\x00\x00\x00\x21\x00\x00\x00\x0b"), avp(0, 0, 76, "\x00\x03\x00\x00\xea\x60")), []byte(nil))
	f.Add(body(MessageSCCRP, avp(12, 0, 77, "\x00\x00\x00\x00\x00\x21\x00\x00\x00\x0b"), avp(0, 0, 78, "\x00\x00\x00\x03\x00\x64")), []byte("x"))
	f.Add(body(MessageICRQ, avp(8, 0, 200, "x")), []byte(nil))
	f.Add(unhex(f, "800800000000000e8016000000240059e1635c71a86818478eb2ba8ce433800a000000010001000080080000000eaeec"), []byte("x"))
	f.Fuzz(func(t *testing.T, b, secret []byte) {
		before := bytes.Clone(b)
		var m, again Message
		err := ParseMessage(b, secret, &m)
		if !bytes.Equal(b, before) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			var bad *MessageError
			if !errors.As(err, &bad) || bad.Err == nil || bad.Error() == "" {
				t.Fatalf("error %#v", err)
			}
			return
		}
		if !m.Type.Known() {
			return
		}
		c := m.Clone()
		if err := ParseMessage(c.Append(nil), nil, &again); err != nil {
			t.Fatalf("%+v does not parse again: %v", c, err)
		}
		if m.Has(AVPTxSpeed) && m.Has(AVPTxSpeed64) || m.Has(AVPRxSpeed) && m.Has(AVPRxSpeed64) {
			return // two speeds, of which one counts
		}
		if len(m.Extra) < maxExtra && !same(&again, &c) {
			t.Fatalf("%+v came back as %+v", normal(c), normal(again.Clone()))
		}
	})
}
