package lns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/lns/trace"
)

// A LAC that has failed to set up its SA is remembered, and the tunnel that comes in the end tells of it; so
// does one that is up when its next keys fail.
func TestTimelineHasWhatFailedBefore(t *testing.T) {
	x := newIPsecRig(t, nil)
	fail := func(n byte, ago time.Duration, reason IKEReason, detail string) {
		x.ike.handler.IKEFailed(IKEFailure{
			At: x.srv.clock.Wall().Add(-ago), Reason: reason, Profile: "a", Detail: detail,
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), 0),
		})
	}
	fail(1, time.Hour, IKENoConfig, "long ago")
	fail(1, 5*time.Minute, IKEAuthFailed, "the pre-shared key differs")
	fail(1, 4*time.Minute, IKEAuthFailed, "the pre-shared key differs")
	fail(2, time.Minute, IKENoProposal, "another LAC's")
	_, _ = x.secure(1, 1, "a", "alice")
	fail(1, 0, IKENoESP, "no ESP proposal in common")
	x.step()
	past := x.srv.Trace(t.Context(), TraceQuery{Selector: Selector{User: "alice"}}).Past
	if len(past) != 1 {
		t.Fatalf("%d sessions in the past", len(past))
	}
	var lines []string
	for _, e := range past[0].Events {
		if e.Source == trace.SourceIKE {
			lines = append(lines, e.Text)
		}
	}
	want := []string{"IKE had failed 2 times, last at ", "the tunnel runs in an SA", "IKE failed (no-proposal-esp): no ESP"}
	if len(lines) != len(want) {
		t.Fatalf("got %q, want %q", lines, want)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("event %d is %q, want %q", i, lines[i], want[i])
		}
	}
	list := x.srv.IKETroubles()
	if len(list) != 4 || list[0].Reason != IKENoESP || list[2].Count != 2 || list[2].At.Sub(list[2].First) != time.Minute {
		t.Errorf("remembered: %+v", list)
	}
}

// What strangers fail with does not grow without bound, nor makes every tunnel hear of each.
func TestIKETroublesAreBounded(t *testing.T) {
	var l ikeTroubles
	at := time.Unix(1000, 0)
	told := 0
	for i := range 3 * maxTroubles {
		f := IKEFailure{At: at, Reason: IKEAuthFailed, Identity: fmt.Sprint(i), Remote: netip.MustParseAddrPort("192.0.2.9:0")}
		if l.add(f) {
			told++
		}
		at = at.Add(time.Millisecond)
	}
	if len(l.list) != maxTroubles || l.list[0].Identity != fmt.Sprint(2*maxTroubles) {
		t.Errorf("%d are remembered, the first is of %q", len(l.list), l.list[0].Identity)
	}
	if told != 2 {
		t.Errorf("tunnels heard of %d in %d ms", told, 3*maxTroubles)
	}
	peer := netip.MustParseAddr("::ffff:192.0.2.9")
	if got := l.of(peer, at.Add(-time.Second)); len(got) != maxTold || !slices.IsSortedFunc(got, func(a, b IKETrouble) int { return a.At.Compare(b.At) }) {
		t.Errorf("of one address: %+v", got)
	}
	if l.add(IKEFailure{At: at.Add(time.Hour), Reason: IKENoAnswer}) {
		t.Error("tunnels were told of a failure without an address")
	}
}

// TestIKEFailuresLogged: of a flood of failures a few are logged, and how many were not is told.
func TestIKEFailuresLogged(t *testing.T) {
	var l ikeTroubles
	now := time.Unix(1700000000, 0)
	logged := 0
	for range 10 * logBurst {
		if yes, _ := l.logs(now); yes {
			logged++
		}
	}
	if logged != logBurst {
		t.Errorf("%d of %d at once are logged, want %d", logged, 10*logBurst, logBurst)
	}
	if yes, untold := l.logs(now.Add(logEvery)); !yes || untold != 9*logBurst {
		t.Errorf("after %v: %v, with %d not logged before", logEvery, yes, untold)
	}
	if yes, _ := l.logs(now.Add(logEvery)); yes {
		t.Error("and another one at once")
	}
	for i := range logBurst {
		if yes, untold := l.logs(now.Add(time.Hour)); !yes || untold != map[bool]int{true: 1}[i == 0] {
			t.Fatalf("an hour later: %v, %d", yes, untold)
		}
	}
}
