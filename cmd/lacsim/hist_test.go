package main

import (
	"testing"
	"time"
)

func TestBucketsAreConsecutive(t *testing.T) {
	last := -1
	for us := uint64(0); us < 1<<20; us++ {
		i := bucketOf(us)
		if i != last && i != last+1 {
			t.Fatalf("%d us is in bucket %d after %d", us, i, last)
		}
		if top := bucketTop(i); us > top || float64(top-us) > float64(us)/histSub+1 {
			t.Fatalf("%d us is in bucket %d, whose top is %d", us, i, top)
		}
		last = i
	}
	if bucketOf(1<<62) != histBuckets-1 {
		t.Error("a huge value has no bucket")
	}
}

func TestPercentiles(t *testing.T) {
	var a, b histogram
	for i := 1; i <= 1000; i++ {
		h := &a
		if i%2 == 0 {
			h = &b
		}
		h.add(time.Duration(i) * time.Millisecond)
	}
	var h histogram
	h.merge(&a)
	h.merge(&b)
	h.merge(&histogram{})
	for _, c := range []struct {
		p    float64
		want time.Duration
	}{{0, time.Millisecond}, {0.5, 500 * time.Millisecond}, {0.9, 900 * time.Millisecond}, {0.99, 990 * time.Millisecond}, {1, time.Second}} {
		if got := h.percentile(c.p); got < c.want || float64(got) > 1.04*float64(c.want) {
			t.Errorf("percentile %v is %v, want %v", c.p, got, c.want)
		}
	}
	got := h.times()
	if got.Count != 1000 || got.Min != 1 || got.Max != 1000 || got.Mean != 500.5 {
		t.Errorf("%+v", got)
	}
	if (new(histogram)).times() != (times{}) || new(histogram).percentile(0.5) != 0 {
		t.Error("an empty histogram says something")
	}
}
