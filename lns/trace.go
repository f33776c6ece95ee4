package lns

import (
	"errors"
	"fmt"
	"time"

	"culvert/aaa"
	"culvert/lns/link"
	"culvert/lns/trace"
	"culvert/proto/l2tp"
)

// TraceConfig says what is kept of what sessions and tunnels have done.
type TraceConfig struct {
	// Off keeps nothing at all.
	Off bool
	// Octets bounds what is kept of one session, or tunnel; 0 is trace.DefaultLimit, 640. Most take half of it.
	Octets int
	// Keep is how many sessions the node remembers after their end, and as many
	// failed calls; 0 is 10,000. Each takes about a kilobyte.
	Keep int
	// KeepFor is how long it remembers them; 0 is 24 hours.
	KeepFor time.Duration
}

// Validate says what is wrong, naming the field and what would be right.
func (c *TraceConfig) Validate() error {
	var errs []error
	if c.Octets != 0 && (c.Octets < trace.MinLimit || c.Octets > 1<<16) {
		errs = append(errs, fmt.Errorf("octets: %d is not between %d and 65536 for each session (0 is 640)", c.Octets, trace.MinLimit))
	}
	if c.Keep < 0 || c.Keep > 1_000_000 {
		errs = append(errs, errors.New("keep: a number of ended sessions between 0 and 1000000 (0 is 10000)"))
	}
	if c.KeepFor < 0 {
		errs = append(errs, errors.New("keep_for: a time cannot be negative (0 is 24h)"))
	}
	return errors.Join(errs...)
}

func (c TraceConfig) withDefaults() TraceConfig {
	if c.Octets == 0 {
		c.Octets = trace.DefaultLimit
	}
	if c.Keep == 0 {
		c.Keep = 10_000
	}
	if c.KeepFor == 0 {
		c.KeepFor = 24 * time.Hour
	}
	return c
}

// traceBuffers is how many buffers of sessions that came up, or ended, a shard
// holds for the next ones.
const traceBuffers = 256

// traces is what a shard keeps for tracing.
type traces struct {
	limit int // octets of one log; 0 is off
	free  [][]byte
	// ended came up once, failed never did, refused were turned away at once.
	ended, failed, refused graveyard
	tunnels                tunnelGraveyard
	// tracers are the operators who follow something.
	tracers []*shardTracer
}

func newTraces(c TraceConfig, shards int) traces {
	if c.Off {
		return traces{}
	}
	each := max(1, c.Keep/shards)
	return traces{
		limit: c.Octets,
		ended: graveyard{most: each}, failed: graveyard{most: each}, refused: graveyard{most: max(1, each/4)},
		tunnels: tunnelGraveyard{most: max(1, each/10)},
	}
}

// buffer is memory for the log of a session that is being set up.
func (t *traces) buffer() []byte {
	if n := len(t.free); n > 0 {
		b := t.free[n-1]
		t.free = t.free[:n-1]
		return b
	}
	return make([]byte, 0, t.limit)
}

func (t *traces) recycle(b []byte) {
	if cap(b) == t.limit && len(t.free) < traceBuffers {
		t.free = append(t.free, b)
	}
}

// traceCall begins a session's log with its ICRQ.
func (sh *shard) traceCall(s *session, m *l2tp.Message) {
	if sh.traces.limit == 0 {
		return
	}
	sh.traceBegin(s)
	sh.traceMessage(s, trace.Received, m)
}

// traceBegin begins a session's log.
func (sh *shard) traceBegin(s *session) {
	if sh.traces.limit != 0 {
		s.trace.Begin(sh.now, sh.traces.buffer())
	}
}

// lastWords are how many octets a session's end may take beyond the limit, so that it
// does not push the beginning out. The session is on its way to the graveyard.
const lastWords = 256

func (sh *shard) traceLimit(s *session) int {
	if s.state == stateClosing {
		return sh.traces.limit + lastWords
	}
	return sh.traces.limit
}

// traceMessage records a control message of a call.
func (sh *shard) traceMessage(s *session, d trace.Direction, m *l2tp.Message) {
	sh.traced(s, s.trace.Call(sh.now, d, m, sh.traceLimit(s)))
}

// tracePPP records a frame of the link.
func (sh *shard) tracePPP(s *session, d trace.Direction, frame []byte) {
	sh.traced(s, s.trace.PPP(sh.now, d, frame, sh.traceLimit(s)))
}

// traceEnd records the cause of a session's end.
func (sh *shard) traceEnd(s *session, cause Cause, detail string) {
	sh.traced(s, s.trace.End(sh.now, cause.String(), detail, sh.traceLimit(s)))
}

// traceUp records that a session came up. Its log now gets memory of its own size.
func (sh *shard) traceUp(s *session) {
	sh.traced(s, s.trace.Up(sh.now, s.address, sh.traces.limit))
	sh.traces.recycle(s.trace.Fit())
}

// traceRecovered begins the log of a session that has outlived the process, or the node, that had it.
func (sh *shard) traceRecovered(s *session, adopted bool) {
	if sh.traces.limit > 0 {
		s.trace.Begin(sh.now, nil)
		s.trace.Recovered(sh.now, time.Unix(0, s.sinceWall), adopted, sh.traces.limit)
	}
}

// tracePhase records that the link has come to another phase.
func (sh *shard) tracePhase(s *session, was link.Phase) {
	p := s.link.Phase()
	if p == was {
		return
	}
	state := trace.StateLCP
	switch p {
	case link.PhaseAuthenticating:
		state = trace.StateAuthenticating
	case link.PhaseNetwork:
		state = trace.StateNetwork
	case link.PhaseClosing:
		state = trace.StateClosing
	case link.PhaseUp, link.PhaseDown, link.PhaseIdle:
		return // these have events of their own
	}
	sh.traced(s, s.trace.State(sh.now, state, sh.traceLimit(s)))
}

// traceAsk records that AAA is asked.
func (sh *shard) traceAsk(s *session) {
	sh.traced(s, s.trace.Ask(sh.now, s.who.User, s.method.String(), sh.traces.limit))
}

// traceAnswer records what AAA said.
func (sh *shard) traceAnswer(s *session, g *aaa.Grant, err error) {
	if !s.trace.On() {
		return
	}
	v, server, message := trace.VerdictAccept, "", ""
	var reject *aaa.RejectError
	var more *aaa.Challenge
	switch {
	case errors.As(err, &reject):
		v, server, message = trace.VerdictReject, reject.Server, reject.Message
	case errors.As(err, &more):
		v, server = trace.VerdictChallenge, more.Server
		if more.Ignored {
			message = "Invalid EAP Packet (Ignored)"
		}
	case err != nil:
		v, message = trace.VerdictNone, err.Error()
	default:
		server = g.Server
	}
	sh.traced(s, s.trace.Answer(sh.now, v, server, message, sh.traces.limit))
}

// traceTunnel begins a tunnel's log.
func (sh *shard) traceTunnel(t *tunnel) {
	if sh.traces.limit > 0 {
		t.trace.Begin(sh.now, nil)
	}
}

// tunnelTraced passes an event of a tunnel, at offset at of its log, to who follows the tunnel.
func (sh *shard) tunnelTraced(t *tunnel, at int) {
	if at > 0 && len(sh.traces.tracers) > 0 {
		sh.followTunnel(t, at)
	}
}

// traceControl records datagrams of a tunnel's control connection.
func (sh *shard) traceControl(t *tunnel, d trace.Direction, datagrams ...[]byte) {
	if t.recovers != nil {
		t = t.recovers.old // what a recovery tunnel says is about that one
	}
	if !t.trace.On() {
		return
	}
	for _, b := range datagrams {
		sh.tunnelTraced(t, t.trace.Control(sh.now, d, b, sh.traces.limit))
	}
}

// traceSent records what a step of the tunnel has sent. What it has sent again, since the LAC did not
// acknowledge it, is an event of its own: before is what its counter of retransmissions was,
// and from next on messages are new.
func (sh *shard) traceSent(t *tunnel, packets [][]byte, before uint32, next uint16) {
	if !t.trace.On() || len(packets) == 0 {
		return
	}
	again := t.t.Retransmissions() != before
	for _, b := range packets {
		if h, _, err := l2tp.ParseHeader(b); again && err == nil && int16(h.Ns-next) < 0 {
			continue
		}
		sh.traceControl(t, trace.Sent, b)
	}
	if again {
		sh.tunnelTraced(t, t.trace.Resent(sh.now, t.t.Ns()-uint16(t.t.Unacked()), sh.traces.limit))
	}
}

// traceStopped records why a tunnel ended.
func (sh *shard) traceStopped(t *tunnel, e *l2tp.Event) {
	if t.trace.On() {
		sh.tunnelTraced(t, t.trace.Stopped(sh.now, e.Reason.String(), &e.Result, sh.traces.limit))
	}
}

// tunnelNote records anything else about a tunnel in words.
func (sh *shard) tunnelNote(t *tunnel, source trace.Source, text string) {
	sh.tunnelTraced(t, t.trace.NoteRepeated(sh.now, source, text, sh.traces.limit))
}
