package l2tp

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// readTable reads a table of testdata: one cell a line, its fields divided by
// "|", comments after "#".
func readTable(t *testing.T, name string) (rows [][]string) {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		row := strings.Split(line, "|")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		rows = append(rows, row)
	}
	return rows
}

var callInputNames = map[string]callInput{
	"dial": callDial, "ICRQ": callICRQ, "ICRP": callICRP, "ICCN": callICCN,
	"refuse": callBad, "CDN": callCDN, "close": callClose,
}

// callIn makes a call of the state and gives it the input.
func callIn(role Role, state CallState, in callInput) (Call, CallEffects) {
	c := NewCall(role, 5)
	c.state = state
	if state == CallEstablished || state == CallWaitConnect {
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
	case callDial:
		c.Dial(&Message{CallSerial: 77}, &fx)
	case callICRQ:
		c.Receive(id(MessageICRQ), nil, &fx)
	case callICRP:
		c.Receive(id(MessageICRP), nil, &fx)
	case callICCN:
		c.Receive(&Message{Type: MessageICCN}, nil, &fx)
	case callCDN:
		c.Receive(id(MessageCDN), nil, &fx)
	case callBad:
		c.Refuse(id(MessageICRQ), r, &fx)
	case callClose:
		c.Close(r, nil, &fx)
	}
	return c, fx
}

// TestCallTable checks every cell of RFC 2661 section 7.4.1 and 7.4.2, as they
// are written down in testdata, by what a Call does.
func TestCallTable(t *testing.T) {
	seen := map[[3]int]bool{}
	for _, row := range readTable(t, "call.table") {
		role := map[string]Role{"LAC": RoleLAC, "LNS": RoleLNS}[row[0]]
		state := stateNamed(t, callStateNames[:], row[1])
		in, ok := callInputNames[row[2]]
		if !ok {
			t.Fatalf("no input %q", row[2])
		}
		t.Run(strings.Join(row[:3], " "), func(t *testing.T) {
			seen[[3]int{int(role), state, int(in)}] = true
			c, fx := callIn(role, CallState(state), in)
			if c.State().String() != row[4] {
				t.Errorf("next state %v, want %s", c.State(), row[4])
			}
			if got := callDid(&fx); got != row[3] {
				t.Errorf("did %q, want %q", got, row[3])
			}
			checkCallEffects(t, &c, in, &fx)
		})
	}
	if want := 2 * int(CallDown+1) * int(callInputs); len(seen) != want {
		t.Errorf("%d cells are written down, want %d", len(seen), want)
	}
}

func stateNamed(t *testing.T, names []string, name string) int {
	t.Helper()
	for i, n := range names {
		if n == name {
			return i
		}
	}
	t.Fatalf("no state %q", name)
	return 0
}

// callDid says what effects are, in the words of the table.
func callDid(fx *CallEffects) string {
	var did []string
	if fx.Send != nil {
		did = append(did, "send "+fx.Send.Type.String())
	}
	if fx.Up {
		did = append(did, "up")
	}
	if fx.Down {
		did = append(did, "clean up")
	}
	if len(did) == 0 {
		return "nothing"
	}
	return strings.Join(did, ", ")
}

func checkCallEffects(t *testing.T, c *Call, in callInput, fx *CallEffects) {
	t.Helper()
	if fx.Down && fx.Local != (in != callCDN) {
		t.Errorf("local %v", fx.Local)
	}
	if in == callCDN && fx.Down && fx.Result.Code != CDNBusy {
		t.Errorf("result %v is not the peer's", fx.Result)
	}
	if fx.Send == nil {
		return
	}
	if fx.Send.Type != MessageICCN && (fx.Send.AssignedSessionID != 5 || !fx.Send.Has(AVPAssignedSessionID)) {
		t.Errorf("assigned session id %d", fx.Send.AssignedSessionID)
	}
	if fx.Send.Type == MessageCDN && (!fx.Send.Has(AVPResultCode) || fx.Send.Result != fx.Result) {
		t.Errorf("CDN with %v, want %v", fx.Send.Result, fx.Result)
	}
	if fx.Send.Type != MessageICRQ && in != callClose && c.PeerID() != 9 && in != callICCN {
		t.Errorf("peer id %d", c.PeerID())
	}
	if err := ParseMessage(fx.Send.Append(nil), nil, new(Message)); err != nil {
		t.Error(err)
	}
}

// TestCallSetUp runs a call through both roles, with the answers of the owners.
func TestCallSetUp(t *testing.T) {
	lac, lns := NewCall(RoleLAC, 1), NewCall(RoleLNS, 2)
	var fx CallEffects
	icrq := Message{CallSerial: 3}
	icrq.Set(AVPCallSerial)
	lac.Dial(&icrq, &fx)
	got := parse(t, fx.Send.Append(nil))
	if got.Type != MessageICRQ || got.AssignedSessionID != 1 || got.CallSerial != 3 {
		t.Fatalf("ICRQ %+v", got)
	}
	lns.Receive(got, nil, &fx)
	got = parse(t, fx.Send.Append(nil))
	if lns.PeerID() != 1 || got.Type != MessageICRP {
		t.Fatalf("peer %d, %+v", lns.PeerID(), got)
	}
	iccn := Message{TxSpeed: 1e9, FramingType: FramingSync}
	iccn.Set(AVPTxSpeed, AVPFramingType)
	lac.Receive(got, &iccn, &fx)
	if !fx.Up || fx.Send != &iccn || lac.PeerID() != 2 || lac.State() != CallEstablished {
		t.Fatalf("LAC %v up %v peer %d", lac.State(), fx.Up, lac.PeerID())
	}
	lns.Receive(parse(t, iccn.Append(nil)), nil, &fx)
	if !fx.Up || fx.Send != nil || lns.State() != CallEstablished {
		t.Fatalf("LNS %v up %v", lns.State(), fx.Up)
	}
	wen := Message{Type: MessageWEN}
	lns.Receive(&wen, nil, &fx)
	if fx.Send != nil || fx.Down || lns.State() != CallEstablished {
		t.Error("WEN changes something")
	}
	lns.Close(Result{Code: CDNAdministrative}, &PPPDisconnect{Code: 6, Protocol: 0xc021, Direction: 2}, &fx)
	got = parse(t, fx.Send.Append(nil))
	if got.PPPDisconnect.Code != 6 || got.PPPDisconnect.Direction != 2 || !got.Has(AVPPPPDisconnect) {
		t.Errorf("CDN %+v", got)
	}
	lac.Receive(got, nil, &fx)
	if !fx.Down || fx.Local || fx.Result.Code != CDNAdministrative || lac.State() != CallDown {
		t.Errorf("LAC %v, %+v", lac.State(), fx)
	}
	if lac.Role() != RoleLAC || lac.LocalID() != 1 {
		t.Error("role or id changed")
	}
}
