package lns

import (
	"slices"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/sessiondb"
)

// order notes who has seen an accounting record, in turn.
type order struct {
	aaa.Ledger
	seen []string
}

func (o *order) Submit(list []aaa.Usage) {
	for range list {
		o.seen = append(o.seen, "ledger")
	}
	o.Ledger.Submit(list)
}

// orderSink is the order's sink.
type orderSink struct{ *order }

func (s orderSink) Submit(changes []sessiondb.Change) {
	for _, c := range changes {
		if c.Op == sessiondb.PutEntry {
			s.seen = append(s.seen, "sink")
		}
	}
}

// TestTheSinkSeesARecordBeforeTheLedger: a ledger that is quick drops a
// record's entry at once, and a drop that came first would leave the entry in the store for ever.
func TestTheSinkSeesARecordBeforeTheLedger(t *testing.T) {
	o := &order{}
	change := func(c *Config) {
		o.Ledger = c.Ledger
		c.Ledger, c.Sink = o, orderSink{o}
	}
	r, _, _ := oneUp(t, change)
	r.run(time.Second)
	// The next life closes what it cannot go on with: here, what the LAC has cleared.
	clear(r.journal.calls)
	r.start(change)
	if want := []string{"sink", "ledger", "sink", "ledger"}; !slices.Equal(o.seen, want) {
		t.Errorf("the records of a Start and of the Stop in the next life were seen by %v, want %v", o.seen, want)
	}
}
