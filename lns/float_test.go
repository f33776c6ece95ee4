package lns

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"culvert/lns/dataplane"
)

// A LAC behind NAT gets another port while its sessions, on all shards, are up: one
// datagram from there, data or control, moves the tunnel and all of them.
func TestFloatPeerMovesEverySession(t *testing.T) {
	const sessions = 6
	for _, by := range []string{"data", "control"} {
		t.Run(by, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.LACs[0].FloatPeer = true })
			l := r.lac(1, "tunnel secret")
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			var calls []*rigCall
			shards := map[int]bool{}
			for i := range sessions {
				calls = append(calls, l.dial(fmt.Sprintf("user%d", i), nil))
			}
			r.until(10*time.Second, "all up", func() bool {
				for _, c := range calls {
					if !c.up {
						return false
					}
				}
				return true
			})
			for i := range sessions {
				shards[dataplane.ShardOf(r.session(fmt.Sprintf("user%d", i)).key.Session, len(r.srv.shards))] = true
			}
			if len(shards) != len(r.srv.shards) {
				t.Fatalf("the sessions are on %d shards of %d", len(shards), len(r.srv.shards))
			}
			old := l.address
			moved := netip.AddrPortFrom(old.Addr(), 40321)
			delete(r.lacs, old)
			l.address = moved
			r.lacs[moved] = l
			if by == "data" {
				calls[0].ping(calls[0].client.Address(), 100)
			} else {
				l.dial("late", nil)
			}
			r.run(time.Second)
			calls[1].ping(calls[1].client.Address(), 100)
			r.run(wheelTick)
			if len(r.core) != 1 {
				t.Errorf("%d packets came to the core after the one that moved the tunnel, want 1", len(r.core))
			}
			for i, c := range calls {
				s := r.session(fmt.Sprintf("user%d", i))
				before := len(c.packets)
				r.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), s.address, 200))
				for _, d := range r.sent {
					if d.Peer != moved {
						t.Errorf("what is for %s goes to %v", s.who.User, d.Peer)
					}
				}
				r.run(wheelTick)
				if len(c.packets) != before+1 {
					t.Errorf("%s got %d packets after the move", s.who.User, len(c.packets)-before)
				}
			}
			r.run(time.Second)
			for _, rec := range r.journal.tunnels {
				if rec.Peer != moved {
					t.Errorf("the journal has the tunnel at %v, want %v", rec.Peer, moved)
				}
			}
			r.onShards(func(sh *shard) { sh.shutdown() })
			r.run(time.Minute)
			r.checkEmpty()
		})
	}
}

// Without float_peer nobody else is heard, however well the ids are guessed.
func TestFloatPeerIsOff(t *testing.T) {
	r, l, c := oneUp(t, nil)
	r.lacs[netip.MustParseAddrPort("198.51.100.66:40321")] = l
	delete(r.lacs, l.address)
	was := l.address
	l.address = netip.MustParseAddrPort("198.51.100.66:40321")
	c.ping(c.client.Address(), 100)
	r.run(time.Second)
	if len(r.core) != 0 || r.stats().Dropped["wrong-source"] == 0 || r.session("alice").facts.peer.Load().AddrPort != was {
		t.Errorf("%d packets came through, dropped %v", len(r.core), r.stats().Dropped)
	}
}

// A LAC that has moved, and begins anew where it is now with the ids that it had, gets no second
// tunnel: to it both would be one. When the old one has ended it gets its own.
func TestFloatPeerBeginsAnew(t *testing.T) {
	r, l, c := oneUp(t, func(c *Config) { c.LACs[0].FloatPeer, c.LACs[0].Hello = true, 5*time.Second })
	was, moved := l.address, netip.MustParseAddrPort("198.51.100.1:40321")
	delete(r.lacs, was)
	l.address = moved
	r.lacs[moved] = l
	c.ping(c.client.Address(), 100)
	r.run(time.Second)
	known := r.srv.shards[0].accept.known
	at := func(a netip.AddrPort) uint16 {
		return known[acceptKey{peer: source{AddrPort: a}, peerID: l.t.LocalID()}]
	}
	if len(known) != 1 || at(moved) == 0 {
		t.Fatalf("the acceptor knows %v", known)
	}
	again := newLAC(r, moved, l.t.LocalID(), lacConfigOf("tunnel secret"))
	r.lacs[moved] = again
	r.run(time.Second)
	if tunnels, _, _ := r.counts(); tunnels != 1 {
		t.Errorf("there are %d tunnels", tunnels)
	}
	// It may open one from where it was before.
	other := newLAC(r, was, l.t.LocalID(), lacConfigOf("tunnel secret"))
	r.lacs[was] = other
	r.until(5*time.Second, "a tunnel from the old address", func() bool { return other.up })
	if len(known) != 2 || at(was) == 0 || at(was) == at(moved) {
		t.Errorf("the acceptor knows %v", known)
	}
	delete(r.lacs, was)
	delete(r.lacs, moved)
	r.run(3 * time.Minute)
	if len(known) != 0 || r.srv.shards[0].accept.ids[0].used != 0 {
		t.Errorf("left: %v, %d ids", known, r.srv.shards[0].accept.ids[0].used)
	}
	r.checkEmpty()
}

// Where a LAC has opened a tunnel at a new address before one of the same id is heard from there, the
// acceptor knows the one that was opened there, and both give their ids back.
func TestFloatPeerMeetsItself(t *testing.T) {
	r, l, c := oneUp(t, func(c *Config) { c.LACs[0].FloatPeer, c.LACs[0].Hello = true, 5*time.Second })
	was, moved := l.address, netip.MustParseAddrPort("198.51.100.1:40321")
	other := newLAC(r, moved, l.t.LocalID(), lacConfigOf("tunnel secret"))
	r.lacs[moved] = other
	r.until(5*time.Second, "another tunnel", func() bool { return other.up })
	l.address = moved
	c.ping(c.client.Address(), 100)
	r.run(time.Second)
	known := r.srv.shards[0].accept.known
	if id := known[acceptKey{peer: source{AddrPort: moved}, peerID: other.t.LocalID()}]; len(known) != 1 || id != other.t.PeerID() {
		t.Errorf("the acceptor knows %v", known)
	}
	delete(r.lacs, was)
	delete(r.lacs, moved)
	r.run(3 * time.Minute)
	if len(known) != 0 || r.srv.shards[0].accept.ids[0].used != 0 {
		t.Errorf("left: %v, %d ids", known, r.srv.shards[0].accept.ids[0].used)
	}
	r.checkEmpty()
}

// A session whose LAC moves, and which ends, in one step of its shard was on its way to the plane twice,
// and is not there afterwards.
func TestFloatPeerEndsAtOnce(t *testing.T) {
	r := newRig(t, func(c *Config) { c.LACs[0].FloatPeer = true })
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c, other := l.dial("alice", nil), l.dial("bob", nil)
	r.until(5*time.Second, "up", func() bool { return c.up && other.up })
	s := r.session("alice")
	sh := r.srv.shards[dataplane.ShardOf(s.key.Session, len(r.srv.shards))]
	sh.inbox.put(callsMoved{s.facts, []uint16{s.key.Session}}, callsMoved{s.facts, []uint16{s.key.Session}},
		funcMessage(func(sh *shard) { sh.drop(s, CauseLACDisconnect, "") }))
	r.run(time.Second)
	before := len(r.core)
	c.ping(c.client.Address(), 100)
	other.ping(other.client.Address(), 100)
	r.run(time.Second)
	if n := len(r.core) - before; n != 1 || r.session("alice") != nil {
		t.Errorf("%d packets came to the core, want the other session's", n)
	}
}
