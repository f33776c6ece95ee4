package early

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// model is what a store should do, told plainly: the newest packets that fit.
type model struct{ list []modelled }

type modelled struct {
	id   spi
	b    []byte
	when time.Duration
}

func (m *model) take(id spi, now time.Duration) (got [][]byte) {
	m.list = slices.DeleteFunc(m.list, func(p modelled) bool {
		if p.id == id && now-p.when <= keepFor {
			got = append(got, p.b)
		}
		return p.id == id || now-p.when > keepFor
	})
	return got
}

// TestStore compares a small store with the model: what it gives is what came for that SPI last, in order and
// unharmed; older packets may be missing where there was no room, and none comes twice.
func TestStore(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	ids := []spi{{netip.MustParseAddr("192.0.2.1"), 1}, {netip.MustParseAddr("192.0.2.1"), 2}, {netip.MustParseAddr("2001:db8::1"), 1}}
	s, m := &store{octets: make([]byte, 2500), packets: make([]kept, 12)}, model{}
	now, given, missing := time.Duration(0), 0, 0
	for i := range 100_000 {
		now += time.Duration(rng.IntN(int(keepFor / 6)))
		id := ids[rng.IntN(len(ids))]
		if rng.IntN(4) > 0 {
			b := bytes.Repeat([]byte{byte(i)}, 1+rng.IntN(400))
			s.add(id, b, now)
			m.list = append(m.list, modelled{id, b, now})
			continue
		}
		want := m.take(id, now)
		var got [][]byte
		s.take(id, now, func(b []byte) { got = append(got, bytes.Clone(b)) })
		missing, given = missing+len(want)-len(got), given+len(got)
		if len(got) > len(want) || !slices.EqualFunc(got, want[len(want)-len(got):], bytes.Equal) {
			t.Fatalf("step %d: gave %x, want the last of %x", i, got, want)
		}
	}
	if given < 4*missing || missing == 0 {
		t.Errorf("%d packets given, %d had no room", given, missing)
	}
}

// TestStoreRoom: all of the room is used, and a packet larger than it is left out.
func TestStoreRoom(t *testing.T) {
	s, id := newStore(), spi{netip.MustParseAddr("192.0.2.1"), 7}
	s.add(id, make([]byte, storeOctets+1), 0)
	for i := range storePackets + 1 {
		s.add(id, fmt.Append(nil, i), 0)
	}
	n := 0
	s.take(id, keepFor, func(b []byte) {
		if n++; string(b) != fmt.Sprint(n) {
			t.Fatalf("packet %d is %q", n, b)
		}
	})
	if n != storePackets {
		t.Errorf("%d packets were kept, want %d", n, storePackets)
	}
	s.add(id, []byte("x"), 0)
	s.take(id, keepFor+1, func([]byte) { t.Error("given though it is too old") })
}

func BenchmarkStore(b *testing.B) {
	s, id, packet := newStore(), spi{netip.MustParseAddr("192.0.2.1"), 7}, make([]byte, 1500)
	b.ReportAllocs()
	for b.Loop() {
		s.add(id, packet, 0)
	}
}
