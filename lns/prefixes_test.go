package lns

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/proto/l2tp"
)

func TestPrefixes(t *testing.T) {
	a, b, c := netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("10.2.0.0/24"), netip.MustParsePrefix("10.1.0.7/24")
	for _, x := range []struct {
		name  string
		want  []netip.Prefix
		user  string
		owner uint64
		stale []uint64
		is    error
		held  uint64 // who holds a in the end
	}{
		{"free", []netip.Prefix{b}, "bob", 9, nil, nil, 5},
		{"its own once more", []netip.Prefix{a, b}, "alice", 5, nil, nil, 5},
		{"of an earlier session", []netip.Prefix{a}, "alice", 9, []uint64{5}, nil, 9},
		{"with host bits", []netip.Prefix{c}, "alice", 9, []uint64{5}, nil, 9},
		{"of a later session", []netip.Prefix{b, a}, "alice", 4, nil, errOutdated, 5},
		{"another's", []netip.Prefix{b, a}, "bob", 9, nil, aaa.ErrAddressInUse, 5},
		{"none", nil, "bob", 9, nil, nil, 5},
	} {
		t.Run(x.name, func(t *testing.T) {
			var p prefixes
			if _, err := p.acquire([]netip.Prefix{a}, "alice", 5); err != nil {
				t.Fatal(err)
			}
			stale, err := p.acquire(x.want, x.user, x.owner)
			if !slices.Equal(stale, x.stale) || !errors.Is(err, x.is) || p.held[a].owner != x.held {
				t.Errorf("stale %v, error %v, held by %d", stale, err, p.held[a].owner)
			}
			if err != nil && p.len() != 1 {
				t.Errorf("%d are held after a refusal", p.len())
			}
			p.release([]netip.Prefix{a, b}, 5)
			p.release([]netip.Prefix{a, b}, 9)
			p.release([]netip.Prefix{a, b}, 4)
			if p.len() != 0 {
				t.Errorf("%v are held still", p.held)
			}
		})
	}
}

// A network has one session: of one subscriber the latest, of two the first.
func TestRoutedSubscribers(t *testing.T) {
	lan := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}
	r := newRig(t, nil)
	r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return &aaa.Grant{Routes: lan}, nil }
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	first := l.dial("alice", nil)
	r.until(5*time.Second, "up", func() bool { return first.up })
	thief := l.dial("mallory", nil)
	r.until(10*time.Second, "refused", func() bool { return thief.cdn != nil })
	if n := r.stats().Downs[CauseAddressInUse.String()]; n != 1 || thief.cdn.Code != l2tp.CDNAdministrative {
		t.Errorf("causes %v, the LAC was told %v", r.stats().Downs, thief.cdn)
	}
	second := l.dial("alice", nil)
	r.until(10*time.Second, "the later call is up and the earlier over", func() bool { return second.up && first.cdn != nil })
	if n := r.stats().Downs[CauseReplaced.String()]; n != 1 {
		t.Errorf("causes %v", r.stats().Downs)
	}
	r.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("10.1.0.9"), 100))
	r.run(time.Second)
	if len(second.packets) != 1 || r.srv.prefixes.held[lan[0]].owner != r.session("alice").owner {
		t.Errorf("%d packets, held by %+v", len(second.packets), r.srv.prefixes.held)
	}
	r.start(nil) // it is held after a restart, too
	r.aaa.decide = nil
	r.run(time.Second)
	if s := r.session("alice"); s == nil || r.srv.prefixes.held[lan[0]].owner != s.owner {
		t.Errorf("after a restart it is held by %+v", r.srv.prefixes.held)
	}
	second.hangUp()
	r.run(5 * time.Second)
	if r.srv.prefixes.len() != 0 {
		t.Errorf("left: %+v", r.srv.prefixes.held)
	}
}

// A kill may come when a later call has an address and a network, and the word of it has not
// reached the earlier call's shard. The journal has both then; the later one lives on with them.
func TestEarlierCallAfterAKill(t *testing.T) {
	lan, home := netip.MustParsePrefix("10.1.0.0/24"), netip.MustParseAddr("192.0.2.77")
	for _, x := range []struct {
		name   string
		grant  aaa.Grant
		to     string
		before int // calls of others, which bring the two to other shards
	}{
		{"network", aaa.Grant{Routes: []netip.Prefix{lan}}, "10.1.0.9", 0},
		{"network, other shards", aaa.Grant{Routes: []netip.Prefix{lan}}, "10.1.0.9", 1},
		{"address", aaa.Grant{Address: home}, home.String(), 0},
		{"address, other shards", aaa.Grant{Address: home}, home.String(), 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, nil)
			l := r.lac(1, "tunnel secret")
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			for range x.before {
				other := l.dial("bob", nil)
				r.until(5*time.Second, "up", func() bool { return other.up })
			}
			r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { g := x.grant; return &g, nil }
			first := l.dial("alice", nil)
			r.until(5*time.Second, "up", func() bool { return first.up })
			s := r.session("alice")
			// As if the word were on its way: nobody knows of the first one's any more.
			r.srv.prefixes.release(s.routes(), s.owner)
			r.srv.cfg.Addresses.Release(s.address, s.owner)
			second := l.dial("alice", nil)
			r.until(5*time.Second, "both up", func() bool { return second.up && first.cdn == nil })
			id := second.call.PeerID()
			r.start(nil)
			r.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr(x.to), 100)) // before the earlier one ends
			r.run(5 * time.Second)
			r.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr(x.to), 100))
			r.run(time.Second)
			if len(first.packets) != 0 || len(second.packets) != 2 {
				t.Errorf("of two packets the earlier call got %d, the later one %d", len(first.packets), len(second.packets))
			}
			if first.cdn == nil || second.cdn != nil {
				t.Errorf("CDN for the earlier call %v, for the later one %v", first.cdn, second.cdn)
			}
			if s = r.session("alice"); s == nil || s.key.Session != id {
				t.Fatalf("%+v lives on, want session %d", s, id)
			}
			if n := r.stats().Downs[CauseReplaced.String()]; n != 1 {
				t.Errorf("causes %v", r.stats().Downs)
			}
			if h := r.srv.prefixes.held[lan]; len(x.grant.Routes) > 0 && h.owner != s.owner {
				t.Errorf("the network is held by %+v", h)
			}
			if h := r.aaa.held[s.address]; h.owner != s.owner {
				t.Errorf("the address is held by %+v", h)
			}
		})
	}
}

// A renegotiation under another grant changes what a session holds.
func TestRoutesOfARenegotiation(t *testing.T) {
	grants := [][]netip.Prefix{{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("10.2.0.0/24")}, {netip.MustParsePrefix("10.2.0.0/24")}}
	r := newRig(t, nil)
	n := 0
	r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) {
		n++
		return &aaa.Grant{Routes: grants[min(n, 2)-1]}, nil
	}
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.dial("alice", nil)
	r.until(5*time.Second, "up", func() bool { return c.up })
	if r.srv.prefixes.len() != 2 {
		t.Errorf("held: %+v", r.srv.prefixes.held)
	}
	r.redialPPP(c, "alice")
	r.until(10*time.Second, "up again", func() bool { return c.up && n == 2 })
	if h := r.srv.prefixes.held; len(h) != 1 || h[grants[1][0]].user != "alice" {
		t.Errorf("held: %+v", h)
	}
	// A later session of another's name is refused for what is held, and says so.
	thief := l.dial("mallory", nil)
	r.until(10*time.Second, "refused", func() bool { return thief.cdn != nil })
	if _, err := r.srv.prefixes.acquire(grants[1], "mallory", 99); err == nil || !strings.Contains(err.Error(), `10.2.0.0/24 is routed to "alice"`) {
		t.Errorf("got %v", err)
	}
}
