package lns

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	simSeed   = flag.Uint64("seed", 0, "replay the simulation of this seed alone, with its history")
	simKeep   = flag.String("keep", "all", "of -seed's events, keep these only: their numbers, with commas; or all, or none")
	simFirst  = flag.Uint64("first", 1, "the first of the fixed seeds")
	simSeeds  = flag.Uint64("seeds", 20, "how many fixed seeds TestSimulation runs, from -first on")
	simShrink = flag.Duration("shrink", 10*time.Second, "how long to look for the least events that make a failure")
	simAll    = flag.Bool("all", false, "go on after a violation, and tell each in one line")
	simFresh  = flag.Duration("fresh", 2*time.Second, "how long TestSimulation goes on with seeds nobody has run before")
)

// simulation is one of the simulators: of a node, or of a cluster.
type simulation struct {
	test     string
	plan     func(seed uint64) *plan
	simulate func(*plan) (*violation, *world)
}

var oneNode = simulation{"TestSimulation", newPlan, simulate}

// TestSimulation runs plans of fixed seeds, then of fresh ones for a while.
func TestSimulation(t *testing.T) {
	oneNode.runs(t, *simSeeds, *simFresh)
}

// runs runs so many fixed seeds, then fresh ones for a while; or -seed alone.
func (s simulation) runs(t *testing.T, seeds uint64, fresh time.Duration) {
	t.Helper()
	if *simSeed != 0 {
		s.replay(t, *simSeed)
		return
	}
	began, bad := time.Now(), 0
	for seed := *simFirst; seed < *simFirst+seeds; seed++ {
		if !s.survives(t, seed) {
			if bad++; !*simAll {
				return
			}
		}
		if seed%100 == 0 && *simAll {
			t.Logf("seed %d done, %d violations so far, %v", seed, bad, time.Since(began).Round(time.Second))
		}
	}
	n, end := 0, time.Now().Add(fresh)
	for seed := rand.Uint64N(1 << 48); time.Now().Before(end); seed++ {
		if !s.survives(t, seed) {
			if bad++; !*simAll {
				return
			}
		}
		n++
	}
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	t.Logf("%d fixed seeds, %d fresh ones, %d violations, %.1f s of processor time", seeds, n, bad,
		float64(used.Utime.Nano()+used.Stime.Nano())/1e9)
}

// survives runs one seed. A failure is told with the least of the plan's events that still make it.
func (s simulation) survives(t *testing.T, seed uint64) bool {
	t.Helper()
	v, _ := s.simulate(s.plan(seed))
	if v == nil {
		return true
	}
	if *simAll {
		t.Errorf("seed %d: %.300v", seed, v)
		return false
	}
	p, v := s.shrink(seed, v, *simShrink)
	t.Errorf("%v\n%v\nagain: go test ./lns -run '^%s$' -v -seed %d -keep %s", v, p, s.test, seed, p.kept())
	return false
}

// replay runs one seed and tells all.
func (s simulation) replay(t *testing.T, seed uint64) {
	p := s.plan(seed)
	p.verbose = true
	p.keep(*simKeep)
	v, w := s.simulate(p)
	t.Logf("%v\n%s", p, strings.Join(w.history.last(), "\n"))
	if v != nil {
		t.Error(v)
	}
}

// shrink takes events out of a plan for as long as the same invariant is violated.
func (s simulation) shrink(seed uint64, v *violation, patience time.Duration) (*plan, *violation) {
	best, end := s.plan(seed), time.Now().Add(patience)
	for again := true; again; {
		again = false
		for i := range best.actions {
			if best.actions[i].skip || time.Now().After(end) {
				continue
			}
			p := s.plan(seed)
			p.keep(best.kept())
			p.actions[i].skip = true
			if u, _ := s.simulate(p); u != nil && u.invariant == v.invariant {
				best, v, again = p, u, true
			}
		}
	}
	return best, v
}

// keep skips all actions but those listed.
func (p *plan) keep(list string) {
	if list == "all" {
		return
	}
	keep := map[string]bool{}
	for _, n := range strings.Split(list, ",") {
		keep[n] = true
	}
	for i := range p.actions {
		p.actions[i].skip = !keep[strconv.Itoa(i)]
	}
}

// kept lists the actions as keep reads them.
func (p *plan) kept() string {
	var list []string
	for i := range p.actions {
		if !p.actions[i].skip {
			list = append(list, fmt.Sprint(i))
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ",")
}
