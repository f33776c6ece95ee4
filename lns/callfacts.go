package lns

import (
	"culvert/aaa"
	"culvert/lns/link"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
)

// callFacts is what only some LACs tell of a call, or want of us for it.
type callFacts struct {
	// async: the line is asynchronous, so that the LAC escapes control characters.
	async bool
	// speeds: the LAC reports when the line's speed changes (RFC 5515).
	speeds bool
	// outgoing: the LNS asked for the call.
	outgoing bool
	// errors are the LAC's latest, from WEN; wens counts how often it told.
	errors l2tp.CallErrors
	wens   uint64
}

// facts gives the session's callFacts, to be changed.
func (s *session) callFacts() *callFacts {
	if s.rare == nil {
		s.rare = new(callFacts)
	}
	return s.rare
}

// The bits of what a restart needs of callFacts.
const (
	keptAsync = 1 << iota
	keptSpeeds
	keptOutgoing
)

// kept is what a restart needs of f, which may be nil.
func (f *callFacts) kept() (bits uint8) {
	if f != nil && f.async {
		bits |= keptAsync
	}
	if f != nil && f.speeds {
		bits |= keptSpeeds
	}
	if f != nil && f.outgoing {
		bits |= keptOutgoing
	}
	return bits
}

// revivedFacts is the way back; the line's errors are not kept.
func revivedFacts(bits uint8) *callFacts {
	if bits == 0 {
		return nil
	}
	return &callFacts{async: bits&keptAsync != 0, speeds: bits&keptSpeeds != 0, outgoing: bits&keptOutgoing != 0}
}

// learn takes from an ICRQ, ICCN or OCCN what few LACs tell. Its identity is not
// anybody else's yet.
func (s *session) learn(m *l2tp.Message) {
	if m.FramingType&l2tp.FramingAsync != 0 {
		s.callFacts().async = true
	}
	if m.SpeedUpdateEnable {
		s.callFacts().speeds = true
	}
	if len(m.PrivateGroup) > 0 {
		s.who.PrivateGroup = string(m.PrivateGroup)
	}
	if m.Line != nil {
		s.who.Line = lineOf(m.Line)
	}
}

// lineOf is what AAA is told of an access line.
func lineOf(l *l2tp.AccessLine) *aaa.Line {
	line := &aaa.Line{
		CircuitID: string(l.AgentCircuitID), RemoteID: string(l.AgentRemoteID), Interworking: l.Interworking,
	}
	if l.Has(l2tp.LineAccessLoop) {
		e := l.Encapsulation
		line.Encapsulation = &e
	}
	for a := l2tp.LineActualUp; a <= l2tp.LineActualDelayDown; a++ {
		if v, ok := l.Rate(a); ok {
			line.Values = append(line.Values, aaa.LineValue{Type: aaa.LineType(a), Value: v})
		}
	}
	if l.Has(l2tp.LineType) {
		line.Values = append(line.Values, aaa.LineValue{Type: aaa.LineAccessType, Value: uint64(l.Type)})
	}
	return line
}

// linkInfo tells a LAC with an asynchronous line which control characters are to be
// escaped, when LCP has opened in this step (RFC 2661 section 6.14). before is the
// phase that the link was in.
func (sh *shard) linkInfo(s *session, before link.Phase) {
	if s.rare == nil || !s.rare.async || before > link.PhaseLCP {
		return
	}
	if now := s.link.Phase(); now <= link.PhaseLCP || now >= link.PhaseClosing {
		return
	}
	m := &l2tp.Message{Type: l2tp.MessageSLI, ACCM: l2tp.ACCM{Send: s.link.PeerACCM(), Receive: s.link.OwnACCM()}}
	m.Set(l2tp.AVPACCM)
	sh.traceMessage(s, trace.Sent, m)
	sh.send(s.facts.shard, toLAC{s.facts, s.peerID, m})
}

// lineErrors takes a WEN: what has gone wrong on the subscriber's line so far. The log
// has the first of a session; what follows is counted and shown.
func (sh *shard) lineErrors(s *session, m *l2tp.Message) {
	f := s.callFacts()
	f.errors = m.Errors
	f.wens++
	sh.stats.lineErrors++
	level := sh.log.Debug
	if f.wens == 1 {
		level = sh.log.Info
	}
	e := m.Errors
	level("a LAC reports errors on a line", sh.logKeys(s, "crc", e.CRC, "framing", e.Framing, "hardware_overruns", e.HardwareOverruns,
		"buffer_overruns", e.BufferOverruns, "timeouts", e.Timeouts, "alignment", e.Alignment)...)
}

// callErrors are the line's errors as the LAC last told them; nil where it never did.
func (s *session) callErrors() *l2tp.CallErrors {
	if s.rare == nil || s.rare.wens == 0 {
		return nil
	}
	e := s.rare.errors
	return &e
}
