package journal

import (
	"testing"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) sessiondb.Store { return NewMemory() })
}

func TestMemoryReopened(t *testing.T) {
	m := NewMemory()
	if err := m.Apply(t.Context(), entryChange(1)); err != nil {
		t.Fatal(err)
	}
	again := m.Reopen()
	if again.Epoch() != m.Epoch()+1 {
		t.Errorf("epoch %d after %d", again.Epoch(), m.Epoch())
	}
	n := 0
	for e, err := range again.Entries(t.Context()) {
		if err != nil || e.Seq != storetest.EntryOf(1).Seq {
			t.Errorf("entry %+v, error %v", e, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d entries", n)
	}
}
