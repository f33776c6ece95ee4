package outbox

import (
	"fmt"
	"testing"
	"time"

	"culvert/aaa"
)

// deaf refuses the first records and takes the others, at once.
type deaf struct{ refuse, got int }

func (d *deaf) Account(_ *aaa.Usage, done func(error)) {
	if d.refuse > 0 {
		d.refuse--
		done(fmt.Errorf("test: %w", aaa.ErrUnavailable))
		return
	}
	d.got++
	done(nil)
}

// TestManual steps an outbox in virtual time.
func TestManual(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, a := newStore(), &deaf{refuse: 1}
	o := NewManual(Config{Now: func() time.Time { return now }, Rand: func(int64) int64 { return 0 }}, s, a)
	o.Submit(s.put(rec(1, aaa.UsageStart, "a"), rec(2, aaa.UsageStop, "a")))
	if !o.Woken() || o.Woken() {
		t.Fatal("a submission does not wake once")
	}
	if a.refuse != 1 {
		t.Fatal("it acted without Step")
	}
	wait := o.Step()
	if a.refuse != 0 || a.got != 0 || wait != time.Second {
		t.Fatalf("after a refusal: %d got, wait %v", a.got, wait)
	}
	now = now.Add(wait - time.Millisecond)
	if wait = o.Step(); a.got != 0 || wait != time.Millisecond {
		t.Fatalf("before it is due: %d got, wait %v", a.got, wait)
	}
	now = now.Add(wait)
	s.fail = fmt.Errorf("test: no disk")
	if wait = o.Step(); a.got != 2 || wait > time.Second || s.len() != 2 {
		t.Fatalf("with a failing journal: %d got, wait %v, %d entries", a.got, wait, s.len())
	}
	s.fail = nil
	now = now.Add(wait)
	if o.Step(); s.len() != 0 || o.Stats().Pending != 0 {
		t.Errorf("%d entries, %+v", s.len(), o.Stats())
	}
}
