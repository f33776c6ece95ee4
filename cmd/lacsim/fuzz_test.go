package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// FuzzTemplate reads whatever stands for the names of many subscribers: two
// numbers make two names where there is a place for the number, and no name is without end.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "user%d@isp", "lac%04d", "100%%", "%%%d%%", "%64d", "%s", "%d%d", "%1", "%-3d", "%٣d"} {
		f.Add(s, 42)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		p, err := parseTemplate(s)
		if err != nil {
			return
		}
		text := p.text(n)
		if p.numbered == (p.text(n) == p.text(n^1)) {
			t.Fatalf("%q makes %q of both %d and %d", s, text, n, n^1)
		}
		if !p.numbered && text != strings.ReplaceAll(s, "%%", "%") || len(text) > len(s)+64 || p.numbered && !strings.Contains(text, fmt.Sprint(n)[1:]) {
			t.Fatalf("%q makes %q", s, text)
		}
	})
}

// FuzzSource reads whatever --source may say, but host names, which would be looked up: the
// sockets are of its addresses, so many for each as were asked for, and bounded.
func FuzzSource(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "192.0.2.1:4000", "10.0.0.0/29", "10.0.0.0/31", "10.0.0.1/32", "0.0.0.0/0", "2001:db8::/126", "[::1]:9", "::/0", "fe80::1%lo"} {
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, s string, ports uint8) {
		prefix, perr := netip.ParsePrefix(s)
		_, aerr := netip.ParseAddr(strings.Trim(s, "[]"))
		_, serr := netip.ParseAddrPort(s)
		if perr != nil && aerr != nil && serr != nil {
			return
		}
		list, err := parseSource(s, max(int(ports), 1))
		if err != nil {
			return
		}
		if len(list) == 0 || len(list) > maxSources {
			t.Fatalf("%q makes %d sockets", s, len(list))
		}
		for _, a := range list {
			if !a.Addr().IsValid() || perr == nil && !prefix.Contains(a.Addr()) {
				t.Fatalf("%q makes a socket of %v", s, a)
			}
		}
	})
}
