package lns

import (
	"encoding/binary"
	"net/netip"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/lns/link"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
)

// session is one call and its PPP link. It belongs to its shard. There may
// be hundreds of thousands: what only some need, or only for a while, is behind a pointer.
type session struct {
	timer timer
	key   dataplane.Key
	facts *tunnelFacts
	// owner numbers the session within the epoch; answers for another owner of the key are stale.
	owner  uint64
	peerID uint16
	serial uint32 // Call Serial Number
	state  sessionState
	// cause is set once, by what began the session's end.
	cause Cause
	// result, where set, is what the CDN says instead of what the cause would.
	result *l2tp.Result
	// sequence, where set, is the numbering of data messages; the plane has it too.
	sequence *sequencing
	link     link.Link
	setup    *setup     // until up, or over
	rare     *callFacts // nil for most
	who      *aaa.Identity
	terms    *terms // nil before the grant
	address  netip.Addr
	method   aaa.Method
	// since is when the session came up: wall clock in Unix nanoseconds, and on the shard's clock.
	sinceWall int64
	sinceMono time.Duration
	times     sessionTimes
	trace     trace.Log
}

// setup is what only a session that is not yet up needs.
type setup struct {
	call  l2tp.Call
	began time.Duration
	early [][]byte // frames that came before the ICCN
}

type sessionState uint8

// The states. A session is counted as setting up until it is up.
const (
	stateDialling sessionState = iota // waiting for ICCN
	stateLink                         // LCP to IPCP
	stateUp
	stateClosing // accounted and off the plane; LCP says goodbye
)

// maxEarly bounds the frames kept for a session whose ICCN is still on its way.
const maxEarly = 4

// dialTimeout bounds the wait for an ICCN.
const dialTimeout = 30 * time.Second

// newCall brings an admitted ICRQ to the session's shard.
type newCall struct {
	facts *tunnelFacts
	id    uint16
	m     *l2tp.Message
}

func (m newCall) deliver(sh *shard) {
	defer arrived(m.m)
	f := m.facts
	s := &session{
		key: dataplane.Key{Listener: f.listener, Tunnel: f.id, Session: m.id}, facts: f,
		owner: sh.srv.lastOwner.Add(1), peerID: m.m.AssignedSessionID, serial: m.m.CallSerial,
		setup: &setup{began: sh.now},
	}
	s.timer.who = s
	s.who = sh.identify(s, m.m)
	s.learn(m.m)
	sh.sessions[s.key] = s
	sh.traceCall(s, m.m)
	s.setup.call = l2tp.NewCall(l2tp.RoleLNS, m.id)
	fx := sh.callStep()
	s.setup.call.Receive(m.m, nil, fx)
	sh.callEffects(s, fx)
	sh.wheel.set(&s.timer, sh.now+dialTimeout)
}

// callMessage brings any other message of a call to the session's shard.
type callMessage struct {
	facts *tunnelFacts
	id    uint16
	m     *l2tp.Message
}

func (m callMessage) deliver(sh *shard) {
	defer arrived(m.m)
	s := sh.sessions[dataplane.Key{Listener: m.facts.listener, Tunnel: m.facts.id, Session: m.id}]
	if s == nil || s.facts != m.facts {
		return
	}
	sh.traceMessage(s, trace.Received, m.m)
	if m.m.Type == l2tp.MessageCDN {
		sh.cdn(s, m.m)
		return
	}
	if m.m.Type == l2tp.MessageWEN {
		sh.lineErrors(s, m.m)
	}
	if s.setup == nil {
		return // an established call takes nothing more; SLI is for LACs
	}
	fx := sh.callStep()
	s.setup.call.Receive(m.m, nil, fx)
	if s.peerID == 0 {
		s.peerID = s.setup.call.PeerID() // of an OCRP
	}
	sh.callEffects(s, fx)
	if fx.Up {
		sh.connected(s, m.m)
	}
}

// callStep are the effects of a step of a call machine, until the next one's.
func (sh *shard) callStep() *l2tp.CallEffects {
	sh.callFx.Reset()
	return &sh.callFx
}

// callEffects sends what the call machine wants sent and takes its word that a call is over.
func (sh *shard) callEffects(s *session, fx *l2tp.CallEffects) {
	if fx.Down {
		result := fx.Result
		s.result = &result
		sh.end(s, CauseProtocolError, fx.Result.CDN())
		return
	}
	if fx.Send != nil {
		m := carriers.Get().(*l2tp.Message)
		*m = *fx.Send // which lives on in another shard, longer than fx
		sh.traceMessage(s, trace.Sent, m)
		sh.send(s.facts.shard, toLAC{s.facts, s.peerID, m})
	}
}

// cdn ends a session because the LAC says so. A LAC also clears the call of a
// subscriber who has just said goodbye: the cause is then the goodbye.
func (sh *shard) cdn(s *session, m *l2tp.Message) {
	cause := CauseLACDisconnect
	if r := s.link.Ending(); r != link.ReasonNone {
		cause = linkCauses[r]
	} else if m.Result.Code == l2tp.CDNLostCarrier {
		cause = CauseLACCarrierLost
	}
	sh.drop(s, cause, cdnWords(m))
}

// connected starts PPP: the ICCN is here.
func (sh *shard) connected(s *session, m *l2tp.Message) {
	s.state = stateLink
	s.who.ConnectInfo = connectInfo(s.who.ConnectInfo, m)
	s.learn(m)
	s.sequence = newSequencing(&s.facts.profile.LACProfile, m)
	early := s.setup.early
	s.setup.early = nil
	sh.linkStep(s, func(fx *link.Effects) {
		s.link.Start(sh.now, s.facts.linkConfig(s.sequence != nil), sh.srv.cfg.Rand, proxyOf(m), fx)
	})
	for _, frame := range early {
		sh.frame(s, frame)
	}
}

// proxyOf is what the LAC has negotiated for us, or nil. A LAC that tells half
// of it gets the judgement of the profile's policy, too. The Initial Received
// CONFREQ alone says nothing: a LAC that only listened sends it.
func proxyOf(m *l2tp.Message) *link.Proxy {
	if !m.Has(l2tp.AVPLastSentLCP) && !m.Has(l2tp.AVPLastReceivedLCP) && !m.Has(l2tp.AVPProxyAuthType) {
		return nil
	}
	return &link.Proxy{
		InitialReceived: m.InitialLCP, LastSent: m.LastSentLCP, LastReceived: m.LastReceivedLCP,
		AuthType: m.ProxyAuthType, AuthName: m.ProxyAuthName, AuthChallenge: m.ProxyAuthChallenge,
		AuthID: m.ProxyAuthID, AuthResponse: m.ProxyAuthResponse,
	}
}

// data handles a PPP frame that the plane did not forward.
func (sh *shard) data(listener uint16, peer source, h l2tp.Header, frame []byte) {
	s := sh.sessions[dataplane.Key{Listener: listener, Tunnel: h.TunnelID, Session: h.SessionID}]
	if s == nil {
		sh.stats.drop(dropNoSession) // quite normal for a moment after a session's end
		sh.log.Debug("dropped data for no session", "lac", peer, "tunnel", h.TunnelID, "session", h.SessionID)
		sh.stray(listener, peer, h)
		return
	}
	if !sh.fromPeer(s.facts, peer) {
		return
	}
	if !s.inOrder(&h) {
		sh.stats.drop(dropLate)
		return
	}
	if s.state == stateDialling {
		// Some LACs send PPP before the ICCN; dropping the first
		// Configure-Request would cost the subscriber a timeout.
		if len(s.setup.early) < maxEarly {
			s.setup.early = append(s.setup.early, append([]byte(nil), frame...))
		}
		return
	}
	sh.frame(s, frame)
}

func (sh *shard) frame(s *session, frame []byte) {
	sh.tracePPP(s, trace.Received, frame)
	sh.linkStep(s, func(fx *link.Effects) { s.link.Receive(sh.now, frame, fx) })
}

// linkStep runs f and carries out what the link wants. A link that
// renegotiates keeps its session: packets go on under the old grant until the new one is there.
func (sh *shard) linkStep(s *session, f func(*link.Effects)) {
	if s.state == stateDialling {
		return
	}
	fx := sh.lfx
	first, sent, phase := len(fx.Frames), len(sh.out), s.link.Phase()
	f(fx)
	sh.tracePhase(s, phase)
	sh.linkInfo(s, phase)
	s.number()
	sh.emitFrames(s, first)
	auth, up, down, reason, detail := fx.Auth, fx.Up, fx.Down, fx.Reason, fx.Detail
	fx.Next()
	if down {
		sh.linkDown(s, reason, detail)
		return
	}
	if auth != nil {
		sh.askAAA(s, auth)
	}
	if up {
		sh.linkUp(s, sent)
	}
	sh.setTimer(s)
}

// dataHeader is the length of a data header without options: flags, tunnel id,
// session id. Ns and Nr follow where the LAC requires sequence numbers.
const (
	dataHeader     = 6
	sequenceHeader = dataHeader + 4
)

// putDataHeader writes a data header (RFC 2661 section 3.1) into the end of the
// sequenceHeader octets that b begins with, and returns b from there on.
func putDataHeader(b []byte, tunnel, session uint16, sequence *dataplane.Sequence) []byte {
	flags := uint16(2) // the version
	if sequence == nil || !sequence.Numbered() {
		b = b[sequenceHeader-dataHeader:]
	} else {
		flags |= 0x0800
		binary.BigEndian.PutUint32(b[dataHeader:], uint32(sequence.Take())<<16)
	}
	binary.BigEndian.PutUint16(b, flags)
	binary.BigEndian.PutUint16(b[2:], tunnel)
	binary.BigEndian.PutUint16(b[4:], session)
	return b
}

// emitFrames puts the L2TP header in front of the link's frames, in the headroom left for it.
func (sh *shard) emitFrames(s *session, first int) {
	fx := sh.lfx
	to := s.facts.peer.Load()
	for i := first; i < len(fx.Frames); i++ {
		sh.tracePPP(s, trace.Sent, fx.Frames[i])
		b := putDataHeader(fx.Whole(i), s.facts.peerID, s.peerID, s.planeSequence())
		sh.sendOut(s.key, dataplane.Datagram{Listener: s.key.Listener, Mark: to.mark, Peer: to.AddrPort, B: b})
	}
}
