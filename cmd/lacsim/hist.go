package main

import (
	"math/bits"
	"time"
)

const (
	histSub     = 32 // buckets to an octave: values are known to within 3 %
	histBuckets = 28 * histSub
)

// histogram counts durations from a microsecond to an hour.
type histogram struct {
	n        uint64
	sum      time.Duration
	min, max time.Duration
	buckets  [histBuckets]uint32
}

// bucketOf is the bucket of a number of microseconds.
func bucketOf(us uint64) int {
	if us < histSub {
		return int(us)
	}
	shift := bits.Len64(us) - 6
	return min((shift+1)*histSub+int(us>>shift)-histSub, histBuckets-1)
}

// bucketTop is the largest number of microseconds in a bucket.
func bucketTop(i int) uint64 {
	if i < histSub {
		return uint64(i)
	}
	shift := i/histSub - 1
	return uint64(i%histSub+histSub+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.n++
	h.sum += d
	h.buckets[bucketOf(uint64(d/time.Microsecond))]++
}

func (h *histogram) merge(o *histogram) {
	if o.n == 0 {
		return
	}
	if h.n == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	h.n += o.n
	h.sum += o.sum
	for i, c := range o.buckets {
		h.buckets[i] += c
	}
}

// percentile is the value that p (0 to 1) of the counted are not above.
func (h *histogram) percentile(p float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := max(uint64(p*float64(h.n)+0.999999), 1)
	seen := uint64(0)
	for i, c := range h.buckets {
		if seen += uint64(c); seen >= rank {
			return min(max(time.Duration(bucketTop(i))*time.Microsecond, h.min), h.max)
		}
	}
	return h.max
}

// times is what a report says of a histogram, in milliseconds.
type times struct {
	Count uint64  `json:"count"`
	Min   float64 `json:"min_ms"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func (h *histogram) times() times {
	if h.n == 0 {
		return times{}
	}
	return times{
		Count: h.n, Min: millis(h.min), Mean: millis(h.sum / time.Duration(h.n)),
		P50: millis(h.percentile(0.50)), P90: millis(h.percentile(0.90)), P99: millis(h.percentile(0.99)), Max: millis(h.max),
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
