package lactest

import (
	"net/netip"
	"time"

	"culvert/proto/l2tp"
)

// recovery is the state of a recovery tunnel (RFC 4951): old is the tunnel that it is for.
type recovery struct {
	old       *tunnel
	suggested l2tp.SuggestedSequence
}

// Fail loses the numbers of every tunnel, and recovers those that can be. A LAC that sends
// an SCCRQ for the same tunnel wins: this LNS knows no ties.
func (l *LNS) Fail(now time.Duration) {
	for _, t := range l.tunnels {
		if t.old != nil || !t.l2tp.Failover().Control {
			continue
		}
		t.l2tp.Hold()
		r := l.newTunnel(l2tp.RoleLAC, t.peer, 0)
		r.old = t
		r.l2tp.OpenRecovery(now, l2tp.Recovery{Tunnel: t.l2tp.LocalID(), Remote: t.l2tp.PeerID()}, &l.fx)
		l.settle(now, r)
	}
}

// Drift moves the numbers of every tunnel that Fail has left without: a control channel that
// nobody recovers.
func (l *LNS) Drift(now time.Duration, ns, nr uint16) {
	for _, t := range l.tunnels {
		t.l2tp.Reset(now, ns, nr, &l.fx)
		l.settle(now, t)
	}
}

// Lose forgets n calls without a word.
func (l *LNS) Lose(n int) {
	for _, t := range l.tunnels {
		for _, s := range t.sessions {
			if n--; n >= 0 {
				l.forget(s)
			}
		}
	}
}

// remote makes the tunnel for a LAC's SCCRQ that wants another recovered; one that there is not is refused.
func (l *LNS) remote(from netip.AddrPort, m *l2tp.Message) *tunnel {
	old := l.tunnels[m.Recovery.Remote]
	if old == nil || old.l2tp.State() != l2tp.TunnelEstablished || old.l2tp.PeerID() != m.Recovery.Tunnel {
		l.Send(from, l2tp.AppendRefusal(nil, m, 0xffff, l2tp.ResultNoRecovery))
		return nil
	}
	t := l.newTunnel(l2tp.RoleLNS, from, m.AssignedTunnelID)
	t.old, t.suggested = old, old.l2tp.Suggest()
	t.l2tp.AnswerRecovery(t.suggested)
	return t
}

func (l *LNS) recoveryEvent(now time.Duration, t *tunnel, ev *l2tp.Event) {
	if ev.Kind != l2tp.EventUp {
		return
	}
	s := ev.Message.SuggestedSequence
	if t.l2tp.Role() == l2tp.RoleLNS {
		s = l2tp.SuggestedSequence{Ns: t.suggested.Nr, Nr: t.suggested.Ns}
	} else {
		t.l2tp.Stop(now, l2tp.Result{Code: l2tp.StopGeneral}, &l.fx)
	}
	for _, p := range l.fx.Packets {
		l.Send(t.peer, p)
	}
	l.fx.Reset()
	old := t.old
	old.l2tp.Reset(now, s.Ns, s.Nr, &l.fx)
	var ask []l2tp.SessionState
	for id, c := range old.sessions {
		if c.l2tp.State() == l2tp.CallEstablished {
			ask = append(ask, l2tp.SessionState{Session: id, Remote: c.l2tp.PeerID()})
		} else {
			l.forget(c)
		}
	}
	_ = old.l2tp.SendStates(now, l2tp.MessageFSQ, ask, &l.fx)
	l.settle(now, old)
}

// states answers an FSQ, and does what an FSR says.
func (l *LNS) states(now time.Duration, t *tunnel, m *l2tp.Message) {
	if m.Type == l2tp.MessageFSR {
		for _, x := range m.SessionStates {
			if s := t.sessions[x.Remote]; s != nil && x.Session == 0 {
				l.forget(s)
			}
		}
		return
	}
	answer, _ := l2tp.AnswerFSQ(m, func(id uint16) (uint16, bool) {
		s := t.sessions[id]
		if s == nil {
			return 0, false
		}
		return s.l2tp.PeerID(), true
	})
	_ = t.l2tp.SendStates(now, l2tp.MessageFSR, answer, &l.fx)
}
