package ippool

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"culvert/aaa"
)

// FuzzParseRange reads whatever an operator may write: what is taken prints as
// it is read, and a pool of it is made or refused with a reason.
func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"192.0.2.0/24", "192.0.2.10-192.0.2.20", "192.0.2.7", "0.0.0.0/0", "::/0", "10.0.0.9-10.0.0.1", "1.2.3.4/", "-", "::ffff:1.2.3.4"} {
		f.Add(s, "192.0.2.1", true)
	}
	f.Fuzz(func(t *testing.T, text, without string, edges bool) {
		r, err := ParseRange(text)
		if err != nil {
			return
		}
		if again, err := ParseRange(r.String()); err != nil || again != r || r.Last.Less(r.First) {
			t.Fatalf("%q is %v, which is read as %v, %v", text, r, again, err)
		}
		p := Pool{Name: "a", Ranges: []Range{r}, SkipEdges: edges}
		if x, err := ParseRange(without); err == nil {
			p.Exclude = []Range{x}
		}
		spans, err := p.compile(0)
		if err != nil {
			return
		}
		next := uint64(0)
		for _, s := range spans {
			if s.last < s.first || uint64(s.base) != next || s.first < number(r.First) || s.last > number(r.Last) {
				t.Fatalf("%q without %q has the span %+v", text, without, s)
			}
			if len(p.Exclude) > 0 && s.first <= number(p.Exclude[0].Last) && s.last >= number(p.Exclude[0].First) {
				t.Fatalf("%q without %q has %+v", text, without, s)
			}
			next += uint64(s.last-s.first) + 1
		}
		if next == 0 || next > maxPool {
			t.Fatalf("%q has %d addresses", text, next)
		}
	})
}

// FuzzPools takes, asks for and gives back addresses in any order, beside a map
// that says who has what: no address is anybody's twice, and the numbers agree.
func FuzzPools(f *testing.F) {
	f.Add(uint8(0), []byte{0, 1, 0, 2, 8, 1, 0, 1, 0, 3})
	f.Add(uint8(2), []byte{1, 5, 1, 5, 2, 9, 0, 1, 0, 2, 0, 3, 9, 1, 10, 2, 3, 0})
	f.Add(uint8(1), []byte{0, 1, 8, 0, 0, 17, 8, 0, 0, 1, 2, 200, 8, 3})
	f.Fuzz(func(t *testing.T, remember uint8, ops []byte) {
		p, err := New(Config{Remember: int(remember), Pools: []Pool{{Name: "main", Ranges: ranges(t, "10.0.0.0/28", "10.0.1.4-10.0.1.6"), Exclude: ranges(t, "10.0.0.3")}}})
		if err != nil {
			t.Fatal(err)
		}
		held := map[netip.Addr]uint64{}
		var order []netip.Addr
		const size = 16 - 1 + 3
		for ; len(ops) >= 2; ops = ops[2:] {
			owner, user, want := uint64(ops[1]), fmt.Sprint(ops[1]&15), netip.Addr{}
			switch ops[0] & 8 {
			case 0:
				if ops[0]&1 != 0 { // one address, maybe of no pool
					want = netip.AddrFrom4([4]byte{10, 0, ops[0] >> 4 & 1, ops[1] & 31})
				}
				a, err := p.Acquire("", want, user, owner)
				holder, taken := held[a]
				switch {
				case err == nil && taken && holder != owner, err == nil && want.IsValid() && a != want, err == nil && taken && !want.IsValid():
					t.Fatalf("%v, which %d has, was given to %d, who wanted %v", a, holder, owner, want)
				case err == nil:
					held[a] = owner
					order = append(order, a)
				case errors.Is(err, aaa.ErrPoolFull) && p.Usage()[0].Used != size, !errors.Is(err, aaa.ErrPoolFull) && (!taken || holder == owner):
					t.Fatalf("%v was refused: %v", want, err)
				}
			default:
				if len(order) == 0 {
					continue
				}
				a := order[int(ops[1])%len(order)]
				p.Release(a, owner) // of another owner, mostly
				if held[a] == owner {
					delete(held, a)
				}
				if by, ok := held[a]; ok && ops[0]&1 != 0 {
					p.Release(a, by)
					delete(held, a)
				}
			}
			checkPools(t, p, held)
		}
	})
}

// checkPools compares the pools with who should have what.
func checkPools(t *testing.T, p *Pools, held map[netip.Addr]uint64) {
	t.Helper()
	if u := p.Usage()[0]; u.Used+p.Fixed() != len(held) || u.Used > u.Size {
		t.Fatalf("%d addresses are held; %+v, and %d of no pool", len(held), u, p.Fixed())
	}
	for a, owner := range held {
		if _, got, ok := p.Holder(a); !ok || got != owner {
			t.Fatalf("%v is %d's, %v; want %d", a, got, ok, owner)
		}
	}
	pl := p.pools[0]
	n := uint32(0)
	for i := pl.head; i != none; i = pl.slot(i).next {
		if n++; pl.slot(i).used || n > pl.freed {
			t.Fatalf("slot %d of the free list is in use, or the list has no end", i)
		}
	}
	if n != pl.freed || len(pl.last) > int(pl.size) {
		t.Fatalf("%d free slots, counted are %d; %d users are remembered", n, pl.freed, len(pl.last))
	}
}
