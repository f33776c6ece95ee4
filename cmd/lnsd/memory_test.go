package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestGCFloor(t *testing.T) {
	for _, x := range []struct {
		name, gogc string
		limit      int64
		want       int
	}{
		{"nobody has decided", "", math.MaxInt64, gcFloor},
		{"GOGC is set", "100", math.MaxInt64, 0},
		{"GOMEMLIMIT is set", "", 1 << 30, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Setenv("GOGC", x.gogc)
			defer debug.SetMemoryLimit(debug.SetMemoryLimit(x.limit))
			if n := len(raiseGCFloor()); n != x.want {
				t.Errorf("%d octets, want %d", n, x.want)
			}
		})
	}
}
