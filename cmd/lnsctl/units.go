package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	culvertv1 "culvert/proto/culvert/v1"
)

// octets is a size with three digits and a decimal unit: 999 B, 1.23 kB, 45.6 GB.
func octets(n uint64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1000, 0
	for f >= 999.5 && i < len(units)-1 {
		f /= 1000
		i++
	}
	digits := 2
	switch {
	case f >= 99.95:
		digits = 0
	case f >= 9.995:
		digits = 1
	}
	return fmt.Sprintf("%.*f %cB", digits, f, units[i])
}

// grouped is a count with commas.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// span is a duration in its two largest units: 3d4h, 2h30m, 45s.
func span(d time.Duration) string {
	d = d.Truncate(time.Second)
	if d <= 0 {
		return "0s"
	}
	parts := []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	for i, p := range parts {
		if d < p.unit {
			continue
		}
		s := fmt.Sprintf("%d%s", d/p.unit, p.name)
		if i+1 < len(parts) {
			if rest := d % p.unit / parts[i+1].unit; rest > 0 {
				s += fmt.Sprintf("%d%s", rest, parts[i+1].name)
			}
		}
		return s
	}
	return "0s"
}

// age is how long ago t was; empty if it is not set.
func (a *app) age(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return span(a.now().Sub(t.AsTime()))
}

// since is an age with its date.
func (a *app) since(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%s (since %s)", a.age(t), t.AsTime().UTC().Format("2006-01-02 15:04:05 UTC"))
}

// limit is a configured duration; unset or zero reads as otherwise.
func limit(d *durationpb.Duration, otherwise string) string {
	if d.AsDuration() == 0 {
		return otherwise
	}
	if d.AsDuration()%time.Second != 0 {
		return d.AsDuration().String()
	}
	return span(d.AsDuration())
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// count is a number and its noun.
func count(n uint32, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(uint64(n)) + " " + noun + "s"
}

// word is an enum's value as people write it: SESSION_STATE_UP is "up".
func word(name, prefix string) string {
	w := strings.TrimPrefix(name, prefix)
	if w == "UNSPECIFIED" {
		return ""
	}
	return strings.ToLower(strings.ReplaceAll(w, "_", "-"))
}

func stateWord(s culvertv1.SessionState) string { return word(s.String(), "SESSION_STATE_") }

func methodWord(m culvertv1.AuthMethod) string {
	switch m {
	case culvertv1.AuthMethod_AUTH_METHOD_PAP:
		return "PAP"
	case culvertv1.AuthMethod_AUTH_METHOD_CHAP:
		return "CHAP"
	case culvertv1.AuthMethod_AUTH_METHOD_MSCHAPV2:
		return "MS-CHAPv2"
	case culvertv1.AuthMethod_AUTH_METHOD_EAP:
		return "EAP"
	}
	return ""
}
