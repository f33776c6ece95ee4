package ippool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"culvert/aaa"
)

func ranges(t testing.TB, texts ...string) (out []Range) {
	t.Helper()
	for _, s := range texts {
		r, err := ParseRange(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func newPools(t testing.TB, texts ...string) *Pools {
	t.Helper()
	p, err := New(Config{Pools: []Pool{{Name: "main", Ranges: ranges(t, texts...)}}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var anyAddr netip.Addr

// take acquires from the default pool and must succeed.
func take(t testing.TB, p *Pools, user string, owner uint64) netip.Addr {
	t.Helper()
	a, err := p.Acquire("", anyAddr, user, owner)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParseRange(t *testing.T) {
	good := map[string]string{
		"192.0.2.0/24": "192.0.2.0-192.0.2.255", "192.0.2.77/30": "192.0.2.76-192.0.2.79", "10.0.0.1/32": "10.0.0.1-10.0.0.1",
		"192.0.2.10-192.0.2.20": "192.0.2.10-192.0.2.20", "192.0.2.7": "192.0.2.7-192.0.2.7", "0.0.0.0/0": "0.0.0.0-255.255.255.255",
	}
	for s, want := range good {
		if r, err := ParseRange(s); err != nil || r.String() != want {
			t.Errorf("%s: got %s, %v", s, r, err)
		}
	}
	for _, s := range []string{"", "x", "192.0.2.0/33", "2001:db8::/64", "2001:db8::1", "192.0.2.9-192.0.2.8", "192.0.2.9-", "192.0.2.9-x", "::1-::2"} {
		if r, err := ParseRange(s); err == nil {
			t.Errorf("%q gives %s", s, r)
		}
	}
}

func TestValidate(t *testing.T) {
	pool := func(name string, texts ...string) Pool { return Pool{Name: name, Ranges: ranges(t, texts...)} }
	empty := pool("a", "10.0.0.0/30")
	empty.Exclude = ranges(t, "10.0.0.0/24")
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"good", Config{Pools: []Pool{pool("a", "10.0.0.0/24", "10.0.2.0/24"), pool("b", "10.0.1.0/24")}, Default: "b"}, ""},
		{"none", Config{}, ""},
		{"no name", Config{Pools: []Pool{pool("", "10.0.0.0/24")}}, "needs a name"},
		{"twice", Config{Pools: []Pool{pool("a", "10.0.0.0/24"), pool("a", "10.0.1.0/24")}}, "needs a name of its own"},
		{"overlap of pools", Config{Pools: []Pool{pool("a", "10.0.0.0/24"), pool("b", "10.0.0.128/25")}}, "in pools a and b"},
		{"overlap within", Config{Pools: []Pool{pool("a", "10.0.0.0/24", "10.0.0.255-10.0.1.4")}}, "10.0.0.255 is given twice"},
		{"no range", Config{Pools: []Pool{{Name: "a"}}}, "no address to hand out"},
		{"all excluded", Config{Pools: []Pool{empty}}, "no address to hand out"},
		{"too large", Config{Pools: []Pool{pool("a", "0.0.0.0/0")}}, "at most"},
		{"default", Config{Pools: []Pool{pool("a", "10.0.0.0/24")}, Default: "b"}, "does not exist"},
		{"IPv6", Config{Pools: []Pool{{Name: "a", Ranges: []Range{Prefix(netip.MustParsePrefix("2001:db8::/64"))}}}}, "not IPv4"},
		{"remember", Config{Pools: []Pool{pool("a", "10.0.0.0/24")}, Remember: -1}, "negative"},
	}
	for _, test := range tests {
		err := test.cfg.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

// A /24 gives 256 addresses, and every one of them once.
func TestWholeBlockIsUsed(t *testing.T) {
	p := newPools(t, "192.0.2.0/24")
	seen := map[netip.Addr]bool{}
	for i := range 256 {
		a := take(t, p, fmt.Sprint("u", i), uint64(i))
		if want := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}); a != want || seen[a] {
			t.Fatalf("address %d is %s, want %s", i, a, want)
		}
		seen[a] = true
	}
	if _, err := p.Acquire("main", anyAddr, "late", 999); !errors.Is(err, aaa.ErrPoolFull) || !strings.Contains(err.Error(), "256") {
		t.Errorf("got %v, want ErrPoolFull", err)
	}
	if u := p.Usage(); u[0] != (Usage{Name: "main", Size: 256, Used: 256, Acquired: 256, Full: 1}) {
		t.Errorf("usage %+v", u)
	}
	p.Release(netip.MustParseAddr("192.0.2.77"), 77)
	if a := take(t, p, "late", 999); a.String() != "192.0.2.77" {
		t.Errorf("got %s", a)
	}
}

func TestExclusionsAndEdges(t *testing.T) {
	p, err := New(Config{Pools: []Pool{{Name: "main", SkipEdges: true,
		Ranges: ranges(t, "192.0.2.0/29", "192.0.2.100", "10.0.0.0/31"), Exclude: ranges(t, "192.0.2.3-192.0.2.4")}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"10.0.0.0", "10.0.0.1", "192.0.2.1", "192.0.2.2", "192.0.2.5", "192.0.2.6", "192.0.2.100"}
	for i, w := range want {
		if a := take(t, p, "", uint64(i)); a.String() != w {
			t.Errorf("address %d is %s, want %s", i, a, w)
		}
	}
	if _, err := p.Acquire("", anyAddr, "", 99); !errors.Is(err, aaa.ErrPoolFull) {
		t.Errorf("got %v", err)
	}
	// An excluded address may be given on purpose.
	x := netip.MustParseAddr("192.0.2.3")
	if a, err := p.Acquire("", x, "fixed", 100); a != x || err != nil || p.Fixed() != 1 {
		t.Errorf("got %s, %v", a, err)
	}
}

func TestSameUserSameAddress(t *testing.T) {
	p := newPools(t, "192.0.2.0/29")
	a := take(t, p, "ann", 1)
	p.Release(a, 1)
	for i := range 6 {
		b := take(t, p, fmt.Sprint("other", i), uint64(10+i))
		if b == a {
			t.Fatal("ann's address went to somebody else while others were free")
		}
	}
	if again := take(t, p, "ann", 2); again != a {
		t.Errorf("ann got %s, had %s", again, a)
	}
	// A second session of hers gets another, and the full pool takes hers in the end.
	second := take(t, p, "ann", 3)
	if second == a {
		t.Fatal("one address for two sessions")
	}
	p.Release(a, 2)
	if c := take(t, p, "new", 4); c != a {
		t.Errorf("got %s, want the only free one", c)
	}
	p.Release(second, 3)
	if d := take(t, p, "ann", 5); d != second {
		t.Errorf("got %s, want her latest", d)
	}
}

// Of the free addresses the one that has been free longest goes first.
func TestReuseIsLate(t *testing.T) {
	p := newPools(t, "192.0.2.0/30")
	var got []netip.Addr
	for i := range 4 {
		got = append(got, take(t, p, fmt.Sprint("u", i), uint64(i)))
	}
	for _, i := range []int{2, 0, 3, 1} {
		p.Release(got[i], uint64(i))
	}
	for _, i := range []int{2, 0, 3, 1} {
		if a := take(t, p, "new", 10); a != got[i] {
			t.Errorf("got %s, want %s", a, got[i])
		}
	}
}

func TestWantedAddress(t *testing.T) {
	p := newPools(t, "192.0.2.0/24")
	for _, s := range []string{"192.0.2.0", "192.0.2.5", "10.9.8.7", "2001:db8::1"} {
		want := netip.MustParseAddr(s)
		if a, err := p.Acquire("no such pool matters", want, "ann", 1); a != want || err != nil {
			t.Fatalf("%s: got %s, %v", s, a, err)
		}
		if a, err := p.Acquire("", want, "ann", 1); a != want || err != nil {
			t.Errorf("%s: its holder cannot have it again: %v", s, err)
		}
		_, err := p.Acquire("", want, "bob", 2)
		var use *aaa.AddressInUseError
		if !errors.Is(err, aaa.ErrAddressInUse) || !errors.As(err, &use) || use.Owner != 1 || use.User != "ann" || use.Address != want {
			t.Errorf("%s: got %v", s, err)
		}
		p.Release(want, 2)
		if user, owner, ok := p.Holder(want); user != "ann" || owner != 1 || !ok {
			t.Errorf("%s: held by %q, %d, %t", s, user, owner, ok)
		}
	}
	// The pool goes on around them.
	for i := range 254 {
		if a := take(t, p, "", uint64(100+i)); a.String() == "192.0.2.0" || a.String() == "192.0.2.5" {
			t.Fatalf("%s was given twice", a)
		}
	}
	if u := p.Usage()[0]; u.Used != 256 || u.Conflicts != 2 || p.Fixed() != 2 {
		t.Errorf("usage %+v, fixed %d", u, p.Fixed())
	}
	p.Release(netip.MustParseAddr("10.9.8.7"), 1)
	if _, _, ok := p.Holder(netip.MustParseAddr("10.9.8.7")); ok || p.Fixed() != 1 {
		t.Error("a fixed address was not released")
	}
	mapped := netip.MustParseAddr("::ffff:192.0.2.5")
	if err := p.Reserve(mapped, "bob", 9); !errors.Is(err, aaa.ErrAddressInUse) {
		t.Errorf("a mapped address is another: %v", err)
	}
}

func TestNoPool(t *testing.T) {
	p := newPools(t, "192.0.2.0/24")
	if _, err := p.Acquire("gold", anyAddr, "ann", 1); !errors.Is(err, aaa.ErrNoPool) || !strings.Contains(err.Error(), "gold") {
		t.Errorf("got %v", err)
	}
	none, _ := New(Config{})
	if _, err := none.Acquire("", anyAddr, "ann", 1); !errors.Is(err, aaa.ErrNoPool) {
		t.Errorf("got %v", err)
	}
}

// What a large pool remembers of users who are gone stays within bounds.
func TestMemoryIsBounded(t *testing.T) {
	p, err := New(Config{Remember: 100, Pools: []Pool{{Name: "main", Ranges: ranges(t, "10.0.0.0/8")}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		a := take(t, p, fmt.Sprint("u", i), uint64(i))
		p.Release(a, uint64(i))
	}
	pl, blocks := p.pools[0], 0
	for _, b := range pl.blocks {
		if b != nil {
			blocks++
		}
	}
	if blocks != 1 || len(pl.last) != 100 {
		t.Errorf("%d blocks in memory, %d users remembered", blocks, len(pl.last))
	}
}

// A model checks every step of a long random run.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		p := newPools(t, "10.0.0.0/26", "10.0.1.0/28", "10.0.2.7")
		const size = 64 + 16 + 1
		held := map[netip.Addr]uint64{}
		for step := range 5000 {
			owner := rnd.Uint64N(200)
			user := fmt.Sprint("u", owner%50)
			switch rnd.IntN(4) {
			case 0, 1:
				a, err := p.Acquire("", anyAddr, user, owner)
				if full := len(held) == size; full != (err != nil) {
					t.Fatalf("seed %d step %d: %v with %d held", seed, step, err, len(held))
				}
				if err != nil {
					continue
				}
				if _, twice := held[a]; twice {
					t.Fatalf("seed %d step %d: %s twice", seed, step, a)
				}
				held[a] = owner
			case 2:
				want := address(number(netip.MustParseAddr("10.0.0.0")) + rnd.Uint32N(64))
				holder, taken := held[want]
				err := p.Reserve(want, user, owner)
				if (err != nil) != (taken && holder != owner) {
					t.Fatalf("seed %d step %d: %s: %v", seed, step, want, err)
				}
				if err == nil {
					held[want] = owner
				}
			case 3:
				for a, o := range held {
					p.Release(a, o+1)
					p.Release(a, o)
					delete(held, a)
					if rnd.IntN(3) == 0 {
						break
					}
				}
			}
			if u := p.Usage()[0]; u.Used != len(held) || u.Size != size {
				t.Fatalf("seed %d step %d: %+v with %d held", seed, step, u, len(held))
			}
		}
	}
}

func TestConcurrency(t *testing.T) {
	p := newPools(t, "10.0.0.0/22")
	var held sync.Map
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				owner := uint64(w*100000 + i)
				a, err := p.Acquire("", anyAddr, fmt.Sprint("u", i%300), owner)
				if err != nil {
					t.Error(err)
					return
				}
				if o, twice := held.LoadOrStore(a, owner); twice {
					t.Errorf("%s is held by %d and %d", a, o, owner)
				}
				held.Delete(a)
				p.Release(a, owner)
			}
		})
	}
	wg.Wait()
	if u := p.Usage()[0]; u.Used != 0 {
		t.Errorf("usage %+v", u)
	}
}

// BenchmarkAcquireRelease is in a pool of 262,144 addresses of which 200,000 are in use.
func BenchmarkAcquireRelease(b *testing.B) {
	p := newPools(b, "10.0.0.0/14")
	users := make([]string, 250000)
	for i := range users {
		users[i] = fmt.Sprint("user", i, "@isp")
	}
	held := make([]netip.Addr, 200000)
	for i := range held {
		held[i] = take(b, p, users[i], uint64(i))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		k := i % len(held)
		p.Release(held[k], uint64(k))
		held[k], _ = p.Acquire("", anyAddr, users[(i*7)%len(users)], uint64(k))
		i++
	}
}
