package lns

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/proto/l2tp"
)

// lineUp makes a rig with one subscriber up whose LAC says what icrq and iccn add.
func lineUp(t *testing.T, change func(*Config), icrq, iccn func(*l2tp.Message)) (*rig, *rigLAC, *rigCall) {
	t.Helper()
	r := newRig(t, change)
	l := r.lac(1, "tunnel secret")
	if iccn != nil {
		l.connect = func(_ *rigCall, m *l2tp.Message) { iccn(m) }
	}
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.dial("alice", icrq)
	r.until(5*time.Second, "session up", func() bool { return c.up && r.session("alice").state == stateUp })
	r.run(wheelTick)
	r.srv.inline = r.onShards
	return r, l, c
}

// icrqLine is an ICRQ with access-line AVPs.
func icrqLine(m *l2tp.Message) {
	m.Line = &l2tp.AccessLine{AgentCircuitID: []byte("olt 7"), AgentRemoteID: []byte("DEU.QSC"), Encapsulation: [3]byte{1, 1, 0}, Type: 5}
	m.Line.Set(l2tp.LineAgentCircuitID, l2tp.LineAgentRemoteID, l2tp.LineAccessLoop, l2tp.LineType)
	m.Line.SetRate(l2tp.LineActualDown, 80_000_000)
	m.Line.SetRate(l2tp.LineActualUp, 10_000_000_000)
	m.Line.SetRate(l2tp.LineActualDelayDown, 8)
	m.SpeedUpdateEnable = true
	m.Set(l2tp.AVPSpeedUpdateEnable)
}

// What a LAC tells of the line goes into the Access-Request and the Start, and is shown.
func TestAccessLine(t *testing.T) {
	r, l, _ := lineUp(t, nil, icrqLine, func(m *l2tp.Message) {
		m.PrivateGroup = []byte("vrf-7")
		m.Set(l2tp.AVPPrivateGroup)
	})
	want := &aaa.Line{
		CircuitID: "olt 7", RemoteID: "DEU.QSC", Encapsulation: &[3]byte{1, 1, 0},
		Values: []aaa.LineValue{{Type: 129, Value: 10_000_000_000}, {Type: 130, Value: 80_000_000}, {Type: 142, Value: 8}, {Type: aaa.LineAccessType, Value: 5}},
	}
	for what, id := range map[string]aaa.Identity{"Access-Request": r.aaa.reqs[0].Identity, "Start": r.aaa.usages[0].Identity} {
		if !reflect.DeepEqual(id.Line, want) || id.PrivateGroup != "vrf-7" || id.NASPortID != "olt 7" {
			t.Errorf("%s: line %+v, group %q, port %q", what, id.Line, id.PrivateGroup, id.NASPortID)
		}
	}
	if i := r.srvSession("alice"); !reflect.DeepEqual(i.Line, want) || i.PrivateGroup != "vrf-7" {
		t.Errorf("shown are %+v and %q", i.Line, i.PrivateGroup)
	}
	r.run(11 * time.Minute)
	l.t.Stop(r.clock.now, l2tp.Result{Code: l2tp.StopShutdown}, &l.fx)
	r.run(time.Second)
	last := r.aaa.usages[len(r.aaa.usages)-1]
	if len(r.aaa.usages) != 3 || last.Kind != aaa.UsageStop || last.Identity.PrivateGroup != "vrf-7" {
		t.Errorf("%d records, the last %+v", len(r.aaa.usages), last)
	}
	var journaled aaa.Usage
	for _, e := range r.journal.entries {
		if u, err := aaa.ParseUsage(e.Payload); err != nil {
			t.Error(err)
		} else if u.Kind == aaa.UsageStart {
			journaled = u
		}
	}
	if !reflect.DeepEqual(journaled.Identity.Line, want) {
		t.Errorf("the journaled Start has the line %+v", journaled.Identity.Line)
	}
}

// A CSUN changes the session's speed, and accounting hears of it, but not more than once a minute.
func TestConnectSpeedUpdate(t *testing.T) {
	r, l, c := lineUp(t, nil, icrqLine, nil)
	tell := func(updates ...l2tp.SpeedUpdate) {
		m := &l2tp.Message{Type: l2tp.MessageCSUN, SpeedUpdates: updates}
		if err := l.t.Send(r.clock.now, m, 0, &l.fx); err != nil {
			t.Fatal(err)
		}
		r.run(time.Second)
	}
	before := r.session("alice").who
	id := c.call.PeerID()
	tell(l2tp.SpeedUpdate{SessionID: 999, Tx: 1, Rx: 1}, l2tp.SpeedUpdate{SessionID: id, Tx: 40_000_000, Rx: 5_000_000})
	if i := r.srvSession("alice"); i.ConnectInfo != "40000000/5000000" {
		t.Errorf("the session shows %s", i.ConnectInfo)
	}
	if before.ConnectInfo != "80000000/80000000" {
		t.Error("the identity that records share was changed")
	}
	if n := r.stats().Dropped["no-session"]; n != 1 {
		t.Errorf("%d dropped for want of a session", n)
	}
	if len(r.aaa.usages) != 1 {
		t.Errorf("an interim came %v after the Start", r.clock.now)
	}
	r.until(2*time.Minute, "accounting has heard", func() bool { return len(r.aaa.usages) == 2 })
	if u := r.aaa.usages[1]; u.Kind != aaa.UsageInterim || u.Identity.ConnectInfo != "40000000/5000000" || u.Duration < time.Minute || u.Duration > 2*time.Minute {
		t.Errorf("the record is %v of %s after %v", u.Kind, u.Identity.ConnectInfo, u.Duration)
	}
	for i := range uint32(10) {
		tell(l2tp.SpeedUpdate{SessionID: id, Tx: 30_000_000 + i, Rx: 5_000_000})
	}
	r.run(5 * time.Minute)
	if len(r.aaa.usages) != 3 {
		t.Errorf("%d records after a line flapped for ten seconds, want 3", len(r.aaa.usages))
	}
	tell(l2tp.SpeedUpdate{SessionID: id, Tx: 30_000_009, Rx: 5_000_000})
	r.run(2 * time.Minute)
	if len(r.aaa.usages) != 3 {
		t.Error("a speed that is the same made a record")
	}
	tell(l2tp.SpeedUpdate{SessionID: id, Tx: 7})
	if i := r.srvSession("alice"); i.ConnectInfo != "7/7" {
		t.Errorf("without a receive speed the session shows %s", i.ConnectInfo)
	}
}

func TestRequestSpeed(t *testing.T) {
	r, l, c := lineUp(t, nil, icrqLine, nil)
	id := r.session("alice").who.AcctSessionID
	var asked []l2tp.SpeedUpdate
	l.noticed = func(e *l2tp.Event) {
		if e.Kind == l2tp.EventMessage && e.Message.Type == l2tp.MessageCSURQ {
			if e.SessionID != 0 {
				t.Errorf("the CSURQ is for session %d", e.SessionID)
			}
			asked = append(asked, e.Message.SpeedUpdates...)
		}
	}
	if err := r.srv.RequestSpeed(id); err != nil {
		t.Fatal(err)
	}
	r.run(time.Second)
	if len(asked) != 1 || asked[0] != (l2tp.SpeedUpdate{SessionID: c.call.LocalID()}) {
		t.Errorf("the LAC was asked for %+v", asked)
	}
	if err := r.srv.RequestSpeed("x"); !errors.Is(err, ErrNoSession) {
		t.Error(err)
	}
	bob := l.dial("bob", nil)
	r.until(5*time.Second, "bob is up", func() bool { return bob.up })
	if err := r.srv.RequestSpeed(r.session("bob").who.AcctSessionID); !errors.Is(err, ErrNoSpeeds) {
		t.Error(err)
	}
}

// Set-Link-Info goes to LACs with asynchronous lines, with what LCP agreed on.
func TestSetLinkInfo(t *testing.T) {
	for _, c := range []struct {
		name    string
		framing uint32
		accm    []byte // of the proxied LCP both ways; none negotiates anew
		want    []l2tp.ACCM
	}{
		{"synchronous", l2tp.FramingSync, nil, nil},
		{"asynchronous", l2tp.FramingAsync, nil, []l2tp.ACCM{{Send: 0xffffffff, Receive: 0xffffffff}}},
		{"asynchronous with proxy LCP", l2tp.FramingAsync, []byte{2, 6, 0, 0x0a, 0, 0}, []l2tp.ACCM{{Send: 0x000a0000, Receive: 0x000a0000}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told []l2tp.ACCM
			r := newRig(t, nil)
			l := r.lac(1, "tunnel secret")
			l.noticed = func(e *l2tp.Event) {
				if e.Kind == l2tp.EventMessage && e.Message.Type == l2tp.MessageSLI {
					told = append(told, e.Message.ACCM)
				}
			}
			l.connect = func(_ *rigCall, m *l2tp.Message) {
				m.FramingType = c.framing
				if c.accm != nil {
					m.LastSentLCP = append([]byte{3, 5, 0xc2, 0x23, 5, 5, 6, 1, 2, 3, 4}, c.accm...)
					m.LastReceivedLCP = append([]byte{5, 6, 5, 6, 7, 8}, c.accm...)
					m.Set(l2tp.AVPLastSentLCP, l2tp.AVPLastReceivedLCP)
				}
			}
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			l.dial("alice", nil)
			r.run(5 * time.Second)
			if c.accm != nil && len(told) > 0 {
				told = told[:1] // this subscriber knows nothing of the proxied LCP and begins anew
			}
			if !reflect.DeepEqual(told, c.want) {
				t.Errorf("the LAC was told %+v, want %+v", told, c.want)
			}
		})
	}
}

// A renegotiated LCP is told anew.
func TestSetLinkInfoAgain(t *testing.T) {
	told := 0
	r, l, c := lineUp(t, nil, nil, func(m *l2tp.Message) { m.FramingType = l2tp.FramingAsync })
	l.noticed = func(e *l2tp.Event) {
		if e.Message.Type == l2tp.MessageSLI {
			told++
		}
	}
	c.lcpRequest()
	r.run(30 * time.Second)
	if told != 1 {
		t.Errorf("told %d times after a renegotiation", told)
	}
}

func TestWANErrorNotify(t *testing.T) {
	r, l, c := lineUp(t, nil, nil, nil)
	if i := r.srvSession("alice"); i.CallErrors != nil {
		t.Errorf("errors before any was told: %+v", i.CallErrors)
	}
	for n := range uint32(3) {
		m := &l2tp.Message{Type: l2tp.MessageWEN, Errors: l2tp.CallErrors{CRC: 10 * (n + 1), Framing: 2, HardwareOverruns: 3, BufferOverruns: 4, Timeouts: 5, Alignment: 6}}
		m.Set(l2tp.AVPCallErrors)
		if err := l.t.Send(r.clock.now, m, c.call.PeerID(), &l.fx); err != nil {
			t.Fatal(err)
		}
		r.run(time.Second)
	}
	want := l2tp.CallErrors{CRC: 30, Framing: 2, HardwareOverruns: 3, BufferOverruns: 4, Timeouts: 5, Alignment: 6}
	if i := r.srvSession("alice"); i.CallErrors == nil || *i.CallErrors != want {
		t.Errorf("shown are %+v", i.CallErrors)
	}
	if n := r.stats().LineErrors; n != 3 {
		t.Errorf("%d are counted", n)
	}
	if r.session("alice").state != stateUp {
		t.Error("the session is no longer up")
	}
}

// The Private Group ID names the pool where the profile says so and the grant does not.
func TestPoolByGroup(t *testing.T) {
	for _, c := range []struct {
		by          bool
		grant, want string
	}{{false, "", ""}, {true, "", "vrf-7"}, {true, "gold", "gold"}, {false, "gold", "gold"}} {
		var pool string
		r := newRig(t, func(cfg *Config) { cfg.LACs[0].PoolByGroup = c.by })
		r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return &aaa.Grant{Pool: c.grant}, nil }
		r.aaa.acquired = func(name string) { pool = name }
		l := r.lac(1, "tunnel secret")
		l.connect = func(_ *rigCall, m *l2tp.Message) {
			m.PrivateGroup = []byte("vrf-7")
			m.Set(l2tp.AVPPrivateGroup)
		}
		r.until(5*time.Second, "tunnel up", func() bool { return l.up })
		call := l.dial("alice", nil)
		r.until(5*time.Second, "session up", func() bool { return call.up })
		if pool != c.want {
			t.Errorf("%+v: the pool is %q", c, pool)
		}
	}
}
