package l2tp

import (
	"testing"
)

// benchICRQ and benchICCN are what a wholesale LAC sends.
func benchICRQ() *Message {
	m := &Message{
		Type: MessageICRQ, AssignedSessionID: 7, CallSerial: 9, BearerType: BearerDigital,
		CalledNumber: []byte("isp.example"), CallingNumber: []byte("DEU.QSC.0123456789"), PhysicalChannel: 5,
		Line: &AccessLine{AgentCircuitID: []byte("dslam7 eth 1/2/3:4"), AgentRemoteID: []byte("DEU.QSC.0123456789")},
	}
	m.Set(AVPAssignedSessionID, AVPCallSerial, AVPBearerType, AVPCalledNumber, AVPCallingNumber, AVPPhysicalChannel)
	m.Line.Set(LineAgentCircuitID, LineAgentRemoteID)
	m.Line.SetRate(LineActualUp, 40e6)
	m.Line.SetRate(LineActualDown, 250e6)
	return m
}

func benchICCN() *Message {
	m := &Message{
		Type: MessageICCN, TxSpeed: 250e6, RxSpeed: 40e6, FramingType: FramingSync,
		InitialLCP:  []byte{1, 4, 5, 0xd4, 5, 6, 1, 2, 3, 4},
		LastSentLCP: []byte{1, 4, 5, 0xd4, 3, 5, 0xc2, 0x23, 5, 5, 6, 4, 3, 2, 1}, LastReceivedLCP: []byte{1, 4, 5, 0xd4, 5, 6, 1, 2, 3, 4},
		ProxyAuthType: ProxyAuthCHAP, ProxyAuthName: []byte("user0123456789@isp.example"), ProxyAuthID: 1,
		ProxyAuthChallenge: []byte("0123456789abcdef"), ProxyAuthResponse: []byte("0123456789abcdef"),
	}
	m.Set(AVPTxSpeed, AVPRxSpeed, AVPFramingType, AVPInitialLCP, AVPLastSentLCP, AVPLastReceivedLCP,
		AVPProxyAuthType, AVPProxyAuthName, AVPProxyAuthID, AVPProxyAuthChallenge, AVPProxyAuthResponse)
	return m
}

func benchmarkParse(b *testing.B, m *Message) {
	body := m.Append(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := ParseMessage(body, nil, m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseICRQ(b *testing.B) { benchmarkParse(b, benchICRQ()) }
func BenchmarkParseICCN(b *testing.B) { benchmarkParse(b, benchICCN()) }

func BenchmarkParseHidden(b *testing.B) {
	secret := []byte("swordfish")
	body := benchICCN().AppendHidden(nil, secret, []byte("0123456789abcdef"))
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if err := ParseMessage(body, secret, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkAppend(b *testing.B, m *Message) {
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = m.Append(buf[:0])
	}
}

func BenchmarkAppendICRQ(b *testing.B) { benchmarkAppend(b, benchICRQ()) }
func BenchmarkAppendICCN(b *testing.B) { benchmarkAppend(b, benchICCN()) }

// BenchmarkControl sends a message and has it acknowledged.
func BenchmarkControl(b *testing.B) {
	c := NewControl(&ControlConfig{})
	c.SetPeer(9, 128)
	body := make([]byte, 40)
	var fx Effects
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Send(0, 7, body, &fx); err != nil {
			b.Fatal(err)
		}
		c.Receive(0, ControlHeader(1, 0, 0, c.Ns()), nil, &fx)
		fx.Reset()
	}
}

// bench runs calls through a LAC's and an LNS's tunnel and Calls.
type bench struct {
	ends  [2]*Tunnel
	fx    [2]Effects
	call  CallEffects
	calls [2]Call
	dials [2]Message
	up    int
}

func newBench(t testing.TB) *bench {
	lac, lns := testConfig("lac", "", 1), testConfig("lns", "", 2)
	b := &bench{ends: [2]*Tunnel{NewTunnel(RoleLAC, 11, lac), NewTunnel(RoleLNS, 22, lns)}}
	b.dials[0], b.dials[1] = *benchICRQ(), *benchICCN()
	b.ends[0].Open(0, &b.fx[0])
	b.run(t)
	return b
}

// run carries packets to and fro until both ends are quiet.
func (b *bench) run(t testing.TB) {
	for len(b.fx[0].Packets)+len(b.fx[1].Packets) > 0 {
		for end := range 2 {
			from, to := &b.fx[end], &b.fx[1-end]
			for _, p := range from.Packets {
				if err := b.ends[1-end].Receive(0, p, to); err != nil {
					t.Fatal(err)
				}
				b.events(1-end, to)
			}
			from.Reset()
		}
	}
}

func (b *bench) events(end int, fx *Effects) {
	for i := range fx.Events {
		e := &fx.Events[i]
		if e.Kind != EventMessage {
			continue
		}
		var answer *Message
		if e.Message.Type == MessageICRP {
			answer = &b.dials[1]
		}
		c := &b.calls[end]
		c.Receive(&e.Message, answer, &b.call)
		if b.call.Send != nil {
			_ = b.ends[end].Send(0, b.call.Send, c.PeerID(), fx)
		}
		if b.call.Up {
			b.up++
		}
	}
	fx.Events = fx.Events[:0]
}

func (b *bench) dial(t testing.TB) {
	b.calls = [2]Call{NewCall(RoleLAC, 3), NewCall(RoleLNS, 4)}
	b.calls[0].Dial(&b.dials[0], &b.call)
	_ = b.ends[0].Send(0, b.call.Send, 0, &b.fx[0])
	b.run(t)
	for _, tun := range b.ends {
		tun.ctl.heard = 0
	}
}

// BenchmarkCall sets a call up, both ends: three messages parsed, built, sent,
// acknowledged, and two Calls.
func BenchmarkCall(b *testing.B) {
	w := newBench(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		w.dial(b)
		n++
	}
	if w.up != 2*n {
		b.Fatalf("%d ends up after %d calls", w.up, n)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "calls/s")
}

// TestCallAllocates nothing in either end once buffers have grown.
func TestCallAllocates(t *testing.T) {
	w := newBench(t)
	for range 1000 {
		w.dial(t)
	}
	if n := testing.AllocsPerRun(1000, func() { w.dial(t) }); n > 0 {
		t.Errorf("a call set up between both ends allocates %v times", n)
	}
}

// BenchmarkTunnel makes a tunnel and sets it up, both ends.
func BenchmarkTunnel(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if w := newBench(b); w.ends[1].State() != TunnelEstablished {
			b.Fatal(w.ends[1].State())
		}
	}
}

// BenchmarkClone copies an ICCN, as for another shard.
func BenchmarkClone(b *testing.B) {
	m, c := benchICCN(), new(Message)
	b.ReportAllocs()
	for b.Loop() {
		m.CloneTo(c)
	}
}
