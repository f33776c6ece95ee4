package main

import (
	"fmt"
	"testing"
)

// FuzzTunnelRef reads whatever an operator may write for a tunnel: what is taken means
// a tunnel that there can be, and is written as it was read.
func FuzzTunnelRef(f *testing.F) {
	for _, s := range []string{"17", "192.0.2.1:1701/17", "0", "65536", "/5", "[2001:db8::1]:1701/9", "a/b/c", "+7", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := parseTunnel(s)
		if err != nil {
			return
		}
		text := fmt.Sprint(ref.GetId())
		if ref.GetLocal() != "" {
			text = ref.GetLocal() + "/" + text
		}
		again, err := parseTunnel(text)
		if err != nil || ref.GetId() < 1 || ref.GetId() > 65535 || again.GetId() != ref.GetId() || again.GetLocal() != ref.GetLocal() {
			t.Fatalf("%q is %v, which is written %q and read as %v, %v", s, ref, text, again, err)
		}
	})
}
