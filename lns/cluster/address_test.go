package cluster

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHook calls the operator's command as its comment says, and tells what it has printed when it fails.
func TestHook(t *testing.T) {
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	h := Hook{filepath.Join(dir, "hook")}
	write := func(text string) {
		if err := os.WriteFile(h.Command, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(`echo "$@" >>` + said + "\n")
	a4, a6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, err := range []error{h.Add(a4, 1500*time.Millisecond, true), h.Add(a4, 10*time.Second, false), h.Add(a6, 0, true), h.Remove(a6)} {
		if err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(said)
	if want := "add 192.0.2.1 2\nrefresh 192.0.2.1 10\nadd 2001:db8::1 0\nremove 2001:db8::1 0\n"; err != nil || string(text) != want {
		t.Errorf("%q, %v; want %q", text, err, want)
	}
	write("echo no such peer >&2; exit 3\n")
	if err := h.Remove(a4); err == nil || !strings.Contains(err.Error(), "no such peer") || !strings.Contains(err.Error(), "remove 192.0.2.1") {
		t.Errorf("a failure is told as %v", err)
	}
	if err := (Hook{filepath.Join(dir, "nothing")}).Add(a4, 0, true); err == nil {
		t.Error("a command that is not there is no error")
	}
}

// several is an Addresses that fails.
type several struct {
	said *[]string
	name string
}

func (s several) Add(netip.Addr, time.Duration, bool) error {
	*s.said = append(*s.said, s.name+"+")
	return errors.New(s.name)
}
func (s several) Remove(netip.Addr) error { *s.said = append(*s.said, s.name+"-"); return nil }

// TestSeveral asks all, in their order and in the reverse, and tells all errors.
func TestSeveral(t *testing.T) {
	var said []string
	s := Several{several{&said, "one"}, several{&said, "two"}}
	err := s.Add(netip.Addr{}, 0, true)
	if err == nil || err.Error() != "one\ntwo" || s.Remove(netip.Addr{}) != nil || strings.Join(said, " ") != "one+ two+ two- one-" {
		t.Errorf("%v; %v", said, err)
	}
	if undo, err := s.Linger(netip.Addr{}); err != nil || undo == nil {
		t.Errorf("those that cannot linger are asked: %v", err)
	}
}
