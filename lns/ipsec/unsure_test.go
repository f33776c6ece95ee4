package ipsec

import (
	"testing"
	"time"

	"culvert/lns"
)

// TestLinesOutOfOrder: why an attempt failed is told although charon has handed that line over after others.
func TestLinesOutOfOrder(t *testing.T) {
	lines := []string{
		"looking for peer configs matching 10.1.0.1[lns.example.net]...10.3.2.1[lac12.example.net]",
		"constraint check failed: RULE_CRL_VALIDATION is FAILED, but requires at least SKIPPED",
		"constraint requires pre-shared key authentication, but public key was used",
		"no alternative config found",
	}
	for _, order := range [][]int{{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 2, 3, 1}} {
		m, err := New(testListen)
		if err != nil {
			t.Fatal(err)
		}
		h := &heard{}
		m.Notify(h)
		for _, i := range order {
			m.logLine(section("ikesa-name", "culvert-fetched", "ikesa-uniqueid", "7", "msg", lines[i]))
		}
		m.settle(time.Now())
		m.settle(time.Now().Add(settleTime))
		m.settle(time.Now().Add(2 * settleTime))
		if len(h.failures) != 1 || h.failures[0].Reason != lns.IKECertUnknown || h.failures[0].Identity != "lac12.example.net" {
			t.Errorf("%v: %v", order, h)
		}
	}
}
