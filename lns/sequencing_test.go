package lns

import (
	"slices"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lns/link"
	"culvert/proto/l2tp"
)

// numbering is a rig with one subscriber up that watches the numbers of data messages.
type numbering struct {
	*rig
	lac  *rigLAC
	call *rigCall
	// sent are, in order, the numbers of the LNS's data messages; -1 is none.
	sent []int
	// hold keeps the LAC's data messages back; held are those.
	hold bool
	held [][]byte
}

func newNumbering(t *testing.T, required bool, change func(*LACProfile)) *numbering {
	t.Helper()
	n := &numbering{rig: newRig(t, func(c *Config) {
		change(&c.LACs[0])
		if err := c.LACs[0].Validate(); err != nil {
			t.Fatal(err)
		}
	})}
	n.lose = func(toLNS bool, b []byte) bool {
		h, _, err := l2tp.ParseHeader(b)
		switch {
		case err != nil || h.Control:
		case !toLNS && !h.HasSequence:
			n.sent = append(n.sent, -1)
		case !toLNS:
			n.sent = append(n.sent, int(h.Ns))
		case n.hold:
			n.held = append(n.held, slices.Clone(b))
			return true
		}
		return false
	}
	n.lac = n.rig.lac(1, "tunnel secret")
	n.lac.sequencing = required
	n.until(5*time.Second, "tunnel up", func() bool { return n.lac.up })
	n.call = n.lac.dial("alice", nil)
	n.until(5*time.Second, "session up", func() bool { return n.call.up && n.session("alice").state == stateUp })
	n.run(wheelTick)
	return n
}

// numbered says of what was sent since the last call whether all, or none, was numbered.
func (n *numbering) numbered() (all, none bool) {
	n.t.Helper()
	all, none = true, true
	for _, ns := range n.sent {
		all, none = all && ns >= 0, none && ns < 0
	}
	if len(n.sent) == 0 {
		n.t.Error("nothing was sent")
	}
	n.sent = nil
	return all, none
}

// down sends a packet to the subscriber.
func (n *numbering) down() {
	n.plane.InjectCore(ipPacket(localAddr, n.session("alice").address, 100))
	n.run(wheelTick)
}

func TestSequencingPolicies(t *testing.T) {
	for _, c := range []struct {
		policy          string
		required        bool
		setup, up       bool // whether data is numbered then
		showed, mustNot bool
	}{
		{"", false, false, false, false, false},
		{SequencingRequired, false, false, false, false, false},
		{SequencingRequired, true, true, true, true, true},
		{SequencingNegotiation, false, true, false, true, false},
		{SequencingNegotiation, true, true, true, true, true},
		{SequencingAlways, false, true, true, true, false},
	} {
		t.Run(c.policy, func(t *testing.T) {
			n := newNumbering(t, c.required, func(p *LACProfile) { p.Sequencing = c.policy })
			set := n.sent
			if last := len(set) - 1; set[last] < 0 && c.setup && !c.up {
				set = set[:last] // the acknowledgement that brought it up
			}
			for i, ns := range set {
				if want := i; c.setup && ns != want || !c.setup && ns >= 0 {
					t.Fatalf("while setting up these numbers were sent: %v", n.sent)
				}
			}
			n.sent = nil
			n.down()
			if all, none := n.numbered(); c.up && !all || !c.up && !none {
				t.Errorf("an IP packet of a session that is up is numbered: %v", all)
			}
			if len(n.call.packets) != 1 {
				t.Errorf("%d packets came to the subscriber", len(n.call.packets))
			}
			n.call.ping(n.call.client.Address(), 100)
			n.run(wheelTick)
			if len(n.core) != 1 || n.call.number != c.up {
				t.Errorf("%d packets came to the core, numbered %v", len(n.core), n.call.number)
			}
			i := n.srvSession("alice").Sequencing
			if (i != nil) != c.showed || i != nil && (i.Required != c.mustNot || i.Numbered != c.up || i.Late+i.Lost != 0) {
				t.Errorf("the session shows %+v", i)
			}
			n.run(time.Minute) // with LCP echoes
			if all, none := n.numbered(); c.up && !all || !c.up && !none {
				t.Errorf("a minute later data is numbered: %v", all)
			}
		})
	}
}

// srvSession is what an operator sees.
func (r *rig) srvSession(user string) (info SessionInfo) {
	r.onShards(func(sh *shard) {
		for _, s := range sh.sessions {
			if s.who.User == user {
				info = sh.info(s)
			}
		}
	})
	return info
}

// A renegotiation is numbered again, from where the numbers were left.
func TestSequencingResumes(t *testing.T) {
	n := newNumbering(t, false, func(p *LACProfile) { p.Sequencing = SequencingNegotiation })
	last := slices.Max(n.sent)
	n.down()
	n.sent = nil
	n.call.lcpRequest()
	n.run(wheelTick)
	if len(n.sent) == 0 || n.sent[0] != last+1 {
		t.Fatalf("LCP began anew with numbers %v; the last before was %d", n.sent, last)
	}
	n.until(30*time.Second, "up again", func() bool { return n.session("alice").link.Phase() == link.PhaseUp })
	n.run(wheelTick)
	n.sent = nil
	n.down()
	if _, none := n.numbered(); !none {
		t.Error("up again, data is still numbered")
	}
}

// Data of the LAC that comes twice or late is dropped, while setting up and when up.
func TestSequencingDrops(t *testing.T) {
	n := newNumbering(t, true, func(*LACProfile) {})
	s := n.session("alice")
	n.hold = true
	for range 4 {
		n.call.ping(n.call.client.Address(), 100)
		n.run(wheelTick)
	}
	n.hold = false
	for _, i := range []int{1, 0, 1, 2, 2, 3} {
		n.plane.Inject(0, n.lac.address, n.held[i])
	}
	n.run(wheelTick)
	if len(n.core) != 3 {
		t.Errorf("%d packets came to the core, want 3", len(n.core))
	}
	if st := s.sequence.Stats(); st.Late != 3 || st.Lost != 1 || st.Reordered != 0 {
		t.Errorf("counted %+v", st)
	}
	// Before it is up, the shard minds the numbers.
	c := n.lac.dial("bob", nil)
	n.aaa.hold = true
	n.until(5*time.Second, "asked for bob", func() bool { return len(n.aaa.asked) == 1 })
	bob := n.session("bob")
	late := n.stats().Dropped["late"]
	c.ns--
	c.lcpRequest() // a number that was used already
	n.run(wheelTick)
	if got := n.stats().Dropped["late"]; got != late+1 || bob.link.Phase() != link.PhaseAuthenticating {
		t.Errorf("%d dropped as late, want %d; the link is in %v", got, late+1, bob.link.Phase())
	}
}

func TestSequencingReorders(t *testing.T) {
	n := newNumbering(t, true, func(p *LACProfile) { p.ReorderPackets, p.ReorderTime = 8, 40*time.Millisecond })
	n.hold = true
	for i := range 4 {
		n.call.ping(n.call.client.Address(), 100+i)
		n.run(wheelTick)
	}
	n.hold = false
	for _, i := range []int{2, 1, 0} {
		n.plane.Inject(0, n.lac.address, n.held[i])
	}
	if len(n.core) != 3 || len(n.core[0]) != 100 || len(n.core[2]) != 102 {
		t.Fatalf("%d packets came to the core out of a queue of 3", len(n.core))
	}
	n.hold = true
	n.call.ping(n.call.client.Address(), 104)
	n.run(wheelTick)
	n.hold = false
	n.plane.Inject(0, n.lac.address, n.held[4])
	if len(n.core) != 3 {
		t.Error("a packet passed though the one before it is missing")
	}
	n.run(60 * time.Millisecond)
	if len(n.core) != 4 {
		t.Error("a packet still waits for one that never comes")
	}
	if i := n.srvSession("alice").Sequencing; i.Reordered == 0 || i.Lost != 1 {
		t.Errorf("the session shows %+v", i)
	}
	n.lac.t.Stop(n.clock.now, l2tp.Result{Code: l2tp.StopShutdown}, &n.lac.fx)
	n.run(time.Minute)
	n.checkEmpty()
	n.checkAccounting(1)
}

func TestSequencingProfileIsChecked(t *testing.T) {
	for want, change := range map[string]func(*LACProfile){
		`sequencing: "on" is not one of`:         func(p *LACProfile) { p.Sequencing = "on" },
		"reorder_packets: 257 is not between 0":  func(p *LACProfile) { p.ReorderPackets = 257 },
		"reorder_packets: -1 is not between 0":   func(p *LACProfile) { p.ReorderPackets = -1 },
		"reorder_time: 0s is not between 1ms":    func(p *LACProfile) { p.ReorderPackets, p.ReorderTime = 1, 0 },
		"reorder_time: 1m0s is not between 1ms":  func(p *LACProfile) { p.ReorderPackets, p.ReorderTime = 1, time.Minute },
		"hide_avps: AVPs are hidden with the tu": func(p *LACProfile) { p.HideAVPs = true },
	} {
		p := testProfile("x", change)
		if err := p.Validate(); err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// With hide_avps, what may be hidden is, and the LAC reads it.
func TestHideAVPs(t *testing.T) {
	r := newRig(t, func(c *Config) { c.LACs[0].HideAVPs = true })
	hidden, open := map[uint16]bool{}, map[uint16]bool{}
	r.lose = func(toLNS bool, b []byte) bool {
		if h, body, err := l2tp.ParseHeader(b); err == nil && h.Control && !toLNS {
			for len(body) >= 6 {
				n := int(body[0]&3)<<8 | int(body[1])
				attribute := uint16(body[4])<<8 | uint16(body[5])
				if body[0]&0x40 != 0 {
					hidden[attribute] = true
				} else {
					open[attribute] = true
				}
				body = body[n:]
			}
		}
		return false
	}
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.dial("alice", nil)
	r.until(5*time.Second, "session up", func() bool { return c.up })
	r.srv.inline = r.onShards
	if n, err := r.srv.Disconnect(Selector{User: "alice"}, aaa.CauseAdminReset, "test"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	r.until(5*time.Second, "the CDN is there", func() bool { return c.cdn != nil })
	for _, a := range []l2tp.AVP{l2tp.AVPAssignedTunnelID, l2tp.AVPChallenge, l2tp.AVPChallengeResponse, l2tp.AVPVendorName, l2tp.AVPAssignedSessionID} {
		if !hidden[a.Attribute()] || open[a.Attribute()] {
			t.Errorf("%v: hidden %v, in the open %v", a, hidden[a.Attribute()], open[a.Attribute()])
		}
	}
	for _, a := range []l2tp.AVP{l2tp.AVPMessageType, l2tp.AVPResultCode, l2tp.AVPHostName, l2tp.AVPRandomVector, l2tp.AVPReceiveWindow} {
		if hidden[a.Attribute()] || !open[a.Attribute()] {
			t.Errorf("%v: hidden %v, in the open %v", a, hidden[a.Attribute()], open[a.Attribute()])
		}
	}
	if l.t.PeerVendor() != "Culvert" || c.cdn.Code != l2tp.CDNAdministrative {
		t.Errorf("the LAC reads %q and %v", l.t.PeerVendor(), c.cdn)
	}
}
