package storetest

import (
	"testing"

	"culvert/sessiondb"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) sessiondb.Store { return &Memory{} })
}
