package l2tp

import (
	"slices"
	"time"
)

// maxEarlyBytes bounds what the reorder queue holds, beside the window.
const maxEarlyBytes = 256 << 10

// Verdict says what Control.Receive made of a datagram.
type Verdict uint8

// Verdicts.
const (
	VerdictDeliver   Verdict = iota // the message is next in order: act on it
	VerdictAck                      // a ZLB, nothing to act on
	VerdictDuplicate                // seen before; acknowledged again
	VerdictEarly                    // kept until what is missing arrives
	VerdictBeyond                   // beyond our window; dropped
	VerdictStranger                 // acknowledges what was never sent; dropped
)

// Receive takes one control datagram of the peer, as ParseHeader cut it up. On
// VerdictDeliver the caller acts on the message, then on all that Next yields,
// then calls Flush.
func (c *Control) Receive(now time.Duration, h Header, payload []byte, fx *Effects) Verdict {
	c.catchUp(h.Nr)
	if int16(h.Nr-c.high) > 0 {
		// It is late, and from another control connection that had our id: were it kept
		// as early, it would in time be taken for one of this connection, and the peer's
		// message of that number would be lost.
		return VerdictStranger
	}
	c.heard = now
	c.acknowledge(now, h.Nr, fx)
	if len(payload) == 0 {
		return VerdictAck
	}
	ahead := int16(h.Ns - c.nr)
	switch {
	case ahead < 0:
		// The acknowledgement was lost, or the peer is impatient.
		c.sendAck(fx)
		return VerdictDuplicate
	case ahead == 0:
		c.behind.nr = false
		c.take(now)
		return VerdictDeliver
	}
	return c.keep(now, h, payload)
}

// take counts a message as received.
func (c *Control) take(now time.Duration) {
	c.nr++
	c.unanswered++
	c.ackAt = min(c.ackAt, now+c.cfg.ackDelay())
}

// keep stores a copy of a message that came early.
func (c *Control) keep(now time.Duration, h Header, payload []byte) Verdict {
	// The peer may have lost our last acknowledgement; it costs little to repeat it.
	c.ackAt = min(c.ackAt, now+c.cfg.ackDelay())
	if _, have := c.early[h.Ns]; have {
		if c.skipTo(now, h.Ns) {
			return VerdictDeliver
		}
		return VerdictDuplicate
	}
	window := c.cfg.window()
	if c.behind.nr {
		window = max(window, maxBehind) // the peer counts its window from where the original was
	}
	if int(h.Ns-c.nr) >= window || c.earlyBytes+len(payload) > maxEarlyBytes {
		return VerdictBeyond
	}
	if c.early == nil {
		c.early = make(map[uint16]early)
	}
	c.early[h.Ns] = early{session: h.SessionID, body: slices.Clone(payload)}
	c.earlyBytes += len(payload)
	return VerdictEarly
}

// Next returns the message after the last one delivered, if it came early. The
// payload belongs to the caller.
func (c *Control) Next(now time.Duration) (sessionID uint16, payload []byte, ok bool) {
	if len(c.early) == 0 {
		return 0, nil, false
	}
	ns := c.nr
	m, ok := c.early[ns]
	if !ok {
		return 0, nil, false
	}
	delete(c.early, ns)
	c.earlyBytes -= len(m.body)
	if len(c.early) == 0 {
		c.early = nil
	}
	c.take(now)
	return m.session, m.body, true
}

// Flush sends the acknowledgement that is due: half a window of messages is
// long enough to wait for something to ride on.
func (c *Control) Flush(now time.Duration, fx *Effects) {
	if c.ackAt <= now || c.unanswered > c.cfg.window()/2 {
		c.sendAck(fx)
	}
}

// Deadline returns when Tick is wanted next, or Never.
func (c *Control) Deadline() time.Duration {
	d := min(c.retryAt, c.ackAt)
	if c.hello && !c.held && c.Unacked() == 0 {
		d = min(d, c.heard+c.cfg.Hello)
	}
	return d
}

// helloBody is a HELLO: the Message Type AVP alone.
var helloBody = []byte{0x80, 8, 0, 0, 0, 0, 0, byte(MessageHello)}

// Tick does what is due. After it, Dead may be true.
func (c *Control) Tick(now time.Duration, fx *Effects) {
	switch {
	case c.retryAt > now:
	case c.flight == 0 && c.retries == 0:
		c.retryAt = Never // restored: nothing was sent yet, so nothing was lost
		c.transmit(now, fx)
	default:
		c.timeout(now, fx)
	}
	if c.ackAt <= now {
		c.sendAck(fx)
	}
	// While something is unacknowledged, that itself asks whether the peer lives.
	if c.hello && !c.held && c.Unacked() == 0 && c.heard+c.cfg.Hello <= now {
		buf, _ := c.begin()
		c.commit(now, 0, append(buf, helloBody...), fx)
	}
}
