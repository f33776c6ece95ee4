package l2tp

import (
	"strings"
	"testing"
)

var outInputNames = map[string]outInput{
	"dial": outDial, "OCRQ": outOCRQ, "OCRP": outOCRP, "OCCN": outOCCN,
	"refuse": outBad, "answer": outAnswer, "CDN": outCDN, "close": outClose,
}

// outCallIn makes an outgoing call of the state and gives it the input.
func outCallIn(role Role, state CallState, in outInput) (Call, CallEffects) {
	c := NewOutCall(role, 5)
	c.state = state
	if state == CallEstablished || state == CallWaitConnect || state == CallWaitAnswer {
		c.peerID = 9
	}
	var fx CallEffects
	id := func(typ MessageType) *Message {
		m := &Message{Type: typ, AssignedSessionID: 9, Result: Result{Code: CDNBusy}}
		m.Set(AVPAssignedSessionID)
		return m
	}
	r := Result{Code: CDNAdministrative}
	switch in {
	case outDial:
		c.Dial(&Message{CallSerial: 77}, &fx)
	case outOCRQ:
		c.Receive(id(MessageOCRQ), nil, &fx)
	case outOCRP:
		c.Receive(id(MessageOCRP), nil, &fx)
	case outOCCN:
		c.Receive(&Message{Type: MessageOCCN}, nil, &fx)
	case outBad:
		c.Refuse(id(MessageOCRQ), r, &fx)
	case outAnswer:
		c.Answer(nil, &fx)
	case outCDN:
		c.Receive(id(MessageCDN), nil, &fx)
	case outClose:
		c.Close(r, nil, &fx)
	}
	return c, fx
}

// TestOutCallTable checks every cell of RFC 2661 section 7.5.1 and 7.5.2, as they
// are written down in testdata, by what a Call does.
func TestOutCallTable(t *testing.T) {
	seen := map[[3]int]bool{}
	for _, row := range readTable(t, "outcall.table") {
		role := map[string]Role{"LAC": RoleLAC, "LNS": RoleLNS}[row[0]]
		state := stateNamed(t, callStateNames[:], row[1])
		in, ok := outInputNames[row[2]]
		if !ok {
			t.Fatalf("no input %q", row[2])
		}
		t.Run(strings.Join(row[:3], " "), func(t *testing.T) {
			seen[[3]int{int(role), state, int(in)}] = true
			c, fx := outCallIn(role, CallState(state), in)
			if c.State().String() != row[4] {
				t.Errorf("next state %v, want %s", c.State(), row[4])
			}
			if got := callDid(&fx); got != row[3] {
				t.Errorf("did %q, want %q", got, row[3])
			}
			checkOutEffects(t, &c, in, &fx)
		})
	}
	// The LAC has no wait-reply and wait-connect, the LNS no wait-cs-answer; they are written down all the same.
	if want := 2 * int(callStates) * int(outInputs); len(seen) != want {
		t.Errorf("%d cells are written down, want %d", len(seen), want)
	}
}

func checkOutEffects(t *testing.T, c *Call, in outInput, fx *CallEffects) {
	t.Helper()
	if fx.Down && fx.Local != (in != outCDN) {
		t.Errorf("local %v", fx.Local)
	}
	if in == outCDN && fx.Down && fx.Result.Code != CDNBusy {
		t.Errorf("result %v is not the peer's", fx.Result)
	}
	if in == outOCRP && c.State() == CallWaitConnect && c.PeerID() != 9 {
		t.Errorf("the OCRP's session id is lost: %d", c.PeerID())
	}
	if fx.Send == nil {
		return
	}
	if fx.Send.Type != MessageOCCN && (fx.Send.AssignedSessionID != 5 || !fx.Send.Has(AVPAssignedSessionID)) {
		t.Errorf("assigned session id %d", fx.Send.AssignedSessionID)
	}
	if fx.Send.Type == MessageCDN && (!fx.Send.Has(AVPResultCode) || fx.Send.Result != fx.Result) {
		t.Errorf("CDN with %v, want %v", fx.Send.Result, fx.Result)
	}
	if err := ParseMessage(fx.Send.Append(nil), nil, new(Message)); err != nil {
		t.Error(err)
	}
}

// TestOutCallSetUp runs an outgoing call through both roles.
func TestOutCallSetUp(t *testing.T) {
	lns, lac := NewOutCall(RoleLNS, 1), NewOutCall(RoleLAC, 2)
	var fx CallEffects
	ocrq := Message{
		CallSerial: 3, MinimumBPS: 9600, MaximumBPS: 64000, BearerType: BearerDigital, FramingType: FramingSync,
		CalledNumber: []byte("02075550123"), SubAddress: []byte("7"),
	}
	ocrq.Set(AVPCallSerial, AVPMinimumBPS, AVPMaximumBPS, AVPBearerType, AVPFramingType, AVPCalledNumber, AVPSubAddress)
	lns.Dial(&ocrq, &fx)
	got := parse(t, fx.Send.Append(nil))
	if got.Type != MessageOCRQ || got.AssignedSessionID != 1 || string(got.CalledNumber) != "02075550123" || got.MaximumBPS != 64000 {
		t.Fatalf("OCRQ %+v", got)
	}
	lac.Receive(got, nil, &fx)
	got = parse(t, fx.Send.Append(nil))
	if lac.PeerID() != 1 || got.Type != MessageOCRP || got.AssignedSessionID != 2 || fx.Up {
		t.Fatalf("peer %d, %+v", lac.PeerID(), got)
	}
	lns.Receive(got, nil, &fx)
	if fx.Send != nil || fx.Up || lns.PeerID() != 2 {
		t.Fatalf("after the OCRP: %+v", fx)
	}
	occn := Message{TxSpeed: 64000, FramingType: FramingSync}
	occn.Set(AVPTxSpeed, AVPFramingType)
	lac.Answer(&occn, &fx)
	if !fx.Up || fx.Send != &occn {
		t.Fatalf("after the answer: %+v", fx)
	}
	lns.Receive(parse(t, occn.Append(nil)), nil, &fx)
	if !fx.Up || lns.State() != CallEstablished || !lns.Outgoing() {
		t.Fatalf("LNS %v up %v", lns.State(), fx.Up)
	}
	for _, typ := range []MessageType{MessageICRQ, MessageICRP, MessageICCN, MessageWEN, MessageSLI} {
		if lns.Receive(&Message{Type: typ}, nil, &fx); fx.Down || fx.Send != nil {
			t.Errorf("%v changes an outgoing call", typ)
		}
	}
	in := NewCall(RoleLAC, 3)
	if in.Answer(nil, &fx); fx.Up || fx.Send != nil || in.State() != CallIdle {
		t.Error("an incoming call was answered by its LAC")
	}
}
