package lns

import (
	"fmt"

	"culvert/lns/trace"
)

// What happens to a tunnel's SA stands in the tunnel's log, and so in the timeline of its
// sessions, between L2TP and PPP: a LAC shows none of it.

// noteSA records that a tunnel has begun in an SA, or goes on in another one.
func (sh *shard) noteSA(t *tunnel, what string, sa *SA) {
	sh.tunnelNote(t, trace.SourceIKE, fmt.Sprintf("%s: IKEv%d of %q, %s, mark %d", what, sa.IKEVersion, sa.Identity, sa.ESP, sa.Mark))
}

// noteSAGone records that a tunnel's SA is gone, why, and what becomes of the tunnel.
func (sh *shard) noteSAGone(t *tunnel, end SAEnd, then string) {
	text := fmt.Sprintf("SA gone (%s), %s", end.Cause, then)
	if end.Detail != "" {
		text += ": " + end.Detail
	}
	sh.tunnelNote(t, trace.SourceIKE, text)
}
