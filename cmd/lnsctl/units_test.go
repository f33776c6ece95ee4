package main

import (
	"testing"
	"time"
)

func TestOctets(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.00 kB", 9994: "9.99 kB", 9995: "10.0 kB", 99_949: "99.9 kB", 99_950: "100 kB",
		999_499: "999 kB", 999_500: "1.00 MB", 123_456_789: "123 MB", 4_700_000_000: "4.70 GB", 1<<64 - 1: "18.4 EB",
	} {
		if got := octets(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 999 * time.Millisecond: "0s", 45 * time.Second: "45s", time.Minute: "1m",
		90 * time.Second: "1m30s", 2*time.Hour + 30*time.Minute + 5*time.Second: "2h30m", 24 * time.Hour: "1d",
		24*time.Hour + 5*time.Minute: "1d", 400 * 24 * time.Hour: "400d", 49*time.Hour + time.Minute: "2d1h",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for s, want := range map[string]string{
		"plain name": "plain name", "naïve": "naïve", "a\nb": `a\u000ab`, "\x1b[2J": `\u001b[2J`, "\u202eevil": `\u202eevil`, "x\u00a0y": "x\u00a0y",
	} {
		if got := clean(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
