package lac_test

import (
	"net/netip"
	"testing"
	"time"

	"culvert/lac"
	"culvert/proto/l2tp"
)

// answerer is an Engine that LNSs ask for calls, and asker an LNS that does so, in one.
type answerer struct {
	t      *testing.T
	now    time.Duration
	engine *lac.Engine
	out    [][]byte
	// What the Engine has told.
	tunnels []*lac.Tunnel
	ups     []*lac.Call
	downs   []lac.End
	frames  []string
	asked   []string // called numbers
	refuse  *l2tp.Result

	lns    *l2tp.Tunnel
	fx     l2tp.Effects
	calls  map[uint16]*l2tp.Call
	lnsUp  bool
	lnsFx  l2tp.CallEffects
	up     map[uint16]bool
	result map[uint16]l2tp.Result
	data   []l2tp.Header
}

func (a *answerer) Reserve() []byte                                { return make([]byte, 0, 2048) }
func (a *answerer) Queue(_ uint16, _ netip.AddrPort, b []byte)     { a.out = append(a.out, b) }
func (a *answerer) TunnelUp(_ time.Duration, t *lac.Tunnel)        { a.tunnels = append(a.tunnels, t) }
func (a *answerer) TunnelDown(time.Duration, *lac.Tunnel, lac.End) {}
func (a *answerer) TunnelClosed(time.Duration, *lac.Tunnel, bool)  {}
func (a *answerer) Connect(time.Duration, *lac.Call, *l2tp.Message, *l2tp.Message) {
	a.t.Error("an outgoing call was connected like an incoming one")
}
func (a *answerer) CallUp(_ time.Duration, c *lac.Call) { a.ups = append(a.ups, c) }
func (a *answerer) CallDown(_ time.Duration, _ *lac.Call, e lac.End) {
	a.downs = append(a.downs, e)
}
func (a *answerer) Frame(_ time.Duration, _ *lac.Call, f []byte) {
	a.frames = append(a.frames, string(f))
}

func (a *answerer) Asked(_ time.Duration, t *lac.Tunnel, m *l2tp.Message) (*lac.Call, l2tp.Result) {
	a.asked = append(a.asked, string(m.CalledNumber))
	if a.refuse != nil {
		return nil, *a.refuse
	}
	return &lac.Call{User: string(m.CalledNumber)}, l2tp.Result{}
}

// plain hides that the answerer is one.
type plain struct{ lac.Handler }

func newAnswerer(t *testing.T, answers bool) *answerer {
	a := &answerer{t: t, calls: map[uint16]*l2tp.Call{}, up: map[uint16]bool{}, result: map[uint16]l2tp.Result{}}
	var h lac.Handler = a
	if !answers {
		h = plain{a}
	}
	a.engine = lac.New(0, a, h)
	a.engine.Serve(&l2tp.TunnelConfig{HostName: "lac", Secret: []byte("s"), Rand: zeros{}})
	a.lns = l2tp.NewTunnel(l2tp.RoleLAC, 40, &l2tp.TunnelConfig{HostName: "lns", Secret: []byte("s"), Rand: zeros{}})
	a.lns.Open(0, &a.fx)
	a.run(time.Second)
	if !a.lnsUp || len(a.tunnels) != 1 || a.tunnels[0].Opened() || a.tunnels[0].PeerName() != "lns" {
		t.Fatalf("the tunnel of the LNS is not up: %v, %v", a.lnsUp, a.tunnels)
	}
	return a
}

// run lets time pass.
func (a *answerer) run(d time.Duration) {
	for end := a.now + d; a.now < end; a.now += 10 * time.Millisecond {
		a.engine.Advance(a.now)
		if a.lns.Deadline() <= a.now {
			a.lns.Tick(a.now, &a.fx)
		}
		for i := 0; i < len(a.fx.Events); i++ {
			a.event(&a.fx.Events[i])
		}
		toLAC := a.fx.Packets
		a.fx = l2tp.Effects{}
		for _, b := range toLAC {
			a.engine.Receive(a.now, 3, lnsAddr, b)
		}
		out := a.out
		a.out = nil
		for _, b := range out {
			if h, _, err := l2tp.ParseHeader(b); err == nil && !h.Control {
				a.data = append(a.data, h)
				continue
			}
			_ = a.lns.Receive(a.now, b, &a.fx)
		}
	}
}

// event is the LNS's side.
func (a *answerer) event(e *l2tp.Event) {
	a.lnsUp = a.lnsUp || e.Kind == l2tp.EventUp
	c := a.calls[e.SessionID]
	if e.Kind != l2tp.EventMessage || c == nil {
		return
	}
	c.Receive(&e.Message, nil, &a.lnsFx)
	if a.lnsFx.Up {
		a.up[e.SessionID] = true
	}
	if a.lnsFx.Down {
		a.result[e.SessionID] = a.lnsFx.Result
	}
}

// ask asks for a call.
func (a *answerer) ask(id uint16, number string) {
	c := l2tp.NewOutCall(l2tp.RoleLNS, id)
	a.calls[id] = &c
	m := &l2tp.Message{CallSerial: uint32(id), MaximumBPS: 64000, BearerType: 3, FramingType: 3, CalledNumber: []byte(number)}
	m.Set(l2tp.AVPCallSerial, l2tp.AVPMinimumBPS, l2tp.AVPMaximumBPS, l2tp.AVPBearerType, l2tp.AVPFramingType, l2tp.AVPCalledNumber)
	c.Dial(m, &a.lnsFx)
	if err := a.lns.Send(a.now, a.lnsFx.Send, 0, &a.fx); err != nil {
		a.t.Fatal(err)
	}
}

// The LAC answers an LNS that opens a tunnel, calls whom it names, and carries the call.
func TestAnswer(t *testing.T) {
	a := newAnswerer(t, true)
	tunnel := a.tunnels[0]
	a.ask(7, "0815")
	a.run(time.Second)
	if len(a.asked) != 1 || a.asked[0] != "0815" || a.calls[7].State() != l2tp.CallWaitConnect || tunnel.Calls() != 1 || len(a.ups) != 0 {
		t.Fatalf("asked %v, the LNS's call is %v, %d calls, %d up", a.asked, a.calls[7].State(), tunnel.Calls(), len(a.ups))
	}
	call := a.callOf(tunnel)
	if call.User != "0815" || !call.Outgoing() || call.Established() || call.PeerID() != 7 {
		t.Errorf("the call is %+v", call)
	}
	a.engine.Send(call, []byte{0xff, 3, 0xc0, 0x21})
	occn := &l2tp.Message{TxSpeed: 64000, FramingType: l2tp.FramingSync, SequencingRequired: true}
	occn.Set(l2tp.AVPTxSpeed, l2tp.AVPFramingType, l2tp.AVPSequencingRequired)
	a.engine.Answer(a.now, call, occn)
	a.engine.Answer(a.now, call, occn) // once only
	a.run(time.Second)
	if !a.up[7] || len(a.ups) != 1 || a.ups[0] != call || !call.Established() || len(a.data) != 0 {
		t.Fatalf("up at the LNS %v, at the LAC %d; %d data messages before", a.up[7], len(a.ups), len(a.data))
	}
	a.engine.Send(call, []byte{0xff, 3, 0xc0, 0x21})
	b := append([]byte{0, 2, 0, byte(tunnel.ID()), 0, byte(call.ID())}, "frame"...)
	a.engine.Receive(a.now, 3, lnsAddr, b)
	a.run(10 * time.Millisecond)
	if len(a.data) != 1 || !a.data[0].HasSequence || a.data[0].SessionID != 7 || len(a.frames) != 1 || a.frames[0] != "frame" {
		t.Errorf("data %+v, frames %q", a.data, a.frames)
	}
	a.engine.Hangup(a.now, call, l2tp.Result{Code: l2tp.CDNLostCarrier})
	a.run(time.Second)
	if a.result[7].Code != l2tp.CDNLostCarrier || len(a.downs) != 1 || !a.downs[0].Local || tunnel.Calls() != 0 {
		t.Errorf("the LNS was told %v, downs %+v", a.result[7], a.downs)
	}
	a.lns.Stop(a.now, l2tp.Result{Code: l2tp.StopShutdown}, &a.fx)
	a.run(2 * time.Minute)
	if a.engine.Tunnels() != 0 || a.engine.Wheel().Len() != 0 {
		t.Errorf("%d tunnels and %d timers are left", a.engine.Tunnels(), a.engine.Wheel().Len())
	}
}

// callOf is the only call of a tunnel.
func (a *answerer) callOf(tunnel *lac.Tunnel) *lac.Call {
	a.t.Helper()
	for id := uint16(1); id < 10; id++ {
		if c := lac.CallByID(tunnel, id); c != nil {
			return c
		}
	}
	a.t.Fatal("there is no call")
	return nil
}

// A call that is refused, fails or is given up leaves nothing behind.
func TestAnswerNot(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers bool
		refuse  *l2tp.Result
		then    func(*answerer)
		lns     l2tp.ResultCode // what the LNS is told; 0 for nothing
		downs   int
	}{
		{"no answerer", false, nil, nil, l2tp.CDNNoFacilitiesEnd, 0},
		{"refused", true, &l2tp.Result{Code: l2tp.CDNInvalidDest}, nil, l2tp.CDNInvalidDest, 0},
		{"busy", true, nil, func(a *answerer) {
			a.engine.Hangup(a.now, a.callOf(a.tunnels[0]), l2tp.Result{Code: l2tp.CDNBusy})
		}, l2tp.CDNBusy, 1},
		{"the LNS gives up", true, nil, func(a *answerer) {
			x := a.calls[7]
			x.Close(l2tp.Result{Code: l2tp.CDNAdministrative}, nil, &a.lnsFx)
			_ = a.lns.Send(a.now, a.lnsFx.Send, x.PeerID(), &a.fx)
		}, 0, 1},
		{"the tunnel ends", true, nil, func(a *answerer) {
			a.lns.Stop(a.now, l2tp.Result{Code: l2tp.StopShutdown}, &a.fx)
		}, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAnswerer(t, c.answers)
			a.refuse = c.refuse
			a.ask(7, "0815")
			a.run(time.Second)
			if c.then != nil {
				c.then(a)
				a.run(time.Second)
			}
			if a.result[7].Code != c.lns || len(a.downs) != c.downs || a.tunnels[0].Calls() != 0 || len(a.ups) != 0 {
				t.Errorf("the LNS was told %v; downs %+v, %d calls, %d up", a.result[7], a.downs, a.tunnels[0].Calls(), len(a.ups))
			}
		})
	}
}

// Who serves nobody answers nobody, and rubbish makes no tunnel.
func TestServe(t *testing.T) {
	a := newAnswerer(t, true)
	before := a.engine.Tunnels()
	for _, b := range [][]byte{
		{0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0},
		append([]byte{0xc8, 2, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0}, 0x80, 8, 0, 0, 0, 0, 0, 1),
		append([]byte{0xc8, 2, 0, 20, 0, 0, 0, 0, 0, 5, 0, 0}, 0x80, 8, 0, 0, 0, 0, 0, 1),
	} {
		a.engine.Receive(a.now, 3, netip.MustParseAddrPort("192.0.2.9:1701"), b)
	}
	a.run(2 * time.Minute)
	if a.engine.Tunnels() != before {
		t.Errorf("%d tunnels of nothing", a.engine.Tunnels()-before)
	}
	a.engine.Serve(nil)
	was := a.engine.Stats().NoTunnel
	other := l2tp.NewTunnel(l2tp.RoleLAC, 41, &l2tp.TunnelConfig{HostName: "lns2", Rand: zeros{}})
	var fx l2tp.Effects
	other.Open(a.now, &fx)
	a.engine.Receive(a.now, 3, netip.MustParseAddrPort("192.0.2.9:1701"), fx.Packets[0])
	if a.engine.Tunnels() != before || a.engine.Stats().NoTunnel != was+1 {
		t.Errorf("%d tunnels, %d dropped", a.engine.Tunnels(), a.engine.Stats().NoTunnel-was)
	}
}

// FuzzAnswer gives an Engine that serves LNSs any datagrams of one. It must not panic, and nothing may
// be left of tunnels and calls when all is stopped and time has passed.
func FuzzAnswer(f *testing.F) {
	var fx l2tp.Effects
	l2tp.NewTunnel(l2tp.RoleLAC, 40, &l2tp.TunnelConfig{HostName: "lns", Rand: zeros{}}).Open(0, &fx)
	frame := func(b []byte) []byte { return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...) }
	message := func(m l2tp.Message, ns uint16, set ...l2tp.AVP) []byte {
		m.Set(set...)
		b := m.Append(l2tp.ControlHeader(1, 0, ns, 1).Append(nil))
		l2tp.PutLength(b)
		return frame(b)
	}
	open := append(frame(fx.Packets[0]), message(l2tp.Message{Type: l2tp.MessageSCCCN}, 1)...)
	asked := append(open, message(l2tp.Message{Type: l2tp.MessageOCRQ, AssignedSessionID: 7, CalledNumber: []byte("1")}, 2, l2tp.AVPAssignedSessionID, l2tp.AVPCalledNumber)...)
	f.Add(frame(fx.Packets[0]))
	f.Add(open)
	f.Add(asked)
	f.Add(append(asked, message(l2tp.Message{Type: l2tp.MessageCSURQ, SpeedUpdates: []l2tp.SpeedUpdate{{SessionID: 1}}}, 3)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := &answerer{t: t}
		a.engine = lac.New(0, a, a)
		a.engine.Serve(&l2tp.TunnelConfig{HostName: "lac", Rand: zeros{}})
		for len(b) >= 2 {
			size := min(int(b[0])<<8|int(b[1]), len(b)-2)
			a.engine.Receive(a.now, 3, lnsAddr, b[2:2+size])
			b = b[2+size:]
			a.now += time.Millisecond
			a.engine.Advance(a.now)
			for _, tunnel := range a.tunnels {
				for id := uint16(1); id < 4; id++ {
					if c := lac.CallByID(tunnel, id); c != nil {
						a.engine.Answer(a.now, c, nil)
						a.engine.Send(c, []byte{0xff, 3, 0xc0, 0x21})
					}
				}
			}
		}
		for _, tunnel := range a.tunnels {
			a.engine.Stop(a.now, tunnel, l2tp.Result{Code: l2tp.StopShutdown})
		}
		for i := 0; i < 1000 && a.engine.Wheel().Len() > 0; i++ {
			a.now = a.engine.Next()
			a.engine.Advance(a.now)
		}
		if a.engine.Tunnels() != 0 || len(a.downs) != len(a.asked) {
			t.Fatalf("%d tunnels are left; %d calls asked for, %d down", a.engine.Tunnels(), len(a.asked), len(a.downs))
		}
	})
}
