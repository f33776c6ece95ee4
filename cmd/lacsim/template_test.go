package main

import "testing"

func TestTemplate(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""}, {"same", "same"}, {"user%d@isp", "user42@isp"}, {"%d", "42"}, {"lac%04d", "lac0042"},
		{"%06d", "000042"}, {"100%%", "100%"}, {"%%%d%%", "%42%"}, {"a%1db", "a42b"},
	} {
		p, err := parseTemplate(c.in)
		if err != nil || p.text(42) != c.want {
			t.Errorf("%q: %q, %v; want %q", c.in, p.text(42), err, c.want)
		}
	}
	for _, in := range []string{"%", "%s", "%x%d", "%d%d", "user%", "%99d", "%-3d"} {
		if _, err := parseTemplate(in); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}
