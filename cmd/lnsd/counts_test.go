package main

import (
	"net/netip"
	"slices"
	"testing"

	"culvert/lns/dataplane"
)

// countedPlane is a plane's counters.
type countedPlane struct {
	dataplane.Mover
	list []dataplane.Counted
	// read is called when they have been read.
	read func()
}

// Counts implements dataplane.Mover.
func (p *countedPlane) Counts(f func(dataplane.Counted)) {
	for _, c := range p.list {
		f(c)
	}
	if p.read != nil {
		p.read()
	}
}

// TestCountsOfAnAddressThatGoes tells what sessions have counted, but not of an address from when its last word is asked
// for: its new owner is told by this node, and would count twice what the database has as well.
func TestCountsOfAnAddressThatGoes(t *testing.T) {
	stays, goes := dataplane.Key{Listener: 0, Tunnel: 1, Session: 1}, dataplane.Key{Listener: 1, Tunnel: 1, Session: 1}
	count := func(n uint64) []dataplane.Counted {
		return []dataplane.Counted{{Key: stays, Counters: dataplane.Counters{InOctets: n}}, {Key: goes, Counters: dataplane.Counters{InOctets: n}}}
	}
	c := counting{local: make([]netip.AddrPort, 2), told: map[dataplane.Key]dataplane.Counters{}}
	going := false
	handingOver := func(listener uint16) bool { return going && listener == 1 }
	plane := &countedPlane{list: count(1)}
	step := func(what string, want ...dataplane.Key) {
		t.Helper()
		var got []dataplane.Key
		list := c.news(plane, handingOver)
		for _, x := range list {
			got = append(got, x.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: told of %v, want %v", what, got, want)
		}
		c.keep(list)
	}
	step("at first", stays, goes)
	step("nothing new")
	plane.list = count(2)
	plane.read = func() { going = true }
	step("it begins to go while the counters are read", stays)
	plane.list = count(3)
	step("it goes", stays)
	going, plane.read = false, nil
	step("it has stayed after all", goes)
}
