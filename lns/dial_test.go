package lns

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lac/subscriber"
	"culvert/proto/l2tp"
)

// outRig is a rig whose LAC places the calls that the LNS asks for.
type outRig struct {
	*rig
	lac *rigLAC
	// refuse, where set, is the CDN that every OCRQ is answered by; ring leaves calls unanswered after
	// the OCRP, and mute answers nothing at all.
	refuse     *l2tp.Result
	ring, mute bool
	asked      []l2tp.Message // OCRQs
	calls      []*rigCall
	cdns       []l2tp.Message // of the LNS
}

var lacListens = netip.MustParseAddrPort("198.51.100.1:1701")

// newOutRig makes a rig with a LAC at lacListens: one that waits for tunnels, or one
// that has opened one itself.
func newOutRig(t *testing.T, opens bool, change func(*LACProfile)) *outRig {
	t.Helper()
	o := &outRig{rig: newRig(t, func(c *Config) {
		c.LACs[0].Address = lacListens
		if change != nil {
			change(&c.LACs[0])
		}
		if err := c.LACs[0].Validate(); err != nil {
			t.Fatal(err)
		}
	})}
	o.srv.inline = o.onShards
	if opens {
		o.lac = o.rig.lac(1, "tunnel secret")
		o.until(5*time.Second, "tunnel up", func() bool { return o.lac.up })
	} else {
		cfg := &l2tp.TunnelConfig{HostName: "lac", Secret: []byte("tunnel secret"), Rand: rand.NewChaCha8([32]byte{2})}
		o.lac = &rigLAC{host: o.rig, address: lacListens, calls: map[uint16]*rigCall{}, t: l2tp.NewTunnel(l2tp.RoleLNS, 77, cfg)}
		o.lacs[lacListens] = o.lac
	}
	o.lac.noticed = o.heard
	return o
}

// heard is the LAC's side of calls.
func (o *outRig) heard(e *l2tp.Event) {
	if e.Kind != l2tp.EventMessage {
		return
	}
	if e.Message.Type == l2tp.MessageCDN {
		o.cdns = append(o.cdns, e.Message.Clone())
		return
	}
	if e.Message.Type != l2tp.MessageOCRQ {
		return
	}
	o.asked = append(o.asked, e.Message.Clone())
	l := o.lac
	l.lastID++
	c := &rigCall{lac: l, call: l2tp.NewOutCall(l2tp.RoleLAC, l.lastID)}
	var fx l2tp.CallEffects
	switch {
	case o.mute:
		return
	case o.refuse != nil:
		c.call.Refuse(&e.Message, *o.refuse, &fx)
	default:
		c.call.Receive(&e.Message, nil, &fx)
		l.calls[l.lastID] = c
		l.order = append(l.order, c)
		o.calls = append(o.calls, c)
	}
	l.t.Send(o.clock.now, fx.Send, c.call.PeerID(), &l.fx)
	if !o.ring && o.refuse == nil {
		o.pickUp(c)
	}
}

// pickUp has the subscriber of a call answer.
func (o *outRig) pickUp(c *rigCall) {
	var fx l2tp.CallEffects
	occn := &l2tp.Message{TxSpeed: 64000, RxSpeed: 32000, FramingType: l2tp.FramingSync}
	occn.Set(l2tp.AVPTxSpeed, l2tp.AVPRxSpeed, l2tp.AVPFramingType)
	c.call.Answer(occn, &fx)
	o.lac.t.Send(o.clock.now, fx.Send, c.call.PeerID(), &o.lac.fx)
	var sfx subscriber.Effects
	c.client.Start(o.clock.now, &subscriberConfig, "alice", "secret", rand.New(rand.NewPCG(1, 7)), &sfx)
	c.effects(&sfx)
}

// place asks for a call and gives what has become of it at once, or after d.
func (o *outRig) place(c OutgoingCall, d time.Duration) (string, error) {
	o.t.Helper()
	p, err := o.srv.place(c)
	if err != nil {
		return "", err
	}
	for end := o.clock.now + d; ; {
		select {
		case r := <-p.done:
			return r.id, r.err
		default:
			if o.clock.now > end {
				o.t.Fatalf("nothing became of the call in %v", d)
			}
			o.run(wheelTick)
		}
	}
}

var aCall = OutgoingCall{LAC: "lac", Number: "02075550123", SubAddress: "7", MinimumBPS: 9600}

// An outgoing call through a tunnel that the LNS opens, or one that the LAC has opened, is a
// session like any other once the subscriber has answered.
func TestOutgoingCall(t *testing.T) {
	for _, opens := range []bool{false, true} {
		o := newOutRig(t, opens, nil)
		id, err := o.place(aCall, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		o.until(10*time.Second, "session up", func() bool { return o.session("alice") != nil && o.session("alice").state == stateUp })
		if len(o.asked) != 1 {
			t.Fatalf("%d OCRQs came", len(o.asked))
		}
		q := o.asked[0]
		if string(q.CalledNumber) != aCall.Number || string(q.SubAddress) != "7" || q.MinimumBPS != 9600 || q.MaximumBPS != 1<<32-1 ||
			q.BearerType != 3 || q.FramingType != 3 || q.CallSerial != 1 || q.AssignedSessionID == 0 {
			t.Errorf("the OCRQ is %+v", q)
		}
		i := o.srvSession("alice")
		if i.ID != id || !i.Outgoing || i.CalledStation != aCall.Number || i.ConnectInfo != "64000/32000" || i.PeerSession != o.calls[0].call.LocalID() || i.CallSerial != 1 {
			t.Errorf("the session shows %+v", i)
		}
		c := o.calls[0]
		c.ping(c.client.Address(), 100)
		o.run(time.Second)
		o.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), i.Address, 200))
		o.run(time.Second)
		if len(o.core) != 1 || len(c.packets) != 1 {
			t.Errorf("%d packets up, %d down", len(o.core), len(c.packets))
		}
		if tunnels, _, _ := o.counts(); tunnels != 1 {
			t.Errorf("there are %d tunnels", tunnels)
		}
		c.hangUp()
		o.until(5*time.Second, "the session is down", func() bool { return o.session("alice") == nil })
		o.onShards(func(sh *shard) { sh.shutdown() })
		o.run(time.Minute)
		o.checkEmpty()
		o.checkAccounting(1)
	}
}

// Calls that are asked for while their tunnel is being opened share it.
func TestOutgoingCallsShareATunnel(t *testing.T) {
	o := newOutRig(t, false, nil)
	o.ring = true
	var list []*placing
	for range 3 {
		p, err := o.srv.place(aCall)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	given, err := o.srv.place(aCall)
	if err != nil {
		t.Fatal(err)
	}
	given.givenUp.Store(true)
	o.run(5 * time.Second)
	for _, p := range list {
		if r := <-p.done; r.err != nil {
			t.Error(r.err)
		}
	}
	if tunnels, sessions, _ := o.counts(); tunnels != 1 || sessions != 3 || len(o.asked) != 3 {
		t.Errorf("%d tunnels, %d sessions, %d OCRQs", tunnels, sessions, len(o.asked))
	}
}

// However a call does not come about, nothing is left of it, and the LAC is told what it has to know.
func TestOutgoingCallFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*outRig)
		then   func(*outRig)
		wait   time.Duration
		cause  Cause
		cdn    bool // the LAC is told
	}{
		{"busy", func(o *outRig) { o.refuse = &l2tp.Result{Code: l2tp.CDNBusy} }, nil, time.Second, CauseLACDisconnect, false},
		{"nobody answers", func(o *outRig) { o.ring = true }, nil, 2 * time.Minute, CauseSetupTimeout, true},
		{"the LAC says nothing", func(o *outRig) { o.mute = true }, nil, 2 * time.Minute, CauseSetupTimeout, true},
		{"no carrier while it rings", func(o *outRig) { o.ring = true }, func(o *outRig) { o.calls[0].hangUp() }, time.Second, CauseLACCarrierLost, false},
		{"operator while it rings", func(o *outRig) { o.ring = true }, func(o *outRig) {
			if n, err := o.srv.Disconnect(Selector{Profile: "lac"}, aaa.CauseAdminReset, ""); n != 1 || err != nil {
				o.t.Error(n, err)
			}
		}, time.Second, CauseAdminReset, true},
		{"operator before the OCRP", func(o *outRig) { o.mute = true }, func(o *outRig) {
			if n, err := o.srv.Disconnect(Selector{Profile: "lac"}, aaa.CauseAdminReset, ""); n != 1 || err != nil {
				o.t.Error(n, err)
			}
		}, time.Second, CauseAdminReset, true},
		{"out of place", func(o *outRig) { o.ring = true }, func(o *outRig) {
			m := &l2tp.Message{Type: l2tp.MessageOCRP, AssignedSessionID: 9}
			m.Set(l2tp.AVPAssignedSessionID)
			o.lac.t.Send(o.clock.now, m, o.calls[0].call.PeerID(), &o.lac.fx)
		}, time.Second, CauseProtocolError, true},
		{"the tunnel ends", func(o *outRig) { o.ring = true }, func(o *outRig) {
			o.lac.t.Stop(o.clock.now, l2tp.Result{Code: l2tp.StopShutdown}, &o.lac.fx)
		}, time.Second, CauseTunnelDown, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOutRig(t, true, nil)
			c.change(o)
			if _, err := o.place(aCall, time.Second); err != nil {
				t.Fatal(err)
			}
			o.run(time.Second)
			if c.then != nil {
				c.then(o)
			}
			o.until(c.wait, "no session is left", func() bool { return o.srv.sessions.Load() == 0 })
			o.run(time.Second)
			if n := o.stats().Downs[c.cause.String()]; n != 1 {
				t.Errorf("causes %v, want %v", o.stats().Downs, c.cause)
			}
			if (len(o.cdns) == 1) != c.cdn || c.cdn && o.cdns[0].AssignedSessionID != o.asked[0].AssignedSessionID {
				t.Errorf("the LAC was told %+v", o.cdns)
			}
			o.onShards(func(sh *shard) { sh.shutdown() })
			o.run(2 * time.Minute)
			o.checkEmpty()
			o.checkAccounting(0)
		})
	}
}

func TestOutgoingCallNotPlaced(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*LACProfile)
		call   OutgoingCall
		before func(*outRig)
		is     error
		says   string
	}{
		{"unknown LAC", nil, OutgoingCall{LAC: "x", Number: "1"}, nil, ErrNoProfile, `"x"`},
		{"no address", func(p *LACProfile) { p.Address = netip.AddrPort{} }, aCall, nil, ErrNoWay, "set its address"},
		{"other family", func(p *LACProfile) { p.Address = netip.MustParseAddrPort("[2001:db8::7]:1701") }, aCall, nil, ErrNoWay, "families"},
		{"draining", nil, aCall, func(o *outRig) { o.srv.Drain(true) }, ErrCallRefused, "draining"},
		{"too many tunnels", func(p *LACProfile) { p.MaxTunnels = 1 }, aCall, func(o *outRig) {
			for _, p := range *o.srv.profiles.cur.Load() {
				p.use.tunnels.Store(1)
			}
		}, ErrCallRefused, "too many tunnels"},
		{"too many sessions", func(p *LACProfile) { p.MaxSessions = 1 }, aCall, func(o *outRig) {
			for _, p := range *o.srv.profiles.cur.Load() {
				p.use.sessions.Store(1)
			}
		}, ErrCallRefused, "too many sessions"},
		{"nobody there", nil, aCall, func(o *outRig) { delete(o.lacs, lacListens) }, ErrCallRefused, "did not come up"},
		{"wrong secret", func(p *LACProfile) { p.Secret = "another" }, aCall, nil, ErrCallRefused, "did not come up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOutRig(t, false, c.change)
			if c.before != nil {
				c.before(o)
			}
			_, err := o.place(c.call, 2*time.Minute)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v with %q", err, c.is, c.says)
			}
		})
	}
	// After a tunnel that did not come up, the next call opens another.
	o := newOutRig(t, false, nil)
	delete(o.lacs, lacListens)
	if _, err := o.place(aCall, 2*time.Minute); err == nil {
		t.Error("placed with nobody there")
	}
	o.run(2 * time.Minute)
	o.lacs[lacListens] = o.lac
	if _, err := o.place(aCall, 5*time.Second); err != nil {
		t.Error(err)
	}
}

func TestOutgoingCallIsChecked(t *testing.T) {
	for want, c := range map[string]OutgoingCall{
		"lac: name":             {Number: "1"},
		`number: "" is not`:     {LAC: "x"},
		`number: "1 2" is not`:  {LAC: "x", Number: "1 2"},
		`number: "1\x00" is no`: {LAC: "x", Number: "1\x00"},
		"number: \"111":         {LAC: "x", Number: strings.Repeat("1", 65)},
		`sub_address: "é" is`:   {LAC: "x", Number: "1", SubAddress: "é"},
		"minimum_bps: 3 is":     {LAC: "x", Number: "1", MinimumBPS: 3, MaximumBPS: 2},
	} {
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", c, err, want)
		}
	}
	for _, a := range []string{"198.51.100.7:0", "0.0.0.0:1701", "[ff02::1]:1701", "[fe80::1%eth0]:1701"} {
		p := testProfile("x", func(p *LACProfile) { p.Address = netip.MustParseAddrPort(a) })
		if err := p.Validate(); err == nil || !strings.HasPrefix(err.Error(), "address: ") {
			t.Errorf("%s: %v", a, err)
		}
	}
}

// Who gives up waiting for a tunnel has placed nothing.
func TestOutgoingCallGivenUp(t *testing.T) {
	o := newOutRig(t, false, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.srv.Call(ctx, aCall); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	o.run(5 * time.Second)
	if _, sessions, _ := o.counts(); sessions != 0 || len(o.asked) != 0 {
		t.Errorf("%d sessions, %d OCRQs", sessions, len(o.asked))
	}
}
