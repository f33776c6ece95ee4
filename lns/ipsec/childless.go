package ipsec

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// childless is an IKE SA that has ended without a CHILD_SA, until its log had time to say why.
type childless struct {
	conn string
	sa   lns.SA // with the fields of the IKE SA
	due  time.Time
}

// ikeUpDown counts IKE SAs, and notes those that end although nothing came of them. Mostly the log has told of a
// failure; but a LAC that cannot go on after IKE may just delete its IKE SA, and even when it says why before,
// two of charon's threads may read the delete first: the word of an IKE SA that is no more is dropped silently.
func (m *Manager) ikeUpDown(body vici.Section, now time.Time) {
	up := body.Get("up") == "yes"
	if up {
		m.stats.ikeUp.Add(1)
	} else {
		m.stats.ikeDown.Add(1)
	}
	for i := range body {
		ike, ok := parseIKE(&body[i])
		if !ok {
			continue
		}
		t := m.ikes.trace(time.Since(m.began), ike.sa.IKEID)
		if up {
			t.heardUp = true
			m.refused(&ike.sa, ike.localID)
		} else if t.heardUp && len(m.childless) < maxTraces {
			m.childless = append(m.childless, childless{ike.conn, ike.sa, now.Add(unsettledTime)})
		}
	}
}

// bears notes that an IKE SA has, or had, a CHILD_SA.
func (m *Manager) bears(id uint32) { m.ikes.trace(time.Since(m.began), id).child = true }

// settleChildless tells of the attempts that nothing came of and that nothing else was said of.
func (m *Manager) settleChildless(now time.Time) {
	m.childless = slices.DeleteFunc(m.childless, func(c childless) bool {
		if now.Before(c.due) {
			return false
		}
		if f := m.childlessFailure(&c); f != nil {
			m.tellFailure(f)
		}
		return true
	})
}

// childlessFailure is what to say of an IKE SA that has ended; nil where it had a CHILD_SA, its failure was told, it
// was ended on this side, or its LAC has an SA anyway (in IKEv1 a new main mode takes over the old one's children).
func (m *Manager) childlessFailure(c *childless) *lns.IKEFailure {
	t := m.ikes.traces[c.sa.IKEID]
	if t == nil || t.child || t.failed || t.cause == lns.SAEndLocal || t.cause == lns.SAEndReplaced || m.tab.serves(&c.sa) {
		return nil
	}
	t.failed = true
	f := t.failure(lns.IKEOtherFailure, c.conn)
	if t.cause == lns.SAEndDPD && t.why == "" {
		f.Reason = lns.IKENoAnswer
	}
	f.Identity = cmp.Or(f.Identity, c.sa.Identity)
	if !f.Remote.IsValid() {
		f.Remote = netip.AddrPortFrom(c.sa.Remote.Addr(), 0)
	}
	switch {
	case f.Detail != "":
	case t.cause == lns.SAEndDPD:
		f.Detail = "it proved who it is, and fell silent before ESP was set up"
	default:
		f.Detail = "it proved who it is, and ended IKE before ESP was set up; its own log has the reason (its kernel may have refused the SA, or its policy what was chosen)"
	}
	return f
}

// tellFailure counts a failure and tells the LNS of it.
func (m *Manager) tellFailure(f *lns.IKEFailure) {
	f.At = time.Now()
	m.stats.fail(f.Reason)
	m.hearer().IKEFailed(*f)
}

// serves says whether the peer of an IKE SA has a CHILD_SA, of whatever IKE SA.
func (t *table) serves(sa *lns.SA) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.ContainsFunc(t.byAddr[sa.Remote.Addr()], func(x *lns.SA) bool { return lns.SamePeer(*x, *sa) })
}
