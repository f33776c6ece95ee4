package lns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// What the access node says of the line reaches AAA, however the LAC says it.
func TestQuirk10AccessLine(t *testing.T) {
	for name, c := range map[string]struct {
		iccn func(*l2tp.Message)
		info string
	}{
		"both speeds": {func(m *l2tp.Message) {
			m.TxSpeed, m.RxSpeed = 80_000_000, 20_000_000
			m.Set(l2tp.AVPTxSpeed, l2tp.AVPRxSpeed)
		}, "80000000/20000000"},
		"receive speed left out as it is the same": {func(m *l2tp.Message) {
			m.TxSpeed = 10_000_000
			m.Set(l2tp.AVPTxSpeed)
		}, "10000000/10000000"},
		"more than 32 bits hold": {func(m *l2tp.Message) {
			m.TxSpeed, m.RxSpeed = 10_000_000_000, 5_000_000_000
			m.Set(l2tp.AVPTxSpeed64, l2tp.AVPRxSpeed64)
		}, "10000000000/5000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			r, l, _ := tunnelUp(t, nil)
			l.connect = func(_ *rigCall, m *l2tp.Message) {
				m.Unset(l2tp.AVPTxSpeed, l2tp.AVPRxSpeed)
				c.iccn(m)
			}
			l.upCall(r, "alice", func(m *l2tp.Message) {
				m.Line = &l2tp.AccessLine{AgentCircuitID: []byte("DEU.QSC.0001/1/2:35")}
				m.Line.Set(l2tp.LineAgentCircuitID)
				m.Line.SetRate(l2tp.LineActualDown, 80_000_000)
			})
			who := r.aaa.reqs[0].Identity
			if who.Line == nil || who.Line.CircuitID != "DEU.QSC.0001/1/2:35" || !slices.Contains(who.Line.Values, aaa.LineValue{Type: 130, Value: 80_000_000}) {
				t.Errorf("AAA was told of the line: %+v", who.Line)
			}
			if who.NASPortID != "DEU.QSC.0001/1/2:35" || who.ConnectInfo != c.info {
				t.Errorf("AAA was told the line %q at %q, want %q", who.NASPortID, who.ConnectInfo, c.info)
			}
		})
	}
}

// Only what RFC 2661 cannot do without has to be there.
func TestQuirk12FewAVPs(t *testing.T) {
	r, l, w := tunnelUp(t, nil)
	r.mangle = func(b []byte) []byte {
		for _, a := range []l2tp.AVP{l2tp.AVPTxSpeed, l2tp.AVPRxSpeed} {
			b = without(l2tp.MessageICCN, a.Attribute())(b)
		}
		return without(l2tp.MessageICRQ, l2tp.AVPCallingNumber.Attribute())(b)
	}
	l.upCall(r, "", nil)
	had := map[l2tp.MessageType][]uint16{}
	for _, m := range w.toLNS {
		eachAVP(m.raw, func(a []byte) { had[m.m.Type] = append(had[m.m.Type], binary.BigEndian.Uint16(a[4:])) })
	}
	if icrq, iccn := had[l2tp.MessageICRQ], had[l2tp.MessageICCN]; !slices.Equal(icrq, []uint16{0, 14, 15}) || !slices.Equal(iccn, []uint16{0, 19}) {
		t.Errorf("the ICRQ had AVPs %v, the ICCN %v", icrq, iccn)
	}
	if who := r.aaa.reqs[0].Identity; who.User != "" || who.CallingStation != "" || who.ConnectInfo != "" {
		t.Errorf("AAA was told %+v", who)
	}
	// Some of the proxy AVPs are as good as none.
	l.connect = func(_ *rigCall, m *l2tp.Message) {
		m.LastSentLCP = []byte{1, 4, 5, 0xd4}
		m.InitialLCP = []byte{}
		m.Set(l2tp.AVPLastSentLCP, l2tp.AVPInitialLCP)
	}
	l.upCall(r, "bob", nil)
}

// The LAC's own negotiation may not be what it says it is. By default LCP is done anew; a
// profile may take it as it is, or never take any.
func TestQuirk13WrongProxyLCP(t *testing.T) {
	magic := []byte{5, 6, 1, 2, 3, 4}
	pap := []byte{3, 4, 0xc0, 0x23}
	good := slices.Concat([]byte{1, 4, 5, 0xd4}, pap, magic)
	for name, c := range map[string]struct {
		sent, received []byte
		again          bool // the subscriber sees LCP again
		tolerable      bool // accept lives with it
	}{
		"good":                          {good, []byte{1, 4, 5, 0xd4, 5, 6, 9, 9, 9, 9}, false, false},
		"an MRU larger than ours":       {slices.Concat([]byte{1, 4, 8, 0}, pap, magic), []byte{}, true, true},
		"no magic number":               {pap, []byte{}, false, false},
		"an ACCM":                       {slices.Concat(good, []byte{2, 6, 0, 0, 0, 0}), []byte{2, 6, 0, 10, 0, 0}, false, false},
		"cut off":                       {good[:7], []byte{}, true, false},
		"no authentication":             {magic, []byte{}, true, false},
		"only what was sent":            {good, nil, true, false},
		"the same magic number twice":   {good, magic, true, false},
		"it wants us to identify":       {good, pap, true, false},
		"an MRU that nobody can use":    {good, []byte{1, 4, 0, 20}, true, false},
		"quality reports are agreed on": {slices.Concat(good, []byte{4, 4, 0xc0, 0x25}), []byte{}, true, false},
	} {
		for policy, want := range map[string]struct{ again, refused bool }{
			"": {c.again, false}, "accept": {c.again && !c.tolerable, false}, "strict": {false, c.again}, "always": {true, false},
		} {
			t.Run(name+"/"+policy, func(t *testing.T) {
				r, l, w := tunnelUp(t, func(cfg *Config) { cfg.LACs[0].Proxy, cfg.LACs[0].Auth = policy, []string{"pap", "chap"} })
				l.connect = func(_ *rigCall, m *l2tp.Message) {
					m.LastSentLCP, m.LastReceivedLCP = c.sent, c.received
					m.Set(l2tp.AVPLastSentLCP)
					if c.received != nil {
						m.Set(l2tp.AVPLastReceivedLCP)
					}
				}
				requests, watch := 0, r.lose
				r.lose = func(toLNS bool, b []byte) bool {
					if !toLNS && b[0]&0x80 == 0 && bytes.HasPrefix(b[6:], []byte{0xff, 3, 0xc0, 0x21, 1}) {
						requests++
					}
					return watch(toLNS, b)
				}
				call := l.dial("alice", nil)
				r.run(300 * time.Millisecond) // before anything is sent again
				if again := requests > 0; again != want.again {
					t.Errorf("the subscriber saw %d LCP Configure-Requests", requests)
				}
				if want.refused {
					if cdn := w.told(l2tp.MessageCDN); len(cdn) != 1 || cdn[0].PPPDisconnect.Code != l2tp.DisconnectNoProxy {
						t.Errorf("the LAC was told %+v", cdn)
					}
					return
				}
				r.until(20*time.Second, "up", func() bool { return call.up })
			})
		}
	}
}

// A challenge that the subscriber has answered stands: its identifier and its octets
// go to AAA, and no second one confuses the subscriber.
func TestQuirk15ProxiedCHAP(t *testing.T) {
	r, l, seen := proxied(t, "on-mismatch", 1500, ppp.AuthCHAP, true)
	var verdict []byte
	count := r.lose
	r.lose = func(toLNS bool, b []byte) bool {
		if !toLNS && b[0]&0x80 == 0 && bytes.HasPrefix(b[6:], []byte{0xff, 3, 0xc2, 0x23}) {
			verdict = slices.Clone(b[10:])
		}
		return count(toLNS, b)
	}
	call := l.upCall(r, "alice", nil)
	req := r.aaa.reqs[0]
	if req.ID != lacID || !bytes.Equal(req.Challenge, lacChallenge[:]) {
		t.Errorf("AAA was asked with identifier %d and challenge %x", req.ID, req.Challenge)
	}
	if seen[ppp.ProtocolCHAP] != 1 || verdict[0] != byte(ppp.CHAPSuccess) || verdict[1] != lacID || seen[ppp.ProtocolLCP] != 0 {
		t.Errorf("the subscriber saw %v; the last of CHAP was % x", seen, verdict)
	}
	if !call.up {
		t.Error("the call is not up")
	}
	// Only where the profile says so is there a challenge of ours.
	r, l, seen = proxied(t, "always", 1500, ppp.AuthCHAP, true)
	l.upCall(r, "alice", nil)
	if req := r.aaa.reqs[0]; bytes.Equal(req.Challenge, lacChallenge[:]) || len(req.Challenge) == 0 || seen[ppp.ProtocolCHAP] < 3 {
		t.Errorf("AAA was asked with challenge %x, the subscriber saw %v", req.Challenge, seen)
	}
}

// PPP may come before the ICCN that it belongs to.
func TestQuirk17EarlyFrames(t *testing.T) {
	r, l, w := tunnelUp(t, nil)
	lost := 0
	w.drop = func(toLNS bool, _ l2tp.Header, typ l2tp.MessageType) bool {
		if toLNS && typ == l2tp.MessageICCN && lost == 0 {
			lost++
			return true
		}
		return false
	}
	l.early = true
	c := l.dial("alice", nil)
	r.run(100 * time.Millisecond)
	for range 20 { // a flood of them is not kept
		c.data([]byte{0xff, 3, 0xc0, 0x21, 9, 9, 0, 8, 1, 2, 3, 4})
	}
	r.run(100 * time.Millisecond)
	var s *session
	for _, sh := range r.srv.shards {
		for _, x := range sh.sessions {
			s = x
		}
	}
	if s == nil || s.state != stateDialling || len(s.setup.early) != maxEarly {
		t.Fatalf("the session is %+v", s)
	}
	if first := s.setup.early[0]; !bytes.Equal(first, []byte{0xff, 3, 0xc0, 0x21, 1, 9, 0, 4}) {
		t.Errorf("the first frame that is kept is % x", first)
	}
	acked := false
	w.drop = func(toLNS bool, h l2tp.Header, _ l2tp.MessageType) bool { return false }
	before := r.lose
	r.lose = func(toLNS bool, b []byte) bool {
		acked = acked || !toLNS && b[0]&0x80 == 0 && bytes.Contains(b, []byte{0xc0, 0x21, 2, 9, 0, 4})
		return before(toLNS, b)
	}
	r.until(10*time.Second, "up", func() bool { return c.up })
	if !acked {
		t.Error("the first Configure-Request was not answered")
	}
}

// A LAC gives up a call before it has the answer, and says its ICRQ again after its CDN.
func TestQuirk18CDNCrossesICRP(t *testing.T) {
	r, l, w := tunnelUp(t, nil)
	c := l.dial("alice", nil)
	cdn := &l2tp.Message{Type: l2tp.MessageCDN, AssignedSessionID: 1, Result: l2tp.Result{Code: l2tp.CDNLostCarrier}}
	cdn.Set(l2tp.AVPAssignedSessionID, l2tp.AVPResultCode)
	// The LAC does not know our id yet, so the header has 0: RFC 2661 lets its own id tell the call.
	l.t.Send(r.clock.now, cdn, 0, &l.fx)
	delete(l.calls, 1)
	_ = c
	r.run(time.Second)
	for _, s := range slices.Clone(w.toLNS) {
		if s.m.Type == l2tp.MessageICRQ {
			r.plane.Inject(0, l.address, s.raw)
			r.plane.Inject(0, l.address, s.raw)
		}
	}
	r.run(time.Second)
	if _, n, _ := r.counts(); n != 0 || l.down != nil {
		t.Errorf("%d sessions are left of a call that was given up; tunnel %+v", n, l.down)
	}
	if n := len(w.told(l2tp.MessageICRP)); n > 1 {
		t.Errorf("the call was answered %d times", n)
	}
	again := l.dialAs(1, 2, "alice", nil)
	r.until(10*time.Second, "up under the same id", func() bool { return again.up })
	if _, n, _ := r.counts(); n != 1 {
		t.Errorf("%d sessions", n)
	}
	// The LAC gives the id to another call, and the CDN of the one before was lost with its
	// memory: to the LAC the old call is gone, so it is here.
	other := l.dialAs(1, 3, "bob", nil)
	r.until(10*time.Second, "the other call up", func() bool { return other.up })
	if _, n, _ := r.counts(); n != 1 || r.session("alice") != nil || r.session("bob") == nil || r.stats().Downs[CauseReplaced.String()] != 1 {
		t.Errorf("%d sessions, causes %v", n, r.stats().Downs)
	}
}

// A result may lack its error code, come with any octets for a message, and with
// the PPP cause of RFC 3145; what is logged is one line that steers no terminal.
func TestQuirk20ResultCodes(t *testing.T) {
	for name, c := range map[string]struct {
		cdn   [][]byte
		cause Cause
	}{
		"no error code":     {[][]byte{avp(true, 0, 1, 0, 3)}, CauseLACDisconnect},
		"message not UTF-8": {[][]byte{avp(true, 0, 1, append([]byte{0, 1, 0, 0}, "\xff\xfe\x1b[2J\nbye"...)...)}, CauseLACCarrierLost},
		"RFC 3145":          {[][]byte{avp(true, 0, 1, 0, 1, 0, 0), avp(false, 0, 46, 0, 3, 0xc0, 0x21, 1, 'x')}, CauseLACCarrierLost},
		"no result at all":  {nil, CauseLACDisconnect},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			r, l, call := oneUp(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			log.Reset()
			body := slices.Concat(append([][]byte{avp(true, 0, 0, 0, 14), avp(true, 0, 14, 0, 1)}, c.cdn...)...)
			d := append(l2tp.ControlHeader(l.t.PeerID(), call.call.PeerID(), l.t.Ns(), l.t.Nr()).Append(nil), body...)
			l2tp.PutLength(d)
			r.plane.Inject(0, l.address, d)
			r.run(time.Second)
			if n := r.stats().Downs[c.cause.String()]; n != 1 || l.down != nil {
				t.Errorf("causes %v, want %v; tunnel %+v", r.stats().Downs, c.cause, l.down)
			}
			for _, line := range strings.Split(strings.TrimSpace(log.String()), "\n") {
				if !strings.HasPrefix(line, "time=") || strings.Contains(line, "\x1b") || strings.Contains(line, "\xff") {
					t.Errorf("the log has %q", line)
				}
			}
		})
	}
}

// Nor is a StopCCN refused for what it lacks, or for its words.
func TestQuirk20StopCCN(t *testing.T) {
	for name, result := range map[string][]byte{
		"no error code":     {0, 1},
		"message not UTF-8": append([]byte{0, 1, 0, 0}, "\xff\xfe\x1b[2J\nbye"...),
		"no result at all":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			r, l, _ := oneUp(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			log.Reset()
			body := slices.Concat(avp(true, 0, 0, 0, 4), avp(true, 0, 9, 0, byte(l.t.LocalID())))
			if result != nil {
				body = append(body, avp(true, 0, 1, result...)...)
			}
			d := append(l2tp.ControlHeader(l.t.PeerID(), 0, l.t.Ns(), l.t.Nr()).Append(nil), body...)
			l2tp.PutLength(d)
			r.plane.Inject(0, l.address, d)
			r.run(time.Second)
			if _, n, _ := r.counts(); n != 0 || r.stats().Downs[CauseTunnelDown.String()] != 1 {
				t.Errorf("%d sessions are left; causes %v", n, r.stats().Downs)
			}
			for _, line := range strings.Split(strings.TrimSpace(log.String()), "\n") {
				if !strings.HasPrefix(line, "time=") || strings.Contains(line, "\x1b") || strings.Contains(line, "\xff") {
					t.Errorf("the log has %q", line)
				}
			}
		})
	}
}

// Numbers of data messages may be required, or sent though nobody asked.
func TestQuirk22Sequencing(t *testing.T) {
	t.Run("required", func(t *testing.T) {
		n := newNumbering(t, true, func(*LACProfile) {})
		n.sent = nil
		for range 3 {
			n.down()
		}
		if all, _ := n.numbered(); !all {
			t.Error("data is not numbered though the LAC requires it")
		}
		last := n.session("alice").sequence
		if last == nil || len(n.call.packets) != 3 {
			t.Errorf("%d packets came to the subscriber", len(n.call.packets))
		}
	})
	t.Run("unasked", func(t *testing.T) {
		n := newNumbering(t, false, func(*LACProfile) {})
		for i, seq := range []uint16{7, 9, 60000, 3} { // nobody minds their order
			b := []byte{0x08, 2}
			b = binary.BigEndian.AppendUint16(b, n.lac.t.PeerID())
			b = binary.BigEndian.AppendUint16(b, n.call.call.PeerID())
			b = binary.BigEndian.AppendUint32(b, uint32(seq)<<16)
			b = append(b, 0xff, 3, 0, 0x21)
			b = append(b, ipPacket(n.call.client.Address(), netip.MustParseAddr("203.0.113.5"), 60+i)...)
			n.plane.Inject(0, n.lac.address, b)
		}
		n.run(time.Second)
		if len(n.core) != 4 {
			t.Errorf("%d of 4 packets came through", len(n.core))
		}
		n.sent = nil
		n.down()
		if _, none := n.numbered(); !none {
			t.Error("the LAC gets numbers that it did not ask for")
		}
	})
}

// A card comes back and every line behind it calls at once: calls are paced to
// what AAA answers, and what is up does not notice.
func TestQuirk28MassRedial(t *testing.T) {
	const most, redials = 50, 1000
	r := newRig(t, func(c *Config) { c.MaxSettingUp = most })
	w := watchWire(r)
	cfg := lacConfig()
	cfg.Control.Hello, cfg.Control.SendQueue = 10*time.Second, 1<<16
	l := r.lacWith("198.51.100.1:1701", cfg)
	other := r.lacWith("198.51.100.2:1701", lacConfig())
	r.until(5*time.Second, "tunnels up", func() bool { return l.up && other.up })
	steady := other.upCall(r, "steady", nil)
	ends := other.upCall(r, "ends", nil)
	r.aaa.hold = true // the server is slow
	var calls []*rigCall
	for range redials {
		calls = append(calls, l.dial("alice", nil))
	}
	waiting := int64(0)
	for range 500 {
		r.run(wheelTick)
		waiting = max(waiting, r.srv.settingUp.Load())
	}
	if waiting != most || len(r.aaa.reqs) > most+2 {
		t.Errorf("up to %d calls were being set up and AAA was asked %d times; the bound is %d", waiting, len(r.aaa.reqs), most)
	}
	refused := 0
	for _, c := range calls {
		if c.cdn != nil && c.cdn.Code == 2 && c.cdn.Error == 7 {
			refused++
		}
	}
	if refused != redials-most {
		t.Errorf("%d calls were told to try another LNS, want %d", refused, redials-most)
	}
	// In the midst of it a HELLO and a CDN are answered at once.
	ends.hangUp()
	hello := w.acks
	r.run(11 * time.Second)
	if r.session("ends") != nil || steady.closed || r.session("steady").state != stateUp || l.down != nil || w.acks == hello {
		t.Error("the redial has held up other things")
	}
	r.aaa.hold = false
	r.run(5 * time.Second)
	// What was refused calls again, some at a time, and all come up.
	for begun := r.clock.now; slices.ContainsFunc(calls, func(c *rigCall) bool { return !c.up }); {
		if r.clock.now > begun+5*time.Minute {
			t.Fatal("not all are up after five minutes")
		}
		n := 0
		for i, c := range calls {
			if c.cdn != nil && n < most {
				calls[i] = l.dial("alice", nil)
				n++
			}
		}
		r.run(time.Second)
	}
}

// The Calling Number may be a tag, an ICCID, anything, or nothing. It goes to AAA
// as it is, and where the profile says how, the line's name is found in it.
func TestQuirk11CallingNumber(t *testing.T) {
	for _, c := range []struct{ number, pattern, port string }{
		{"0123456789", "", ""},
		{"", "", ""},
		{"8944110068999999999", "", ""},
		{"8944110068999999999", `^89\d{17}$`, "8944110068999999999"},
		{"slot/1 vlan 100 line=OPS0001", `line=(\w+)`, "OPS0001"},
		{"slot/1 vlan 100", `line=(\w+)`, ""},
		{"", `line=(\w+)`, ""},
		{"\xff\x00#raw", "", ""},
	} {
		r, l, _ := tunnelUp(t, func(cfg *Config) { cfg.LACs[0].LinePattern = c.pattern })
		l.upCall(r, "alice", func(m *l2tp.Message) { m.CallingNumber = []byte(c.number) })
		if c.port == "" { // nothing says what the line is called
			c.port = fmt.Sprintf("l2tp %d.1", l.t.PeerID())
		}
		if who := r.aaa.reqs[0].Identity; who.CallingStation != c.number || who.NASPortID != c.port {
			t.Errorf("%q by %q: AAA was told number %q and port %q, want %q", c.number, c.pattern, who.CallingStation, who.NASPortID, c.port)
		}
	}
	p := testProfile("x", func(p *LACProfile) { p.LinePattern = "(" })
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "line_pattern") {
		t.Errorf("a pattern that cannot be read: %v", err)
	}
}
