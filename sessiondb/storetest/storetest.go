// Package storetest is the conformance suite of every sessiondb.Store.
package storetest

import (
	"testing"

	"culvert/sessiondb"
)

// Node is the node whose state the suite stores; a store that belongs to one
// node must be opened as this one.
const Node = "node-1"

// Run tests stores that open makes. Each call of open gives an empty store;
// the suite closes it.
func Run(t *testing.T, open func(t *testing.T) sessiondb.Store) {
	t.Run("Empty", func(t *testing.T) {
		s := open(t)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
