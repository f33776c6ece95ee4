package cluster

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// TestFaults is the table of what happens when what fails.
func TestFaults(t *testing.T) {
	const long = 3 * time.Minute
	soon := 25 * time.Second // lease, grace, promise, and what the network adds
	for _, c := range []struct {
		name  string
		nodes []string
		do    func(s *sim)
	}{
		{"all is well", []string{"a", "b"}, func(s *sim) { s.run(long); s.want("a", "b") }},
		{"killed", []string{"a", "b"}, func(s *sim) {
			s.nodes["a"].dead = true
			s.run(soon)
			s.want("b", "b")
			s.start(s.nodes["a"]) // it does not take back what is not its any more
			s.run(long)
			s.want("b", "b")
		}},
		{"killed, and back at once", []string{"a", "b"}, func(s *sim) {
			s.nodes["a"].dead = true
			s.run(time.Second)
			s.start(s.nodes["a"])
			s.run(long)
			s.want("a", "b")
		}},
		{"frozen", []string{"a", "b"}, func(s *sim) {
			s.nodes["a"].frozen = true
			s.run(time.Minute)
			s.want("b", "b")
			s.nodes["a"].frozen = false
			s.run(long)
			s.want("b", "b")
		}},
		{"frozen for a moment", []string{"a", "b"}, func(s *sim) {
			s.nodes["a"].frozen = true
			s.run(5 * time.Second)
			s.nodes["a"].frozen = false
			s.run(long)
			s.want("a", "b")
		}},
		{"the database is away", []string{"a", "b"}, func(s *sim) {
			s.db.away = true
			s.run(20 * long)
			s.want("a", "b")
			s.db.away = false
			s.run(long)
			s.want("a", "b")
		}},
		{"one node cut off from the database", []string{"a", "b"}, func(s *sim) {
			s.cut["a db"] = true
			s.run(20 * long)
			s.want("a", "b")
		}},
		{"the nodes cut off from each other", []string{"a", "b"}, func(s *sim) {
			s.cut["a b"] = true
			s.run(20 * long)
			s.want("a", "b")
		}},
		{"one node cut off from both", []string{"a", "b"}, func(s *sim) {
			s.cut["a db"], s.cut["a b"] = true, true
			s.run(soon)
			s.want("b", "b")
			clear(s.cut)
			s.run(long)
			s.want("b", "b")
		}},
		{"a node alone, and the database away", []string{"a"}, func(s *sim) {
			s.want("a", "a")
			s.db.away = true
			s.run(20 * long)
			s.want("a", "a")
		}},
		{"a node dead for long, then the database away", []string{"a", "b"}, func(s *sim) {
			s.nodes["b"].dead = true
			s.run(long)
			s.want("a", "a")
			s.db.away = true
			s.run(20 * long)
			s.want("a", "a")
			// It comes back and sees the database that the other does not: it
			// may claim nothing from a node that has never heard of it.
			s.cut["a db"], s.cut["a b"], s.db.away = true, true, false
			s.start(s.nodes["b"])
			s.run(20 * long)
			s.want("a", "a")
		}},
		{"restarted while the database is away", []string{"a", "b"}, func(s *sim) {
			s.db.away = true
			s.run(long)
			s.nodes["a"].dead = true
			s.run(2 * time.Second)
			s.start(s.nodes["a"])
			s.run(soon)
			s.want("a", "b")
		}},
		{"frozen while the database is away", []string{"a", "b"}, func(s *sim) {
			s.db.away = true
			s.run(long)
			s.nodes["a"].frozen = true
			s.run(time.Minute)
			s.nodes["a"].frozen = false
			s.run(soon)
			s.want("a", "b")
		}},
		{"cut off by halves", []string{"a", "b"}, func(s *sim) { // it stops, and is heard to have stopped
			s.nodes["a"].frozen = true
			s.cut["a db"] = true
			s.run(11 * time.Second)
			s.nodes["a"].frozen = false
			s.run(soon)
			if got := len(s.answers(x1)); got != 1 {
				s.t.Errorf("%d answer", got)
			}
		}},
		{"three nodes, one dies", []string{"a", "b", "c"}, func(s *sim) {
			s.nodes["a"].dead = true
			s.run(soon)
			if who := s.answers(x1); len(who) != 1 {
				s.t.Errorf("%v answer", who)
			}
		}},
		{"everything dies", []string{"a", "b"}, func(s *sim) {
			s.nodes["a"].dead, s.nodes["b"].dead = true, true
			s.run(long)
			s.start(s.nodes["b"])
			s.run(time.Minute)
			s.want("b", "b")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(3) {
				s := newSim(t, seed, c.nodes...)
				s.run(time.Minute)
				c.do(s)
			}
		})
	}
}

// TestTakeoverTime has a bound on how long an address is silent.
func TestTakeoverTime(t *testing.T) {
	var worst time.Duration
	for seed := range uint64(20) {
		s := newSim(t, seed, "a", "b")
		s.run(time.Minute)
		s.nodes["a"].dead = true
		began := s.now
		for len(s.answers(x1)) == 0 {
			s.run(step)
			if s.now-began > time.Minute {
				t.Fatal("nobody takes over")
			}
		}
		worst = max(worst, s.now-began)
	}
	t.Logf("worst of 20: %v with a lease of %v", worst, DefaultLease)
	if worst > 20*time.Second {
		t.Errorf("%v passed before somebody answered", worst)
	}
}

// TestRandomFaults lets anything happen in any order: never do two answer for
// an address, and in the end, when all is well again, somebody does.
func TestRandomFaults(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 30
	}
	first := rand.Uint64N(1 << 40)
	for seed := first; seed < first+seeds; seed++ {
		s := newSim(t, seed, []string{"a", "b", "c"}[:2+seed%2]...)
		s.note("seed %d", seed)
		s.run(30 * time.Second)
		for range 12 {
			s.fault()
			s.run(time.Duration(s.rnd.Int64N(int64(40 * time.Second))))
		}
		s.heal()
		s.run(90 * time.Second)
		for _, a := range []netip.AddrPort{x1, x2} {
			if len(s.answers(a)) != 1 {
				for _, l := range s.trace {
					t.Log(l)
				}
				t.Fatalf("seed %d: %v answer for %v when all is well", seed, s.answers(a), a)
			}
		}
	}
}

// fault breaks or mends something, at random.
func (s *sim) fault() {
	n, other := s.rnd.IntN(len(s.order)), s.rnd.IntN(len(s.order))
	s.faultOf(s.rnd.IntN(8), n, other)
}

// faultOf breaks or mends one thing of two nodes, given by their places.
func (s *sim) faultOf(what, one, another int) {
	n, other := s.nodes[s.order[one]], s.order[another]
	switch what {
	case 0:
		s.note("%s dies", n.name)
		n.dead = true
	case 1:
		s.note("%s starts", n.name)
		s.start(n)
	case 2:
		n.frozen = !n.frozen
		s.note("%s frozen: %v", n.name, n.frozen)
	case 3:
		s.db.away = !s.db.away
		s.note("database away: %v", s.db.away)
	case 4:
		s.cut[n.name+" db"] = !s.cut[n.name+" db"]
		s.note("%s cut off from the database: %v", n.name, s.cut[n.name+" db"])
	case 5:
		s.cut[n.name+" "+other] = !s.cut[n.name+" "+other]
		s.note("%s and %s cut off: %v", n.name, other, s.cut[n.name+" "+other])
	case 6:
		s.note("%s loses its disk, and starts", n.name)
		n.saved = nil
		s.start(n)
	case 7:
		if to := s.nodes[other]; !n.dead && !to.dead {
			s.move(n, to, []netip.AddrPort{x1, x2}[s.rnd.IntN(2)])
		}
	}
}

func (s *sim) heal() {
	s.note("all is well again")
	clear(s.cut)
	s.db.away = false
	for _, n := range s.nodes {
		n.frozen = false
		if n.dead {
			s.start(n)
		}
	}
}

// TestLateRenewal has a renewal answered after the address that it tells of was
// moved away, or claimed: what it says of it is no news any more.
func TestLateRenewal(t *testing.T) {
	nodes := []Node{{Name: "a", Member: true, Joined: 2, Seen: 3, Epoch: 1, Beat: 1, Lease: DefaultLease, At: "a", Serves: []netip.AddrPort{x1, x2}},
		{Name: "b", Member: true, Joined: 3, Seen: 3, Epoch: 1, Beat: 1, Lease: DefaultLease, At: "b", Serves: []netip.AddrPort{x1, x2}}}
	view := func() View {
		return View{Members: 3, Nodes: nodes, Addresses: []Address{{Local: x1, Owner: "a", Epoch: 2}, {Local: x2, Epoch: 1}}}
	}
	m, err := New(Config{Node: "a", Epoch: 1, Serves: []netip.AddrPort{x1, x2}}, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	var fx Effects
	now := time.Hour
	m.Tick(now, &fx)
	m.Renewed(now, view(), &fx)
	m.Receive(now, "b", &Message{Kind: KindAnswer, From: "b", To: "a", Epoch: 1, Sent: now, Promise: time.Second}, &fx)
	now += 2 * time.Second
	m.Tick(now, &fx) // asks
	if _, err := m.BeginMove(now, x1, "b", 0); err != nil {
		t.Fatal(err)
	}
	m.Moved(now, x1, "b", &fx)
	m.Claimed(now, Claim{Local: x2, Epoch: 1}, Won, &fx)
	fx = Effects{}
	m.Renewed(now, view(), &fx)
	if len(fx.Changed) != 0 || m.Until(now, x1) > now || m.Until(now, x2) <= now {
		t.Errorf("changed %v; it answers for what it has moved away until %v, for what it has claimed until %v, and it is %v", fx.Changed, m.Until(now, x1), m.Until(now, x2), now)
	}
	m.Tick(now+2*time.Second, &fx)
	v := view()
	v.Addresses = []Address{{Local: x1, Owner: "a", Epoch: 4}, {Local: x2, Owner: "b", Epoch: 3}}
	m.Renewed(now, v, &fx)
	if m.Until(now, x1) <= now || m.Until(now, x2) > now {
		t.Error("what is news is not taken")
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no name":        {},
		"long name":      {Node: "a-name-that-is-too-long"},
		"short lease":    {Node: "a", Lease: time.Millisecond},
		"prefers others": {Node: "a", Serves: []netip.AddrPort{x1}, Prefer: []netip.AddrPort{x2}},
	} {
		if _, err := New(c, 0, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMessage(t *testing.T) {
	secret := []byte("secret")
	m := Message{Kind: KindAnswer, From: "a-name-of-16-oct", To: "b", Epoch: 7, Sent: time.Hour, Serving: true, Claims: 9, Promise: 5 * time.Second}
	b := m.Append(nil, secret)
	if len(b) > MaxMessage {
		t.Errorf("%d octets", len(b))
	}
	got, err := Parse(b, secret)
	if err != nil || *got != m {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 1
		if _, err := Parse(bad, secret); !errors.Is(err, ErrMessage) {
			t.Errorf("with octet %d changed: %v", i, err)
		}
	}
	if _, err := Parse(b, []byte("other")); !errors.Is(err, ErrMessage) {
		t.Error("another cluster's message is taken")
	}
}

// FuzzParse has a signature made for whatever it tries, so that what is behind it is reached.
func FuzzParse(f *testing.F) {
	secret := []byte("secret")
	for _, m := range []Message{{Kind: KindProbe, From: "a", To: "b"}, {Kind: KindAnswer, From: "lns1", To: "lns2", Promise: time.Second, Serving: true}} {
		b := m.Append(nil, secret)
		f.Add(b[:len(b)-32])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = Parse(body, secret)
		m, err := Parse(append(body[:len(body):len(body)], sign(body, secret)...), secret)
		if err != nil {
			return
		}
		again, err := Parse(m.Append(nil, secret), secret)
		if err != nil || *again != *m {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
