// Package storetest is the conformance suite of every sessiondb.Store, and
// has one that keeps everything in memory.
package storetest

import (
	"context"
	"errors"
	"iter"
	"testing"

	"culvert/sessiondb"
)

// Node is the node whose state the suite stores; a store that belongs to one
// node must be opened as this one.
const Node = "node-1"

// Run tests the stores that open makes. Each call of open gives an empty
// store, which the suite closes. A store may make sure that no two sessions
// have one address: the suite never needs that they do.
func Run(t *testing.T, open func(t *testing.T) sessiondb.Store) {
	for name, test := range map[string]func(*testing.T, sessiondb.Store){
		"Tunnels":        testTunnels,
		"Sessions":       testSessions,
		"Calls":          testCalls,
		"Entries":        testEntries,
		"Objects":        testObjects,
		"BatchOrder":     testBatchOrder,
		"AddressMoves":   testAddressMoves,
		"Again":          testAgain,
		"AllOrNone":      testAllOrNone,
		"Cancelled":      testCancelled,
		"ReadWhileWrite": testReadWhileWrite,
		"Concurrent":     testConcurrent,
		"RandomWalk":     testRandomWalk,
		"Closed":         testClosed,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil && !errors.Is(err, sessiondb.ErrClosed) {
					t.Errorf("closing: %v", err)
				}
			})
			test(t, s)
		})
	}
}

// apply makes the changes or fails the test.
func apply(t *testing.T, s sessiondb.Store, changes ...sessiondb.Change) {
	t.Helper()
	if err := s.Apply(t.Context(), changes); err != nil {
		t.Fatalf("applying %d changes: %v", len(changes), err)
	}
}

// collect reads all of one kind or fails the test.
func collect[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatalf("after %d records: %v", len(all), err)
		}
		all = append(all, v)
	}
	return all
}

// Same tells, as an error, the first difference between what two stores hold
// for their node.
func Same(ctx context.Context, got, want sessiondb.Store) error {
	return errors.Join(
		same("tunnel", got.Tunnels(ctx), want.Tunnels(ctx), (*sessiondb.Tunnel).Equal),
		same("session", got.Sessions(ctx), want.Sessions(ctx), (*sessiondb.Session).Equal),
		same("entry", got.Entries(ctx), want.Entries(ctx), (*sessiondb.Entry).Equal),
		same("object", got.Objects(ctx, ""), want.Objects(ctx, ""), (*sessiondb.Object).Equal),
	)
}
