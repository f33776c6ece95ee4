package cluster

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// fuzzedMachine is one node's machine under fire: its database and its peers say anything.
type fuzzedMachine struct {
	t       *testing.T
	m       *Machine
	cfg     Config
	now     time.Duration
	fx      Effects
	renewal bool
	claims  []Claim
	view    View
	// word is until when the node has any word that it may answer: a lease, or a promise.
	word time.Duration
}

// settle checks and carries out one step's effects.
func (z *fuzzedMachine) settle() {
	fx := &z.fx
	if fx.Renew != nil {
		if z.renewal {
			z.t.Fatal("a second renewal before the answer to the first")
		}
		z.renewal = true
	}
	for _, c := range fx.Claims {
		if !slices.Contains(z.cfg.Serves, c.Local) || c.From == z.cfg.Node {
			z.t.Fatalf("claims %+v", c)
		}
		if slices.ContainsFunc(z.claims, func(o Claim) bool { return o.Local == c.Local }) {
			z.t.Fatalf("claims %v again before the answer", c.Local)
		}
		z.claims = append(z.claims, c)
	}
	if len(fx.Send) > 2*len(z.m.view.Nodes)+1 || len(fx.Expel) > len(z.m.view.Nodes) || len(fx.Changed) > 4 {
		z.t.Fatalf("%d messages, %d expelled, %d changes", len(fx.Send), len(fx.Expel), len(fx.Changed))
	}
	for _, e := range fx.Expel {
		if e.Node == z.cfg.Node {
			z.t.Fatal("puts itself out")
		}
	}
	for _, o := range fx.Send {
		if o.Message.From != z.cfg.Node || o.Message.Promise != 0 && o.Message.Promise != z.cfg.Promise() {
			z.t.Fatalf("sends %+v", o.Message)
		}
		for _, c := range z.claims {
			if o.Message.Kind == KindAnswer && o.Message.Promise > 0 && c.From == o.Message.To {
				z.t.Fatalf("promises %s not to claim from it, and claims %v", c.From, c.Local)
			}
		}
	}
	if fx.Save != nil {
		z.m.Saved(fx.Save)
	}
	for _, a := range []netip.AddrPort{x1, x2} {
		if until := z.m.Until(z.now, a); until > z.now && !slices.Contains(z.cfg.Serves, a) {
			z.t.Fatalf("answers for %v, which it does not serve", a)
		} else if until > z.now && z.m.until() != Forever && until > z.word { // a move has an end also where nobody could claim
			z.t.Fatalf("answers until %v, and has word until %v", until, z.word)
		}
	}
	if z.m.Deadline() < z.now-z.cfg.Lease {
		z.t.Fatalf("wants to be called at %v, and it is %v", z.m.Deadline(), z.now)
	}
	*fx = Effects{}
}

// node gives a row of the view, as three octets say.
func fuzzNode(name string, a, b, c byte) Node {
	return Node{
		Name: name, At: name, Epoch: uint64(a >> 4), Member: a&1 != 0, Joined: uint64(b >> 4), Seen: uint64(b & 15),
		Beat: uint64(c), Lease: DefaultLease, Draining: a&2 != 0, Serves: []netip.AddrPort{x1, x2},
	}
}

// news changes what the database says.
func (z *fuzzedMachine) news(b []byte) {
	owners := [...]string{"", "a", "b", "c"}
	switch b[0] & 3 {
	case 0, 1:
		i := int(b[1]) % len(z.view.Nodes)
		z.view.Nodes[i] = fuzzNode(z.view.Nodes[i].Name, b[1], b[2], b[3])
		z.view.Members++
	case 2:
		i := int(b[1]) % len(z.view.Addresses)
		z.view.Addresses[i].Owner = owners[b[2]&3]
		z.view.Addresses[i].Epoch++
		z.view.Claims++
	case 3:
		z.view.Claims += uint64(b[2] & 1)
	}
}

// step does what five octets say.
func (z *fuzzedMachine) step(b []byte) {
	switch b[0] % 8 {
	case 0, 1:
		z.now += time.Duration(b[1]) * 100 * time.Millisecond
		z.m.Tick(z.now, &z.fx)
	case 2, 3:
		z.news(b[1:])
		if z.renewal {
			z.renewal = false
			z.word = max(z.word, z.m.asked+z.cfg.Lease)
			v := z.view
			v.Nodes, v.Addresses = slices.Clone(v.Nodes), slices.Clone(v.Addresses)
			z.m.Renewed(z.now, v, &z.fx)
		}
	case 4:
		if z.renewal {
			z.renewal = false
			z.m.RenewFailed(z.now, &z.fx)
		}
	case 5:
		if len(z.claims) > 0 {
			c := z.claims[0]
			z.claims = z.claims[1:]
			z.m.Claimed(z.now, c, Result(b[1]%3), &z.fx)
		}
	case 6:
		msg := Message{
			Kind: Kind(b[1] & 3), From: []string{"a", "b", "c", "stranger"}[b[2]&3], To: []string{"a", "b"}[b[2]>>7],
			Epoch: uint64(b[3] >> 4), Sent: z.now - time.Duration(b[3]&15)*time.Second + time.Second, Serving: b[1]&4 != 0,
			Claims: uint64(b[4] & 15), Promise: time.Duration(b[4]) * time.Second,
		}
		if msg.Kind == KindAnswer {
			z.word = max(z.word, msg.Sent+msg.Promise)
		}
		z.m.Receive(z.now, msg.From, &msg, &z.fx)
	case 7:
		z.m.RenewNow(z.now)
		z.gives(b[1:])
	}
	z.settle()
}

// gives has the node give its address away, or get it, as four octets say.
func (z *fuzzedMachine) gives(b []byte) {
	switch b[0] % 5 {
	case 1:
		_, _ = z.m.BeginMove(z.now, x1, "b", time.Duration(b[1])*time.Second)
	case 2:
		z.m.Linger(z.now, x1, z.now+time.Duration(b[1])*time.Second)
	case 3:
		if d := z.m.Grant(z.now, x1, uint64(b[1]&15)); d > 0 && (d > z.cfg.Lease || z.m.mine[x1] != nil && z.m.Until(z.now+d, x1) > z.now+d) {
			z.t.Fatalf("grants %v, and answers itself before it is over", d)
		}
	case 4:
		z.m.Left(x1)
	}
}

// FuzzMachine gives a node's machine renewals, claims' answers and messages in any order and with
// any content: it keeps to one renewal and one claim for an address at a time, promises
// nothing to those that it claims from, and answers for no longer than somebody has given it.
func FuzzMachine(f *testing.F) {
	tick, renew := []byte{0, 20, 0, 0, 0}, []byte{2, 3, 0, 0, 0}
	alone := slices.Concat(tick, renew, []byte{2, 0, 1, 1, 1}, tick, renew, tick)
	f.Add(uint8(0), slices.Concat(alone, alone, []byte{5, 1, 0, 0, 0}, renew))
	f.Add(uint8(1), slices.Concat(alone, []byte{6, 1, 1, 0, 5, 6, 2, 1, 0, 5}, tick, []byte{4, 0, 0, 0, 0}, tick))
	f.Add(uint8(2), slices.Concat(renew, []byte{2, 2, 0, 2, 0}, tick, []byte{0, 255, 0, 0, 0}, renew, tick))
	f.Add(uint8(1), slices.Concat(alone, []byte{7, 1, 9, 0, 0, 7, 2, 30, 0, 0}, tick, []byte{2, 2, 0, 2, 0}, renew, []byte{7, 3, 9, 0, 0, 7, 4, 0, 0, 0}, tick))
	f.Add(uint8(3), slices.Concat(alone, []byte{5, 0, 0, 0, 0, 7, 0, 0, 0, 0}, alone))
	f.Fuzz(func(t *testing.T, kind uint8, ops []byte) {
		z := &fuzzedMachine{t: t, cfg: Config{Node: "a", Epoch: 2, Serves: []netip.AddrPort{x1}}, now: time.Hour}
		if kind&1 != 0 {
			z.cfg.Prefer = z.cfg.Serves
		}
		z.view = View{Members: 1, Nodes: []Node{fuzzNode("a", 0x21, 0x11, 1), fuzzNode("b", 0x11, 0x21, 1), fuzzNode("c", 0x10, 0, 0)},
			Addresses: []Address{{Local: x1, Epoch: 1}, {Local: x2, Epoch: 1}}}
		var saved *Saved
		if kind&2 != 0 {
			z.view.Addresses[0].Owner = "a"
			v := z.view
			v.Nodes, v.Addresses = slices.Clone(v.Nodes), slices.Clone(v.Addresses)
			saved = &Saved{View: v, Seen: 1}
		}
		var err error
		if z.m, err = New(z.cfg, z.now, saved); err != nil {
			t.Fatal(err)
		}
		z.cfg = z.cfg.withDefaults()
		for ; len(ops) >= 5; ops = ops[5:] {
			z.step(ops)
		}
	})
}

// FuzzFaults runs two or three nodes with faults in any order: never do two
// answer for an address, and when all is well again somebody does.
func FuzzFaults(f *testing.F) {
	f.Add(uint64(1), []byte{0, 4, 1, 8, 3, 9})
	f.Add(uint64(2), []byte{4, 9, 5, 3, 0, 2, 6, 4})
	f.Add(uint64(3), []byte{3, 3, 2, 1, 2, 9, 3, 0})
	f.Fuzz(func(t *testing.T, seed uint64, faults []byte) {
		s := newSim(t, seed, []string{"a", "b", "c"}[:2+seed%2]...)
		s.run(30 * time.Second)
		for n := 0; len(faults) >= 2 && n < 8; n++ {
			s.faultOf(int(faults[0]%8), int(faults[0]/8)%len(s.order), int(faults[1]>>4)%len(s.order))
			s.run(time.Duration(faults[1]&15) * 3 * time.Second)
			faults = faults[2:]
		}
		s.heal()
		s.run(90 * time.Second)
		for _, a := range []netip.AddrPort{x1, x2} {
			if len(s.answers(a)) != 1 {
				t.Fatalf("%v answer for %v when all is well:\n%v", s.answers(a), a, s.trace)
			}
		}
	})
}

// FuzzSaved begins a life on whatever an earlier one may have kept on the node's disk, which is
// JSON: it answers for nothing before it has somebody's word for it.
func FuzzSaved(f *testing.F) {
	good, err := json.Marshal(Saved{Seen: 1, View: View{Members: 1, Claims: 2,
		Nodes:     []Node{fuzzNode("a", 0x21, 0x11, 1), fuzzNode("b", 0x11, 0x21, 1)},
		Addresses: []Address{{Local: x1, Owner: "a", Epoch: 3}, {Local: x2, Owner: "b", Epoch: 1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"View":{"Nodes":[{"Name":"a"},{"Name":"a"},{}],"Addresses":[{"Owner":"a"},{}]},"Seen":99}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var saved Saved
		if json.Unmarshal(b, &saved) != nil {
			return
		}
		cfg := Config{Node: "a", Epoch: 2, Serves: []netip.AddrPort{x1, x2}}
		m, err := New(cfg, time.Hour, &saved)
		if err != nil {
			t.Fatal(err)
		}
		alone := true // nobody else could claim, by what was kept
		for _, n := range saved.View.Nodes {
			alone = alone && (n.Name == "a" || !n.Member)
		}
		var fx Effects
		for i := range 20 {
			m.Tick(time.Hour+time.Duration(i)*time.Second, &fx)
			for _, a := range cfg.Serves {
				if until := m.Until(time.Hour+time.Duration(i)*time.Second, a); until > 0 && !alone {
					t.Fatalf("answers for %v until %v, and has nobody's word", a, until)
				}
			}
		}
		if len(fx.Claims) > 0 {
			t.Fatalf("claims %+v, and has not heard of the database", fx.Claims)
		}
	})
}
