package l2tp

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"
)

var tunnelInputNames = map[string]tunnelInput{
	"open": inOpen, "SCCRQ": inSCCRQ, "SCCRP": inSCCRP, "SCCCN": inSCCCN,
	"bad SCCRQ": inBadSCCRQ, "bad SCCRP": inBadSCCRP, "bad SCCCN": inBadSCCCN,
	"StopCCN": inStopCCN, "call": inCall, "bad": inBad, "close": inClose,
	"tie won": inTieWon, "tie lost": inTieLost,
}

var tunnelActionNames = map[tunnelAction]string{
	actIgnore: "nothing", actSendSCCRQ: "send SCCRQ", actSendSCCRP: "send SCCRP", actSendSCCCN: "send SCCCN, up",
	actUp: "up", actCall: "call", actSendStop: "send StopCCN, down", actCleanUp: "down",
	actDiscard: "down",
}

// TestTunnelTable compares every cell with RFC 2661 section 7.2.1 as testdata
// has it, and then checks that a Tunnel does what its cell says.
func TestTunnelTable(t *testing.T) {
	seen := map[[2]int]bool{}
	for _, row := range readTable(t, "tunnel.table") {
		state := stateNamed(t, tunnelStateNames[:], row[0])
		in, ok := tunnelInputNames[row[1]]
		if !ok {
			t.Fatalf("no input %q", row[1])
		}
		t.Run(row[0]+" "+row[1], func(t *testing.T) {
			seen[[2]int{state, int(in)}] = true
			cell := tunnelTable[state][in]
			if got := tunnelActionNames[cell.action]; got != row[2] || cell.next.String() != row[3] {
				t.Errorf("cell says %s, %v; want %s, %s", got, cell.next, row[2], row[3])
			}
			did, next := tunnelDoes(t, TunnelState(state), in)
			want := row[2]
			if TunnelState(state) == TunnelIdle && strings.HasSuffix(row[1], "SCCRP") {
				want = "down" // a message nobody asked for names nobody to answer
			}
			if did != want || next.String() != row[3] {
				t.Errorf("did %q and is %v; want %q and %s", did, next, want, row[3])
			}
		})
	}
	if want := len(tunnelStateNames) * int(tunnelInputs); len(seen) != want {
		t.Errorf("%d cells are written down, want %d", len(seen), want)
	}
}

// tunnelIn makes a tunnel of the state. It has a secret, and has challenged.
func tunnelIn(t *testing.T, state TunnelState, role Role) *Tunnel {
	t.Helper()
	tun := NewTunnel(role, 22, testConfig("us", "swordfish", 3))
	var fx Effects
	switch state {
	case TunnelIdle:
	case TunnelWaitReply:
		tun.Open(0, &fx)
		tun.ctl.acknowledge(0, 1, &fx)
	default:
		receive(t, tun, tunnelMessage(tun, inSCCRQ), &fx)
		tun.ctl.acknowledge(0, 1, &fx)
		if state >= TunnelEstablished {
			receive(t, tun, tunnelMessage(tun, inSCCCN), &fx)
		}
		if state == TunnelStopping {
			tun.Stop(0, Result{Code: StopShutdown}, &fx)
			tun.ctl.acknowledge(0, 2, &fx)
		}
	}
	if tun.State() != state {
		t.Fatalf("is %v, want %v", tun.State(), state)
	}
	return tun
}

// receive gives the next message in order.
func receive(t *testing.T, tun *Tunnel, m *Message, fx *Effects) {
	t.Helper()
	id := tun.LocalID()
	if tun.State() == TunnelIdle && m.Type == MessageSCCRQ {
		id = 0
	}
	d := m.Append(ControlHeader(id, 5, tun.ctl.nr, tun.ctl.una).Append(nil))
	PutLength(d)
	if err := tun.Receive(0, d, fx); err != nil {
		t.Fatal(err)
	}
}

// tunnelMessage makes a message that is the input.
func tunnelMessage(tun *Tunnel, in tunnelInput) *Message {
	m := &Message{
		ProtocolVersion: ProtocolVersion1, HostName: []byte("peer"), AssignedTunnelID: 7,
		AssignedSessionID: 8, Result: Result{Code: StopGeneral},
	}
	m.Set(AVPProtocolVersion, AVPHostName, AVPAssignedTunnelID)
	switch in {
	case inSCCRQ, inBadSCCRQ:
		m.Type = MessageSCCRQ
	case inSCCRP, inBadSCCRP:
		m.Type = MessageSCCRP
	case inSCCCN, inBadSCCCN:
		m.Type = MessageSCCCN
	case inStopCCN:
		m.Type = MessageStopCCN
		m.Set(AVPResultCode)
	case inCall:
		m.Type = MessageICRQ
		m.Set(AVPAssignedSessionID)
	case inBad:
		m.Type = 99
	}
	if tun.hand != nil {
		r := ChallengeResponse(m.Type, tun.cfg.Secret, tun.hand.challenge[:])
		m.ChallengeResponse = r[:]
		m.Set(AVPChallengeResponse)
	}
	switch in {
	case inBadSCCRQ:
		m.ProtocolVersion = 0x300
	case inBadSCCRP:
		m.Unset(AVPChallengeResponse)
	case inBadSCCCN:
		m.ChallengeResponse = make([]byte, 16)
	}
	return m
}

// tunnelDoes gives a tunnel of the state the input, and says what it did in the
// words of the table.
func tunnelDoes(t *testing.T, state TunnelState, in tunnelInput) (string, TunnelState) {
	t.Helper()
	role := RoleLNS
	if state == TunnelWaitReply || in == inOpen && state == TunnelIdle {
		role = RoleLAC
	}
	tun := tunnelIn(t, state, role)
	var fx Effects
	switch in {
	case inOpen:
		tun.Open(0, &fx)
	case inClose:
		tun.Stop(0, Result{Code: StopGeneral}, &fx)
	case inTieWon, inTieLost:
		collide(tun, in == inTieWon, &fx)
	default:
		receive(t, tun, tunnelMessage(tun, in), &fx)
	}
	var did []string
	for _, p := range fx.Packets {
		if _, payload, _ := ParseHeader(p); len(payload) > 0 {
			did = append(did, "send "+parse(t, payload).Type.String())
		}
	}
	for _, e := range fx.Events {
		did = append(did, map[EventKind]string{EventUp: "up", EventDown: "down", EventMessage: "call"}[e.Kind])
	}
	if len(did) == 0 {
		return "nothing", tun.State()
	}
	return strings.Join(did, ", "), tun.State()
}

func TestTunnelDrops(t *testing.T) {
	tun := tunnelIn(t, TunnelEstablished, RoleLNS)
	for _, tt := range []struct {
		datagram string
		err      error
	}{
		{"c8", ErrShort},
		{"0002000b0016ff03c021", ErrNotControl},
		{"c802000c000b000000010002", ErrTunnelID},
		{"c802000c0000000000010002", ErrTunnelID},
	} {
		var fx Effects
		if err := tun.Receive(0, unhex(t, tt.datagram), &fx); !errors.Is(err, tt.err) || len(fx.Packets)+len(fx.Events) != 0 {
			t.Errorf("%s: error %v, want %v; %d packets", tt.datagram, err, tt.err, len(fx.Packets))
		}
	}
}

func TestTunnelAccessors(t *testing.T) {
	cfg := testConfig("us", "", 1)
	tun := NewTunnel(RoleLNS, 22, cfg)
	m := tunnelMessage(tun, inSCCRQ)
	m.TieBreaker, m.ReceiveWindow = 77, 9
	m.Set(AVPTieBreaker, AVPReceiveWindow)
	var fx Effects
	receive(t, tun, m, &fx)
	if tun.PeerTieBreaker() != 77 || tun.PeerWindow() != 9 || tun.Role() != RoleLNS || tun.Ns() != 1 || tun.Nr() != 1 ||
		tun.Una() != 0 || tun.Unacked() != 1 || tun.Retransmissions() != 0 || tun.Done() || tun.Held() {
		t.Errorf("%+v", tun)
	}
	tun.Open(0, &fx)
	if tun.State() != TunnelWaitConn {
		t.Error("an LNS's tunnel was opened")
	}
}

// TestTunnelRand ends a tunnel that cannot make a challenge.
func TestTunnelRand(t *testing.T) {
	cfg := testConfig("us", "swordfish", 1)
	cfg.Rand = iotest.ErrReader(io.ErrUnexpectedEOF)
	tun := NewTunnel(RoleLAC, 22, cfg)
	var fx Effects
	tun.Open(0, &fx)
	if len(fx.Events) != 1 || fx.Events[0].Kind != EventDown || !errors.Is(fx.Events[0].Err, io.ErrUnexpectedEOF) {
		t.Errorf("events %+v", fx.Events)
	}
	cfg = testConfig("us", "swordfish", 1)
	cfg.Hide = true
	tun = tunnelIn(t, TunnelEstablished, RoleLNS)
	tun.cfg = cfg
	cfg.Rand = iotest.ErrReader(io.ErrUnexpectedEOF)
	if err := tun.Send(0, &Message{Type: MessageHello}, 0, &fx); !errors.Is(err, io.ErrUnexpectedEOF) || tun.State() != TunnelEstablished {
		t.Errorf("error %v, state %v", err, tun.State())
	}
}

func TestTunnelTooLong(t *testing.T) {
	tun := tunnelIn(t, TunnelEstablished, RoleLNS)
	var fx Effects
	m := Message{Type: MessageCSUN, SpeedUpdates: make([]SpeedUpdate, 5000)}
	if err := tun.Send(0, &m, 0, &fx); !errors.Is(err, ErrTooLong) || len(fx.Packets) != 0 {
		t.Errorf("error %v, %d packets", err, len(fx.Packets))
	}
	m.SpeedUpdates = m.SpeedUpdates[:10]
	if err := tun.Send(0, &m, 0, &fx); err != nil || len(fx.Packets) != 1 {
		t.Errorf("error %v, %d packets", err, len(fx.Packets))
	}
}

// TestRefusal refuses a LAC without a Tunnel.
func TestRefusal(t *testing.T) {
	lac := NewTunnel(RoleLAC, 11, testConfig("lac", "", 1))
	var fx Effects
	lac.Open(0, &fx)
	_, payload, err := ParseHeader(fx.Packets[0])
	if err != nil {
		t.Fatal(err)
	}
	d := AppendRefusal([]byte("x"), parse(t, payload), 5, Result{Code: 2, Error: ErrorTryAnother})[1:]
	fx.Reset()
	if err := lac.Receive(0, d, &fx); err != nil || len(fx.Events) != 1 {
		t.Fatalf("%v, %d events", err, len(fx.Events))
	}
	if e := fx.Events[0]; e.Kind != EventDown || e.Local || e.Result != (Result{Code: 2, Error: 7}) {
		t.Errorf("%+v", e)
	}
	if lac.PeerID() != 5 {
		t.Errorf("peer id %d", lac.PeerID())
	}
}

// TestTunnelSmall keeps an eye on what tens of thousands of idle tunnels cost.
func TestTunnelSmall(t *testing.T) {
	if size := unsafe.Sizeof(Tunnel{}); size > 400 {
		t.Errorf("a Tunnel has %d octets", size)
	}
	tun := tunnelIn(t, TunnelEstablished, RoleLNS)
	if tun.hand != nil || cap(tun.ctl.buf) > keepBytes || cap(tun.ctl.queue) > keepItems || tun.ctl.early != nil {
		t.Errorf("an established tunnel keeps what it does not need: %+v", tun)
	}
}
