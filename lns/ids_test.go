package lns

import (
	"math/rand/v2"
	"testing"
)

func TestIDsAreUniqueAndNotSoonReused(t *testing.T) {
	a := newIDAllocator(0xffff)
	r := rand.New(rand.NewPCG(3, 4))
	inUse := map[uint16]bool{}
	freedAt := map[uint16]int{}
	var list []uint16
	for i := range 300_000 {
		if len(list) > 0 && (r.IntN(2) == 0 || len(list) > 5000) {
			k := r.IntN(len(list))
			id := list[k]
			list[k] = list[len(list)-1]
			list = list[:len(list)-1]
			delete(inUse, id)
			freedAt[id] = i
			a.release(id)
			continue
		}
		id, ok := a.take()
		if !ok || id == 0 || inUse[id] {
			t.Fatalf("step %d: id %d, %v, in use %v", i, id, ok, inUse[id])
		}
		if at, was := freedAt[id]; was && i-at < quarantine/2 {
			t.Fatalf("id %d came back after %d steps", id, i-at)
		}
		inUse[id] = true
		list = append(list, id)
	}
	if a.used != len(list) {
		t.Errorf("used %d, want %d", a.used, len(list))
	}
}

func TestIDsRunOutAndComeBack(t *testing.T) {
	a := newIDAllocator(0xffff)
	for want := 1; want <= 0xffff; want++ {
		if id, ok := a.take(); !ok || int(id) != want {
			t.Fatalf("got %d, %v; want %d", id, ok, want)
		}
	}
	if id, ok := a.take(); ok {
		t.Fatalf("got %d from a full space", id)
	}
	a.release(7)
	if id, ok := a.take(); !ok || id != 7 {
		t.Fatalf("got %d, %v; want the only free id, 7", id, ok)
	}
}

// A node that was killed does not give the tunnel ids of its last life again: LACs that
// have not noticed still send to them.
func TestTunnelIDsOfEarlierLivesRest(t *testing.T) {
	seen := map[uint16]uint32{}
	for epoch := uint32(1); epoch <= lifes; epoch++ {
		a := newAcceptor(1, epoch)
		for range lifeIDs {
			id, ok := a.ids[0].take()
			if before := seen[id]; !ok || before != 0 {
				t.Fatalf("epoch %d: tunnel id %d was given in epoch %d", epoch, id, before)
			}
			seen[id] = epoch
		}
	}
}

// Nobody knows when the ids that lie between restored ones were freed: they come back
// when quarantine others have been freed since, and at once only when there is no other.
func TestRestoredIDsRest(t *testing.T) {
	a := newIDAllocator(2000)
	a.restore([]uint16{400, 990}, 1001)
	a.leap(100)
	first, _ := a.take()
	if first != 1101 {
		t.Errorf("the first id after a leap is %d, want 1101", first)
	}
	a.release(first)
	for i := range quarantine {
		id, ok := a.take()
		if !ok || id < 1102 {
			t.Fatalf("take %d gives %d, %v", i, id, ok)
		}
		a.release(id)
	}
	if id, _ := a.take(); id != 1 {
		t.Errorf("after %d others were freed, %d comes back first, want 1", quarantine, id)
	}
	b := newIDAllocator(10)
	b.restore([]uint16{10}, 0)
	b.leap(100)
	if id, ok := b.take(); !ok || id != 1 {
		t.Errorf("with no fresh id left: %d, %v", id, ok)
	}
}
