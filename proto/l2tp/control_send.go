package l2tp

import "time"

// keepBytes and keepItems are what an empty send queue may hold on to; tens of
// thousands of idle tunnels should not keep the memory of their busiest hour.
const (
	keepBytes = 512
	keepItems = 32
)

// Send queues a message body for the peer's session, and sends it as soon as
// the windows let it. The body is copied. The error is ErrQueueFull or
// ErrTooLong.
func (c *Control) Send(now time.Duration, sessionID uint16, body []byte, fx *Effects) error {
	if len(body) > maxBody {
		return ErrTooLong
	}
	buf, err := c.begin()
	if err != nil {
		return err
	}
	c.commit(now, sessionID, append(buf, body...), fx)
	return nil
}

// begin returns the buffer that a new body is to be appended to; commit takes
// it back.
func (c *Control) begin() ([]byte, error) {
	if c.Unacked() >= c.cfg.sendQueue() {
		return nil, ErrQueueFull
	}
	if c.head > 0 && c.head >= len(c.queue)/2 {
		c.compact()
	}
	return c.buf, nil
}

// compact moves what is queued to the front of its buffers.
func (c *Control) compact() {
	n := copy(c.queue, c.queue[c.head:])
	c.queue, c.head = c.queue[:n], 0
	n = copy(c.buf, c.buf[c.skip:])
	c.buf, c.skip = c.buf[:n], 0
}

// commit queues the body that was appended to the buffer of begin. It has
// at most maxBody octets.
func (c *Control) commit(now time.Duration, sessionID uint16, buf []byte, fx *Effects) {
	size := len(buf) - len(c.buf)
	c.buf = buf
	c.queue = append(c.queue, outgoing{session: sessionID, size: uint16(size)})
	c.transmit(now, fx)
}

// transmit sends what is queued as far as the windows allow.
func (c *Control) transmit(now time.Duration, fx *Effects) {
	limit := min(int(min(c.cwnd, c.peerWindow)), c.Unacked())
	if c.flight >= limit || c.held {
		return
	}
	from := c.skip
	for _, m := range c.queue[c.head : c.head+c.flight] {
		from += int(m.size)
	}
	for ; c.flight < limit; c.flight++ {
		m := c.queue[c.head+c.flight]
		ns := c.una + uint16(c.flight)
		if int16(ns-c.high) < 0 {
			c.resent++
		} else {
			c.high = ns + 1
		}
		fx.packet(ControlHeader(c.peerID, m.session, ns, c.nr), c.buf[from:from+int(m.size)])
		from += int(m.size)
	}
	c.answered()
	if c.retryAt == Never {
		if c.retries == 0 {
			c.asked = now
		}
		c.retryAt = now + c.cfg.interval(c.retries)
	}
}

// answered notes that the peer was just sent our nr.
func (c *Control) answered() {
	c.unanswered, c.ackAt = 0, Never
}

// sendAck sends a ZLB. Its Ns is that of the next message to be sent for the
// first time (RFC 2661 section 5.8).
func (c *Control) sendAck(fx *Effects) {
	fx.packet(ControlHeader(c.peerID, 0, c.high, c.nr), nil)
	c.answered()
}

// acknowledge takes the Nr of the peer. One that acknowledges what was never
// sent is ignored.
func (c *Control) acknowledge(now time.Duration, nr uint16, fx *Effects) {
	n := int(nr - c.una)
	if n == 0 || n > int(c.high-c.una) {
		return
	}
	for _, m := range c.queue[c.head : c.head+n] {
		c.skip += int(m.size)
	}
	c.head += n
	c.una = nr
	c.behind.ns = false
	c.flight = max(0, c.flight-n)
	c.retries, c.retryAt = 0, Never
	c.grow(n)
	if c.Unacked() == 0 {
		c.empty()
		return
	}
	if c.flight > 0 {
		c.asked = now
		c.retryAt = now + c.cfg.interval(0)
	}
	c.transmit(now, fx)
}

// empty releases an empty queue's memory where there is much of it.
func (c *Control) empty() {
	c.queue, c.head, c.buf, c.skip = c.queue[:0], 0, c.buf[:0], 0
	if cap(c.queue) > keepItems {
		c.queue = nil
	}
	if cap(c.buf) > keepBytes {
		c.buf = nil
	}
}

// grow opens the congestion window for n acknowledged messages: by one for each
// in slow start, then by one for each window (appendix A).
func (c *Control) grow(n int) {
	for ; n > 0 && c.cwnd < c.peerWindow; n-- {
		if c.cwnd < c.ssthresh {
			c.cwnd++
			continue
		}
		if c.acked++; c.acked >= c.cwnd {
			c.cwnd++
			c.acked = 0
		}
	}
}

// timeout retransmits: the window falls to one, so only the head goes out; what
// was sent after it follows as acknowledgements come in, unless they tell that
// it had arrived (appendix A).
func (c *Control) timeout(now time.Duration, fx *Effects) {
	if c.retries < c.cfg.maxRetries() {
		c.retries++
	} else if now >= c.asked+c.patience {
		c.dead, c.retryAt, c.ackAt, c.hello = true, Never, Never, false
		return
	}
	c.ssthresh = max(1, c.cwnd/2)
	c.cwnd, c.acked, c.flight = 1, 0, 0
	c.retryAt = now + c.cfg.interval(c.retries)
	c.transmit(now, fx)
}

// dropUnsent forgets messages that were queued and never sent.
func (c *Control) dropUnsent() {
	keep := int(c.high - c.una)
	size := 0
	for _, m := range c.queue[c.head : c.head+keep] {
		size += int(m.size)
	}
	c.queue = c.queue[:c.head+keep]
	c.buf = c.buf[:c.skip+size]
}

// dropAll forgets everything that is queued: the peer is past reading it.
func (c *Control) dropAll() {
	c.una, c.flight, c.retryAt, c.hello = c.high, 0, Never, false
	c.empty()
}
