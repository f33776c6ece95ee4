package ipsec

import (
	"errors"
	"maps"
	"slices"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// refusal says whether charon has answered, with a no: the connection is good.
func refusal(err error) bool {
	var e *vici.Error
	return errors.As(err, &e) || errors.Is(err, vici.ErrUnknown)
}

// event takes one of charon's events.
func (m *Manager) event(name string, body vici.Section) {
	now := time.Now()
	switch name {
	case "log":
		m.logLine(body)
	case "child-updown":
		up := body.Get("up") == "yes"
		eachChild(body, now, func(conn string, c *child) {
			if up {
				m.childUp(conn, c)
			} else {
				m.bears(c.sa.IKEID)
				m.childDown(c.sa.ChildID, now)
			}
		})
	case "child-rekey":
		m.childRekey(body, now)
	case "ike-rekey":
		m.ikeRekey(body)
	case "ike-update":
		m.ikeUpdate(body)
	case "ike-updown":
		m.ikeUpDown(body, now)
	}
}

// eachChild calls f for each CHILD_SA of ours in a message.
func eachChild(body vici.Section, now time.Time, f func(conn string, c *child)) {
	for i := range body {
		ike, ok := parseIKE(&body[i])
		if !ok {
			continue
		}
		for _, it := range body[i].Sub.GetSub("child-sas") {
			if it.Kind == vici.Sub {
				c := ike.parseChild(it.Sub, now)
				f(ike.conn, &c)
			}
		}
	}
}

// childUp takes a CHILD_SA that is there.
func (m *Manager) childUp(conn string, c *child) {
	m.bears(c.sa.IKEID)
	if m.cfg.Marks && c.sa.Mark == 0 {
		m.cfg.Log.Error("an SA has no mark, so that nobody can tell its packets from clear ones; it is not used. Was its connection changed by hand?",
			"profile", c.sa.Profile, "identity", c.sa.Identity, "connection", conn)
		return
	}
	if old := m.tab.byChild[c.sa.ChildID]; old != nil && old.key != peerKey(c) {
		// charon gives a number to one CHILD_SA at a time, so the end of the other one was missed.
		m.childDown(c.sa.ChildID, time.Now())
	}
	_, known := m.tab.peers[peerKey(c)]
	if !known && m.refused(&c.sa, c.localID) {
		return
	}
	p, news := m.tab.put(conn, c)
	if !news {
		return
	}
	if !known {
		m.stats.up.Add(1)
		m.cfg.Log.Info("SA up", saKeys(&p.sa)...)
	}
	m.hearer().SAUp(p.sa)
}

func saKeys(sa *lns.SA, more ...any) []any {
	return append([]any{
		"profile", sa.Profile, "identity", sa.Identity, "remote", sa.Remote, "mark", sa.Mark, "ike", sa.IKEVersion,
		"ike_id", sa.IKEID, "esp", sa.ESP.String(),
	}, more...)
}

// childDown takes a CHILD_SA that is no more. The mark is dead at once; why is told when the log had time to say.
func (m *Manager) childDown(id uint32, now time.Time) {
	if p := m.tab.drop(id); p != nil {
		m.gone = append(m.gone, departed{p, now.Add(settleTime), now.Add(unsettledTime)})
	}
}

// childRekey follows a CHILD_SA into its successor, which keeps the mark.
func (m *Manager) childRekey(body vici.Section, now time.Time) {
	for i := range body {
		ike, ok := parseIKE(&body[i])
		if !ok {
			continue
		}
		for _, it := range body[i].Sub.GetSub("child-sas") {
			fresh := ike.parseChild(it.Sub.GetSub("new"), now)
			old := ike.parseChild(it.Sub.GetSub("old"), now)
			m.stats.rekeyed.Add(1)
			m.childUp(ike.conn, &fresh)
			m.childDown(old.sa.ChildID, now)
		}
	}
}

// ikeRekey gives the children of an IKE SA to its successor.
func (m *Manager) ikeRekey(body vici.Section) {
	for i := range body {
		old, ok := parseIKE(&vici.Item{Name: body[i].Name, Kind: vici.Sub, Sub: body[i].Sub.GetSub("old")})
		if !ok {
			continue
		}
		next, _ := parseIKE(&vici.Item{Name: body[i].Name, Kind: vici.Sub, Sub: body[i].Sub.GetSub("new")})
		m.eachOfIKE(old.sa.IKEID, func(sa *lns.SA) { sa.IKEID = next.sa.IKEID })
		m.ikes.forget(old.sa.IKEID)
	}
}

// ikeUpdate follows a peer to another address or port, as a NAT that has forgotten it gives.
func (m *Manager) ikeUpdate(body vici.Section) {
	remote := addrPort(body.Get("remote-host"), body.Get("remote-port"))
	for i := range body {
		ike, ok := parseIKE(&body[i])
		if !ok {
			continue
		}
		if !remote.IsValid() {
			remote = ike.sa.Remote
		}
		m.eachOfIKE(ike.sa.IKEID, func(sa *lns.SA) {
			m.cfg.Log.Info("a LAC's IKE has moved", saKeys(sa, "to", remote)...)
			sa.Remote = remote
		})
	}
}

// eachOfIKE changes the SAs of an IKE SA and tells the LNS.
func (m *Manager) eachOfIKE(id uint32, change func(*lns.SA)) {
	for _, p := range slices.Collect(maps.Values(m.tab.peers)) {
		if p.sa.IKEID != id {
			continue
		}
		m.tab.hide(p)
		change(&p.sa)
		m.tab.rename(p)
		m.tab.show(p)
		m.hearer().SAUp(p.sa)
	}
}

// logLine takes a line of charon's log.
func (m *Manager) logLine(body vici.Section) {
	id, conn := uint32(number(body.Get("ikesa-uniqueid"))), body.Get("ikesa-name")
	if conn != "" && conn != "(unnamed)" {
		if _, ours := profileOf(conn); !ours {
			return
		}
	}
	msg := body.Get("msg")
	f := m.ikes.observe(time.Since(m.began), id, conn, msg)
	switch {
	case f == nil:
	case f.Reason == lns.IKENoConfig && id != 0 && len(m.unsure) < maxTraces:
		m.unsure = append(m.unsure, unsure{id, conn, time.Now().Add(settleTime)})
	default:
		m.mendKey(f, msg)
		m.tellFailure(f)
	}
}

// unsure is an attempt that no profile took, until the lines before that had time to come: two of charon's threads may
// hand over two lines of its log in the other order.
type unsure struct {
	ike  uint32
	conn string
	due  time.Time
}

// settleUnsure tells of them.
func (m *Manager) settleUnsure(now time.Time) {
	m.unsure = slices.DeleteFunc(m.unsure, func(u unsure) bool {
		if now.Before(u.due) {
			return false
		}
		if t := m.ikes.traces[u.ike]; t != nil {
			m.tellFailure(t.failure(lns.IKENoConfig, u.conn))
		}
		return true
	})
}

// settle tells of the ends whose reasons are known, or had time to come.
func (m *Manager) settle(now time.Time) {
	m.settleUnsure(now)
	m.settleChildless(now)
	kept := m.gone[:0]
	for _, d := range m.gone {
		if now.Before(d.due) || now.Before(d.last) && !m.explained(d.p) {
			kept = append(kept, d)
			continue
		}
		m.tell(d.p, m.end(d.p))
	}
	clear(m.gone[len(kept):])
	m.gone = kept
}

// explained says whether it is known why a peer is gone, or of no account since its tunnels go on elsewhere.
func (m *Manager) explained(p *peer) bool {
	if _, ours := m.ours[p.sa.IKEID]; ours || m.tab.heir(p) != 0 {
		return true
	}
	cause, _ := m.ikes.cause(time.Since(m.began), p.sa.IKEID)
	return cause != ""
}

// end says why a peer is gone.
func (m *Manager) end(p *peer) lns.SAEnd {
	e := lns.SAEnd{Heir: m.tab.heir(p)}
	if x, ok := m.ours[p.sa.IKEID]; ok {
		e.Cause, e.Detail = x.cause, x.why
		delete(m.ours, p.sa.IKEID)
		return e
	}
	e.Cause, e.Detail = m.ikes.cause(time.Since(m.began), p.sa.IKEID)
	m.ikes.clearCause(p.sa.IKEID)
	if e.Cause == "" {
		e.Cause, e.Detail = lns.SAEndLocal, "charon ended it by itself, or an operator did"
	}
	return e
}

// tell tells everybody of an end.
func (m *Manager) tell(p *peer, e lns.SAEnd) {
	m.stats.end(e.Cause)
	m.cfg.Log.Info("SA gone", saKeys(&p.sa, "cause", string(e.Cause), "detail", e.Detail, "heir", e.Heir)...)
	m.hearer().SAGone(p.sa, e)
}
