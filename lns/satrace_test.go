package lns

import (
	"strings"
	"testing"

	"culvert/lns/trace"
)

// A session's timeline tells of its SA before L2TP and PPP, of new keys, and of the SA's end.
func TestTimelineHasTheSA(t *testing.T) {
	x := newIPsecRig(t, nil)
	_, _ = x.secure(1, 1, "a", "alice")
	sa, ok := x.ike.Lookup(1)
	if !ok {
		t.Fatal("mark 1 has no SA")
	}
	sa.ChildID, sa.ESP.KeyBits = sa.ChildID+1, 256
	x.ike.up(sa)
	x.step()
	x.ike.gone(1, SAEnd{Cause: SAEndDPD, Detail: "giving up after 4 retransmits"})
	x.step()
	past := x.srv.Trace(t.Context(), TraceQuery{Selector: Selector{User: "alice"}}).Past
	if len(past) != 1 {
		t.Fatalf("%d sessions in the past", len(past))
	}
	var lines []string
	for _, e := range past[0].Events {
		if e.Source == trace.SourceIKE || strings.Contains(e.Text, "ICRQ") || strings.Contains(e.Text, "IPCP opened") {
			lines = append(lines, e.Source.String()+" "+e.Text)
		}
	}
	text := strings.Join(lines, "\n")
	at := 0
	for _, want := range []string{
		"ike the tunnel runs in an SA: IKEv", "l2tp recv ICRQ", "IPCP opened", "ike SA has new keys: ", "ike SA gone (dpd), the tunnel ends: giving up after 4",
	} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("%q is not there, or not in its place:\n%s", want, text)
		}
		at += i
	}
}
