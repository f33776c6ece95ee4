package lns

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	clusterSeeds = flag.Uint64("clusterseeds", 15, "how many fixed seeds TestClusterSimulation runs, from -first on")
	clusterFresh = flag.Duration("clusterfresh", 0, "how long TestClusterSimulation goes on with seeds nobody has run before")
)

var wholeCluster = simulation{"TestClusterSimulation", newClusterPlan, simulateCluster}

// TestClusterSimulation runs plans of fixed seeds, then of fresh ones for a while, as TestSimulation does.
func TestClusterSimulation(t *testing.T) {
	kind := wholeCluster
	if *simSeed != 0 {
		kind.replay(t, *simSeed)
		return
	}
	for seed := *simFirst; seed < *simFirst+*clusterSeeds; seed++ {
		if !kind.survives(t, seed) {
			return
		}
	}
	n, end := 0, time.Now().Add(*clusterFresh)
	for seed := rand.Uint64N(1 << 48); time.Now().Before(end); seed++ {
		if !kind.survives(t, seed) {
			return
		}
		n++
	}
	t.Logf("%d fixed seeds, %d fresh ones", *clusterSeeds, n)
}
