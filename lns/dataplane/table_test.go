package dataplane_test

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"

	"culvert/lns/dataplane"
)

// TestTable does what a map does, in random order, with many collisions and dead slots.
func TestTable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	table, model := dataplane.NewTable(), make(map[dataplane.Key]bool)
	key := func() dataplane.Key {
		return dataplane.Key{Listener: uint16(rnd.IntN(2)), Tunnel: uint16(rnd.IntN(20)), Session: uint16(rnd.IntN(20))}
	}
	for range 200_000 {
		k := key()
		switch {
		case !model[k] && rnd.IntN(2) == 0:
			table.Put(k)
			model[k] = true
		case rnd.IntN(2) == 0:
			if table.Remove(k) != model[k] {
				t.Fatalf("removing %v: there %v", k, model[k])
			}
			delete(model, k)
		}
		if k = key(); table.Has(k) != model[k] {
			t.Fatalf("%v: there %v, want %v", k, !model[k], model[k])
		}
	}
	if n := table.Slots(); n > 4096 {
		t.Errorf("%d slots for at most 800 sessions", n)
	}
}

// TestTableReaders looks keys up while others come and go: what stays is always found,
// and nothing else is found in its place.
func TestTableReaders(t *testing.T) {
	table := dataplane.NewTable()
	for n := range uint16(100) {
		table.Put(dataplane.Key{Tunnel: 1, Session: n})
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for n := uint16(0); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if !table.Has(dataplane.Key{Tunnel: 1, Session: n % 100}) {
					t.Error("a session that stays was not found")
					return
				}
			}
		})
	}
	for round := range uint16(50) {
		for n := range uint16(200) {
			table.Put(dataplane.Key{Tunnel: 2 + round, Session: n})
		}
		for n := range uint16(200) {
			table.Remove(dataplane.Key{Tunnel: 2 + round, Session: n})
		}
	}
	close(stop)
	readers.Wait()
}

// TestRoutes compares the trie with a list that is searched from end to end.
func TestRoutes(t *testing.T) {
	const owners = 8
	rnd := rand.New(rand.NewPCG(3, 4))
	type entry struct{ owner int }
	table, model := dataplane.NewRoutes(owners), make(map[netip.Prefix]entry)
	address := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(rnd.IntN(2)), byte(rnd.IntN(3)), byte(rnd.IntN(256))})
	}
	find := func(a netip.Addr) int {
		best, found := -1, -1
		for p, e := range model {
			if p.Contains(a) && p.Bits() > best {
				best, found = p.Bits(), e.owner
			}
		}
		return found
	}
	for range 20_000 {
		p := netip.PrefixFrom(address(), 32-rnd.IntN(1+rnd.IntN(28))).Masked()
		owner := rnd.IntN(owners)
		if rnd.IntN(2) == 0 {
			table.Put(p, owner)
			model[p] = entry{owner}
		} else {
			table.Remove(p, owner) // nothing happens unless it is the owner's
			if e, ok := model[p]; ok && e.owner == owner {
				delete(model, p)
			}
		}
		if a := address(); table.Find(a) != find(a) {
			t.Fatalf("%v goes to %d, want %d", a, table.Find(a), find(a))
		}
	}
	for p, e := range model {
		table.Remove(p, e.owner)
	}
	if n := table.Nodes(); n != 0 {
		t.Errorf("%d nodes are left of nothing", n)
	}
	table.Put(netip.MustParsePrefix("0.0.0.0/0"), 3)
	if got := table.Find(netip.MustParseAddr("255.255.255.255")); got != 3 {
		t.Errorf("the default route goes to %d", got)
	}
}
