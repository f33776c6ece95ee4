package lns

import (
	"errors"
	"fmt"
	"time"

	"culvert/lns/dataplane"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
)

// Errors of RequestSpeed.
var (
	// ErrNoSession says that there is no such session.
	ErrNoSession = errors.New("no such session")
	// ErrNoSpeeds says that a LAC does not tell the speed of a session's line.
	ErrNoSpeeds = errors.New("the LAC of this session does not report its line's speed (it sent no Connect Speed Update Enable AVP)")
)

// soonInterim is how long at most accounting waits to hear of a new speed. It does not
// hear at once, so that a flapping line floods no server.
const soonInterim = time.Minute

// csun takes a Connect-Speed-Update-Notification (RFC 5515 section 4.1), on the tunnel's
// shard: it tells the new speeds of any number of lines.
func (sh *shard) csun(t *tunnel, m *l2tp.Message) {
	for _, u := range m.SpeedUpdates {
		if _, ok := t.calls.ours[u.SessionID]; !ok {
			sh.complain(dropNoSession, "dropped a speed for no session", "tunnel", t.facts.id, "session", u.SessionID)
			continue
		}
		sh.send(dataplane.ShardOf(u.SessionID, len(sh.srv.shards)), speedChange{t.facts, u})
	}
}

// speedChange brings a line's new speed to the session's shard.
type speedChange struct {
	facts *tunnelFacts
	to    l2tp.SpeedUpdate
}

func (m speedChange) deliver(sh *shard) {
	s := sh.sessions[dataplane.Key{Listener: m.facts.listener, Tunnel: m.facts.id, Session: m.to.SessionID}]
	if s == nil || s.facts != m.facts || s.state == stateClosing {
		return
	}
	s.callFacts().speeds = true // who tells is able to
	was := s.who.ConnectInfo
	now := connectInfo(was, &l2tp.Message{TxSpeed: uint64(m.to.Tx), RxSpeed: uint64(m.to.Rx)})
	sh.traceMessage(s, trace.Received, &l2tp.Message{Type: l2tp.MessageCSUN})
	if now == was {
		return
	}
	// Records of the session may still be read by others: a new speed goes into a new identity.
	who := *s.who
	who.ConnectInfo = now
	s.who = &who
	sh.log.Info("a line's speed has changed", sh.logKeys(s, "was", was, "now", now)...)
	if s.state != stateUp || s.times.interim == never {
		return
	}
	s.times.interim = min(s.times.interim, sh.now+soonInterim)
	sh.setTimer(s)
}

// RequestSpeed asks the LAC of a session, named by its Acct-Session-Id, for the line's
// speed (CSURQ, RFC 5515 section 4.2). The LAC answers by a CSUN, which changes the session's
// ConnectInfo when it comes. Errors are ErrNoSession and ErrNoSpeeds.
func (s *Server) RequestSpeed(id string) error {
	err := fmt.Errorf("%w: %s", ErrNoSession, id)
	found := make([]error, len(s.shards))
	hit := make([]bool, len(s.shards))
	s.each(func(sh *shard) {
		for _, x := range sh.sessions {
			if x.who.AcctSessionID == id {
				hit[sh.idx], found[sh.idx] = true, sh.requestSpeed(x)
			}
		}
	})
	for i := range hit {
		if hit[i] {
			err = found[i]
		}
	}
	return err
}

func (sh *shard) requestSpeed(s *session) error {
	if s.rare == nil || !s.rare.speeds {
		return ErrNoSpeeds
	}
	m := &l2tp.Message{Type: l2tp.MessageCSURQ, SpeedUpdates: []l2tp.SpeedUpdate{{SessionID: s.peerID}}}
	sh.traceMessage(s, trace.Sent, m)
	sh.send(s.facts.shard, toLAC{s.facts, 0, m}) // it is about the tunnel's sessions: id 0 in the header
	return nil
}
