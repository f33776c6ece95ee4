package l2tp

import (
	"slices"
	"testing"
)

func TestDataSequence(t *testing.T) {
	for _, c := range []struct {
		name   string
		in     []uint16
		passed []uint16
		lost   int
	}{
		{"in order", []uint16{0, 1, 2}, []uint16{0, 1, 2}, 0},
		{"begins anywhere", []uint16{700, 701}, []uint16{700, 701}, 0},
		{"duplicate", []uint16{0, 1, 1, 0, 2}, []uint16{0, 1, 2}, 0},
		{"late", []uint16{0, 2, 1, 3}, []uint16{0, 2, 3}, 1},
		{"gap", []uint16{0, 5, 6}, []uint16{0, 5, 6}, 4},
		{"wraps", []uint16{65534, 65535, 0, 65535, 1}, []uint16{65534, 65535, 0, 1}, 0},
		{"half the numbers ahead", []uint16{0, 32768, 32769}, []uint16{0, 32768, 32769}, 32767},
		{"just beyond half is late", []uint16{0, 32770, 1}, []uint16{0, 1}, 0},
		{"counts anew", append([]uint16{9000, 9001}, span(0, 20)...), append([]uint16{9000, 9001}, span(15, 20)...), 0},
		{"late ones among good ones", []uint16{50, 30, 51, 31, 52, 32, 53, 33}, []uint16{50, 51, 52, 53}, 0},
		{"late ones out of order", append([]uint16{9000}, 5, 4, 3, 2, 1, 9, 8, 7, 6, 20, 18, 16, 14, 12, 10, 11, 0, 9001), []uint16{9000, 9001}, 0},
	} {
		var q DataSequence
		var passed []uint16
		lost := 0
		for _, ns := range c.in {
			n, ok := q.Accept(ns)
			if ok {
				passed = append(passed, ns)
			}
			lost += n
		}
		if !slices.Equal(passed, c.passed) || lost != c.lost {
			t.Errorf("%s: passed %v with %d lost, want %v with %d", c.name, passed, lost, c.passed, c.lost)
		}
	}
}

func span(from, to uint16) (list []uint16) {
	for ; from < to; from++ {
		list = append(list, from)
	}
	return list
}

func FuzzDataSequence(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 1, 0xff, 0xff})
	f.Add([]byte{0x23, 0x28, 0, 0, 0, 1, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		var q DataSequence
		for ; len(b) >= 2; b = b[2:] {
			ns := uint16(b[0])<<8 | uint16(b[1])
			due := q.Next()
			began := q.begun
			missing, ok := q.Accept(ns)
			if ok && q.Next() != ns+1 || !ok && (missing != 0 || q.Next() != due) || missing < 0 || missing > 32767 {
				t.Fatalf("%d when %d was due (%v): missing %d, %v, next %d", ns, due, began, missing, ok, q.Next())
			}
		}
	})
}
