package lns

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"culvert/aaa"
)

// A call whose grant comes late, after the same subscriber has dialled again and
// is up, is the one that has to go: nobody is at its other end any more.
func TestLateGrantDoesNotReplaceTheLaterCall(t *testing.T) {
	r := newRig(t, nil)
	r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) {
		return &aaa.Grant{Address: netip.MustParseAddr("100.64.7.7")}, nil
	}
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	r.aaa.hold = true
	first := l.dial("alice", nil)
	r.until(5*time.Second, "asked", func() bool { return len(r.aaa.asked) == 1 })
	second := l.dial("alice", nil)
	r.until(5*time.Second, "asked again", func() bool { return len(r.aaa.asked) == 2 })
	slices.Reverse(r.aaa.asked)
	r.aaa.hold = false
	r.until(10*time.Second, "the first call ended", func() bool { return first.cdn != nil })
	if !second.up || second.cdn != nil || first.up || r.stats().Downs["replaced"] != 1 {
		t.Errorf("the later call is up: %v, ended: %v; causes %v", second.up, second.cdn, r.stats().Downs)
	}
}
