package lac

import "testing"

func TestIDPool(t *testing.T) {
	var p idPool
	for want := uint16(1); want <= 100; want++ {
		if id := p.take(); id != want {
			t.Fatalf("id %d, want %d", id, want)
		}
	}
	for id := uint16(1); id <= quarantine; id++ {
		p.release(id)
	}
	if id := p.take(); id != 101 {
		t.Errorf("id %d was used again at once", id)
	}
	p.release(50)
	if id := p.take(); id != 1 {
		t.Errorf("id %d, want the one released first", id)
	}
}

func TestIDPoolUsesAll(t *testing.T) {
	var p idPool
	seen := map[uint16]bool{}
	for range 65535 {
		id := p.take()
		if id == 0 || seen[id] {
			t.Fatalf("id %d after %d", id, len(seen))
		}
		seen[id] = true
	}
	if id := p.take(); id != 0 {
		t.Errorf("id %d, and all are in use", id)
	}
	for range 3 * 65535 {
		p.release(77)
		if id := p.take(); id != 77 {
			t.Fatalf("id %d, want the only free one", id)
		}
	}
	if len(p.free) > 1000 {
		t.Errorf("the pool keeps %d entries for one free id", len(p.free))
	}
}
