package lns

import (
	"net/netip"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/proto/l2tp"
)

// A call that comes together with its tunnel's StopCCN, and is refused, leaves nothing in the journal.
func TestRefusedCallOfAStoppedTunnel(t *testing.T) {
	r := newRig(t, nil)
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	r.srv.Drain(true)
	lost := 0
	r.lose = func(toLNS bool, b []byte) bool {
		h, payload, err := l2tp.ParseHeader(b)
		if err == nil && toLNS && h.Control && controlType(payload) == "ICRQ" && lost == 0 {
			lost++
			return true
		}
		return false
	}
	l.dial("alice", nil)
	l.t.Stop(r.clock.now, l2tp.Result{Code: l2tp.StopShutdown}, &l.fx)
	r.run(time.Minute)
	if lost != 1 || len(r.journal.calls) != 0 || len(r.journal.tunnels) != 0 {
		t.Errorf("%d ICRQs were lost; the journal has the calls %v and the tunnels %v", lost, r.journal.calls, r.journal.tunnels)
	}
	r.checkEmpty()
}

// A call that fails leaves nothing behind, is not accounted, and the LAC and the subscriber are told why.
func TestCallFailures(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(*rig)
		cause Cause
		cdn   l2tp.Result
	}{
		{"rejected", func(r *rig) {
			r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return nil, &aaa.RejectError{Message: "go away"} }
		}, CauseAuthRejected, l2tp.Result{Code: 3}},
		{"AAA away", func(r *rig) {
			r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return nil, aaa.ErrUnavailable }
		}, CauseAuthUnavailable, l2tp.Result{Code: 2, Error: 7}},
		{"pool full", func(r *rig) { r.aaa.full = true }, CauseNoAddress, l2tp.Result{Code: 2, Error: 7}},
		{"address of another", func(r *rig) {
			a := netip.MustParseAddr("100.64.9.9")
			r.aaa.held[a] = heldAddress{"bob", 999}
			r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return &aaa.Grant{Address: a}, nil }
		}, CauseAddressInUse, l2tp.Result{Code: 3}},
		// Here the subscriber is the first to lose patience.
		{"AAA never answers", func(r *rig) { r.aaa.hold = true }, CauseUserRequest, l2tp.Result{Code: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			c.setup(r)
			l := r.lac(1, "tunnel secret")
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			call := l.dial("alice", nil)
			r.until(2*time.Minute, "failed", func() bool { return call.cdn != nil })
			if call.up || call.cdn.Code != c.cdn.Code || call.cdn.Error != c.cdn.Error {
				t.Errorf("up %v, CDN %v, want %v", call.up, call.cdn, c.cdn)
			}
			if n := r.stats().Downs[c.cause.String()]; n != 1 {
				t.Errorf("causes %v, want %v", r.stats().Downs, c.cause)
			}
			delete(r.aaa.held, netip.MustParseAddr("100.64.9.9"))
			r.aaa.hold = false
			r.onShards(func(sh *shard) { sh.shutdown() })
			r.run(time.Minute)
			r.checkEmpty()
			r.checkAccounting(0)
		})
	}
}

func TestTunnelAdmission(t *testing.T) {
	r := newRig(t, nil)
	wrong := r.lac(1, "not the secret")
	unknown := r.lac(2, "tunnel secret")
	delete(r.lacs, unknown.address)
	unknown.address = netip.MustParseAddrPort("203.0.113.77:1701")
	r.lacs[unknown.address] = unknown
	none := r.lac(3, "")
	good := r.lac(4, "tunnel secret")
	r.run(3 * time.Second)
	if !good.up {
		t.Error("the good LAC is not up")
	}
	for name, l := range map[string]*rigLAC{"wrong secret": wrong, "unknown": unknown, "no secret": none} {
		if l.down == nil {
			t.Errorf("%s: the tunnel did not end", name)
		}
	}
	if unknown.down.Result.Code != l2tp.StopNotAuthorized {
		t.Errorf("an unknown LAC was told %v", unknown.down.Result)
	}
	if d := r.stats().Dropped["unknown-lac"]; d == 0 {
		t.Error("the unknown LAC was not counted")
	}
	r.onShards(func(sh *shard) { sh.shutdown() })
	r.run(2 * time.Minute)
	r.checkEmpty()
}

func TestDrainRefusesCallsAndKeepsSessions(t *testing.T) {
	r, l, c := oneUp(t, nil)
	r.srv.Drain(true)
	second := l.dial("bob", nil)
	late := r.lac(2, "tunnel secret")
	r.run(2 * time.Second)
	if second.cdn == nil || second.cdn.Code != 2 || second.cdn.Error != 7 {
		t.Errorf("a call on a draining LNS got %v, want 2/7", second.cdn)
	}
	if late.down == nil || late.down.Result.Error != l2tp.ErrorTryAnother {
		t.Errorf("a tunnel on a draining LNS got %+v, want try another", late.down)
	}
	if c.closed || r.session("alice") == nil {
		t.Error("drain ended a session")
	}
	r.srv.Drain(false)
	third := l.dial("carol", nil)
	r.until(5*time.Second, "up after undrain", func() bool { return third.up })
}

func TestLimits(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSessions = 1; c.LACs[0].BusyResult = 4 })
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	first := l.dial("alice", nil)
	r.until(5*time.Second, "up", func() bool { return first.up })
	second := l.dial("bob", nil)
	r.run(2 * time.Second)
	if second.cdn == nil || second.cdn.Code != 4 {
		t.Errorf("a call beyond the bound got %v, want the profile's 4", second.cdn)
	}
	first.hangUp()
	r.run(time.Second)
	third := l.dial("bob", nil)
	r.until(5*time.Second, "up", func() bool { return third.up })
}

func TestDuplicateAndReusedICRQ(t *testing.T) {
	r, l, c := oneUp(t, nil)
	// The same call once more, in a new message: ignored.
	again := &l2tp.Message{Type: l2tp.MessageICRQ, AssignedSessionID: 1, CallSerial: 1}
	again.Set(l2tp.AVPAssignedSessionID, l2tp.AVPCallSerial)
	l.t.Send(r.clock.now, again, 0, &l.fx)
	r.run(time.Second)
	if _, n, _ := r.counts(); n != 1 || c.closed {
		t.Errorf("%d sessions after a duplicate ICRQ", n)
	}
	if r.stats().Dropped["duplicate-icrq"] != 1 {
		t.Errorf("dropped: %v", r.stats().Dropped)
	}
	// Another call under the same id: the LAC has forgotten the first.
	again.CallSerial = 2
	l.t.Send(r.clock.now, again, 0, &l.fx)
	r.run(time.Second)
	if r.stats().Downs["replaced"] != 1 {
		t.Errorf("causes %v", r.stats().Downs)
	}
	r.onShards(func(sh *shard) { sh.shutdown() })
	r.run(2 * time.Minute)
	r.checkEmpty()
	r.checkAccounting(1)
}

func TestForeignAndSenselessDatagramsHarmNobody(t *testing.T) {
	r, l, c := oneUp(t, nil)
	s := r.session("alice")
	stop := &l2tp.Message{Type: l2tp.MessageStopCCN, AssignedTunnelID: l.t.LocalID(), Result: l2tp.Result{Code: 1}}
	stop.Set(l2tp.AVPAssignedTunnelID, l2tp.AVPResultCode)
	forged := l2tp.ControlHeader(l.t.PeerID(), 0, l.t.Ns(), l.t.Nr()).Append(nil)
	forged = stop.Append(forged)
	l2tp.PutLength(forged)
	evil := netip.MustParseAddrPort("198.51.100.66:1701")
	for _, d := range []struct {
		from netip.AddrPort
		b    []byte
	}{
		{evil, forged},
		{evil, append([]byte{0, 2, byte(s.key.Tunnel >> 8), byte(s.key.Tunnel), byte(s.key.Session >> 8), byte(s.key.Session)}, 0xff, 3, 0xc0, 0x21, 5, 9, 0, 4)},
		{l.address, []byte{0, 2, 0xff, 0xf0, 0, 9, 0xff, 3, 0xc0, 0x21, 9, 9, 0, 4}},
		{l.address, []byte{0xc8, 2, 0, 12, 0xff, 0xf0, 0, 0, 0, 0, 0, 0}},
		{l.address, []byte{0xc8, 2}},
		{l.address, []byte{0xc8, 3, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0}},
		{l.address, nil},
		{evil, []byte{0xc8, 2, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 8, 0, 0, 0, 0, 0, 1}},
	} {
		r.plane.Inject(0, d.from, d.b)
	}
	r.run(2 * time.Second)
	if c.closed || l.down != nil || r.session("alice") == nil {
		t.Fatal("a senseless datagram ended the session")
	}
	dropped := r.stats().Dropped
	for _, reason := range []string{"wrong-source", "no-tunnel", "no-session", "bad-sccrq"} {
		if dropped[reason] == 0 {
			t.Errorf("%s was not counted: %v", reason, dropped)
		}
	}
}
