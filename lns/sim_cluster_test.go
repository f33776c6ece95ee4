package lns

import (
	"flag"
	"testing"
)

var (
	clusterSeeds = flag.Uint64("clusterseeds", 15, "how many fixed seeds TestClusterSimulation runs, from -first on")
	clusterFresh = flag.Duration("clusterfresh", 0, "how long TestClusterSimulation goes on with seeds nobody has run before")
)

var wholeCluster = simulation{"TestClusterSimulation", newClusterPlan, simulateCluster}

// TestClusterSimulation runs plans of fixed seeds, then of fresh ones for a while, as TestSimulation does.
func TestClusterSimulation(t *testing.T) { wholeCluster.runs(t, *clusterSeeds, *clusterFresh) }
