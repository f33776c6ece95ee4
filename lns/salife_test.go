package lns

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
)

// sends says whether the LNS has tried to send anything since the call before, and
// whether anything left.
type sends struct {
	x          *ipsecRig
	sent, kept uint64
}

func (s *sends) since() (sent, withheld uint64) {
	n := s.x.plane.Stats()
	sent, withheld = n.Sent-s.sent, n.Withheld-s.kept
	s.sent, s.kept = n.Sent, n.Withheld
	return sent, withheld
}

// The end of an SA is the end of its tunnel and sessions: at once, without a word to the LAC, accounted.
func TestSAGoneEndsTunnel(t *testing.T) {
	for _, cause := range []SACause{SAEndDPD, SAEndDelete, SAEndExpired, SAEndReplaced, SAEndUnknown} {
		t.Run(string(cause), func(t *testing.T) {
			x := newIPsecRig(t, nil)
			l, c := x.secure(1, 1, "a", "alice")
			address := c.client.Address()
			s := &sends{x: x}
			s.since()
			x.ike.gone(1, SAEnd{Cause: cause, Detail: "it was so"})
			// The plane holds back at once, before any shard has heard of it.
			x.plane.InjectCore(ipPacket(lnsAddress.Addr(), address, 100))
			if sent, withheld := s.since(); sent != 0 || withheld != 1 {
				t.Errorf("%d packets left after the SA's end, %d were held back", sent, withheld)
			}
			x.step()
			if tunnels, sessions, _ := x.counts(); tunnels != 0 || sessions != 0 {
				t.Errorf("%d tunnels and %d sessions are left", tunnels, sessions)
			}
			x.run(3 * time.Minute)
			if sent, _ := s.since(); sent != 0 {
				t.Errorf("%d datagrams left after the SA's end", sent)
			}
			if n := x.stats().Downs["ipsec-down"]; n != 1 {
				t.Errorf("ends counted: %v", x.stats().Downs)
			}
			last := x.aaa.usages[len(x.aaa.usages)-1]
			if last.Kind != aaa.UsageStop || last.Cause != aaa.CauseLostService {
				t.Errorf("the last record is %+v", last)
			}
			for _, want := range []string{"SA gone: " + string(cause), "it was so", "ipsec-down"} {
				if !strings.Contains(x.log.String(), want) {
					t.Errorf("the log does not say %q:\n%s", want, x.log)
				}
			}
			// What still comes with its mark is dropped.
			x.plane.InjectMarked(0, l.address, 1, stopCCN(l))
			x.plane.InjectMarked(0, l.address, 1, packetOf(c))
			l.t = nil
			delete(x.secured, source{l.address, 1})
			x.run(time.Second)
			x.lacIn(1, 1)
			x.run(3 * time.Second)
			if d := x.stats().Dropped; d["no-sa"] == 0 || d["no-tunnel"] == 0 || d["no-session"] == 0 {
				t.Errorf("dropped: %v", d)
			}
			x.checkEmpty()
			x.checkAccounting(1)
		})
	}
}

// A datagram that comes through an SA which is gone is dropped, also before the tunnel's end is done.
func TestSAGoneDropsInput(t *testing.T) {
	x := newIPsecRig(t, nil)
	l, c := x.secure(1, 1, "a", "alice")
	sa := x.ike.sas[1]
	delete(x.ike.sas, 1) // nobody has been told
	core := len(x.core)
	x.plane.InjectMarked(0, l.address, 1, stopCCN(l))
	x.plane.SetMark(1, false)
	x.plane.InjectMarked(0, l.address, 1, packetOf(c))
	x.step()
	if n := x.stats().Dropped["no-sa"]; n != 2 || len(x.core) != core || len(x.srv.Tunnels()) != 1 {
		t.Errorf("%d datagrams dropped, %d packets at the core, %d tunnels", n, len(x.core)-core, len(x.srv.Tunnels()))
	}
	x.ike.up(sa)
	if !x.flows(c) {
		t.Error("with the SA back nothing flows")
	}
}

// After a restart of charon the LAC comes back with another SA: its sessions live on.
func TestSALostAndBack(t *testing.T) {
	x := newIPsecRig(t, nil)
	l, c := x.secure(1, 1, "a", "alice")
	s := &sends{x: x}
	sa := x.ike.sas[1]
	s.since()
	x.ike.gone(1, SAEnd{Cause: SAEndRestart, Patience: 2 * time.Minute})
	x.step()
	x.plane.InjectCore(ipPacket(lnsAddress.Addr(), c.client.Address(), 100))
	x.run(90 * time.Second)
	if sent, withheld := s.since(); sent != 0 || withheld == 0 {
		t.Errorf("while there is no SA, %d datagrams left and %d were held back", sent, withheld)
	}
	if tunnels, sessions, _ := x.counts(); tunnels != 1 || sessions != 1 {
		t.Fatalf("%d tunnels and %d sessions wait for their LAC", tunnels, sessions)
	}
	// Somebody else's SA is not what it waits for, nor one of its peer from elsewhere.
	x.sa(1, 2, "a", "somebody")
	x.sa(2, 3, "a", sa.Identity)
	x.sa(1, 4, "b", sa.Identity)
	x.step()
	if m := x.tunnelOf(l).SA.Mark; m != 1 {
		t.Fatalf("the tunnel went to SA %d", m)
	}
	x.sa(1, 9, "a", sa.Identity)
	x.through(l, 9)
	x.run(2 * time.Second)
	if m := x.tunnelOf(l).SA.Mark; m != 9 || !x.flows(c) {
		t.Errorf("the tunnel is at SA %d, or nothing flows", m)
	}
	x.run(10 * time.Minute)
	if c.closed || x.session("alice") == nil || l.down != nil {
		t.Error("the session did not live on")
	}
	if sa, ok := x.journal.tunnels[x.session("alice").facts.key()]; !ok || sa.Peer != l.address {
		t.Error("the journal does not know where the tunnel is")
	}
	// Patience has an end.
	x.ike.gone(9, SAEnd{Cause: SAEndRestart, Patience: 2 * time.Minute})
	x.run(2*time.Minute - time.Second)
	if x.session("alice") == nil {
		t.Error("the session ended before its patience")
	}
	x.run(2 * time.Second)
	if x.session("alice") != nil || x.stats().Downs["ipsec-down"] != 1 {
		t.Errorf("ended: %v", x.stats().Downs)
	}
	x.secured = map[source]*rigLAC{}
	x.run(time.Minute)
	x.checkEmpty()
}

// A peer that authenticates anew has two SAs for a moment, and its tunnel follows it.
func TestSAReplaced(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(x *ipsecRig, l *rigLAC, c *rigCall)
		mark uint32
	}{
		{"heir", func(x *ipsecRig, l *rigLAC, _ *rigCall) {
			x.sa(1, 2, "a", "alice's LAC")
			x.ike.gone(1, SAEnd{Cause: SAEndReplaced, Heir: 2})
			x.through(l, 2)
		}, 2},
		{"packets through the newer SA", func(x *ipsecRig, l *rigLAC, c *rigCall) {
			x.sa(1, 2, "a", "alice's LAC")
			x.through(l, 2)
			c.ping(c.client.Address(), 64)
		}, 2},
		{"an older SA once more", func(x *ipsecRig, l *rigLAC, c *rigCall) {
			older := x.ike.sas[1]
			older.Mark, older.Since = 2, older.Since.Add(-time.Hour)
			x.ike.up(older)
			x.plane.InjectMarked(0, l.address, 2, stopCCN(l))
		}, 1},
		{"the same SA from another port", func(x *ipsecRig, l *rigLAC, c *rigCall) {
			delete(x.secured, source{l.address, 1})
			l.address = netip.AddrPortFrom(l.address.Addr(), 40000)
			x.through(l, 1)
			c.ping(c.client.Address(), 64)
		}, 1},
		{"an heir that is somebody else", func(x *ipsecRig, l *rigLAC, c *rigCall) {
			x.sa(1, 2, "a", "somebody")
			x.ike.gone(1, SAEnd{Cause: SAEndReplaced, Heir: 2})
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newIPsecRig(t, nil)
			l, call := x.secure(1, 1, "a", "alice")
			c.do(x, l, call)
			x.run(time.Second)
			if c.mark == 0 {
				if x.session("alice") != nil {
					t.Error("the session lives on in somebody else's SA")
				}
				return
			}
			if m := x.tunnelOf(l).SA.Mark; m != c.mark || !x.flows(call) {
				t.Errorf("the tunnel is at SA %d, want %d; or nothing flows", m, c.mark)
			}
			if others := x.srv.saUses.n; len(others) != 1 || others[saKey{mark: c.mark}] != 1 {
				t.Errorf("tunnels are counted as %v", others)
			}
		})
	}
}

// A restart of the LNS leaves SAs alone: tunnels go on in theirs, wait for their LAC where it is
// gone, and do not take down a node whose profile has changed meanwhile.
func TestSARestart(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config, *fakeIPsec)
		lives  bool
	}{
		{"SA there", func(*Config, *fakeIPsec) {}, true},
		{"SA gone, and back", func(_ *Config, f *fakeIPsec) { delete(f.sas, 1) }, true},
		{"profile uses no IPsec any more", func(c *Config, f *fakeIPsec) {
			delete(f.sas, 1)
			c.LACs[0].IPsec = nil
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newIPsecRig(t, nil)
			l, call := x.secure(1, 1, "a", "alice")
			sa, lacs := x.ike.sas[1], x.srv.LACs()
			x.rig.start(func(cfg *Config) {
				cfg.IPsec, cfg.LACs = x.ike, lacs
				c.change(cfg, x.ike)
			})
			x.srv.inline = x.onShards
			x.run(100 * time.Millisecond)
			if _, there := x.ike.sas[1]; there {
				x.ike.up(sa) // it tells of every SA that there is
			} else if c.lives {
				s := x.plane.Stats().Sent
				x.plane.InjectCore(ipPacket(lnsAddress.Addr(), call.client.Address(), 100))
				x.run(5 * time.Second)
				if x.plane.Stats().Sent != s {
					t.Error("something left though the SA is gone")
				}
				sa.Mark = 5
				x.ike.up(sa)
				x.through(l, 5)
			}
			x.run(5 * time.Second)
			if got := x.session("alice") != nil; got != c.lives {
				t.Fatalf("the session lives: %v, want %v", got, c.lives)
			}
			if c.lives && (!x.flows(call) || x.tunnelOf(l).SA.Mark != sa.Mark) {
				t.Errorf("nothing flows, or not in the SA: %v", x.tunnelOf(l).SA)
			}
		})
	}
}
