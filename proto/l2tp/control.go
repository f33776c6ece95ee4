package l2tp

import (
	"errors"
	"time"
)

// ErrQueueFull says that the peer acknowledges too slowly for what is sent.
var ErrQueueFull = errors.New("l2tp: control send queue is full")

// ControlConfig configures the reliable delivery of control messages. Zero
// fields mean the defaults they name.
type ControlConfig struct {
	// Window is the receive window offered to the peer, in messages: how many may
	// arrive ahead of a missing one. Default 128.
	Window uint16
	// RetryFirst is the time before the first retransmission; each further one
	// waits twice as long, up to RetryCap. Defaults 1 s and 8 s (RFC 2661 section
	// 5.8).
	RetryFirst time.Duration
	RetryCap   time.Duration
	// MaxRetries is how often a message is retransmitted before the peer counts as
	// dead. Default 5.
	MaxRetries int
	// Hello is the silence after which a HELLO is sent; 0 sends none. Any control
	// message of the peer ends a silence.
	Hello time.Duration
	// AckDelay is how long an acknowledgement waits for a message to ride on.
	// Default 50 ms; a negative value sends it at once.
	AckDelay time.Duration
	// SendQueue bounds the messages waiting for acknowledgement or for their first
	// transmission. Default 4,096.
	SendQueue int
}

func (c *ControlConfig) window() int {
	return max(1, orDefault(int(c.Window), 128))
}

func (c *ControlConfig) maxRetries() int { return orDefault(c.MaxRetries, 5) }
func (c *ControlConfig) sendQueue() int  { return orDefault(c.SendQueue, 4096) }

func (c *ControlConfig) ackDelay() time.Duration {
	return max(0, orDefault(c.AckDelay, 50*time.Millisecond))
}

// interval is how long to wait for an acknowledgement after retry
// retransmissions.
func (c *ControlConfig) interval(retry int) time.Duration {
	d, limit := orDefault(c.RetryFirst, time.Second), orDefault(c.RetryCap, 8*time.Second)
	for ; retry > 0 && d < limit; retry-- {
		d *= 2
	}
	return min(d, limit)
}

// Cycle is a full retransmission cycle: how long the peer may go on repeating
// a message, and so how long a stopped tunnel lingers (RFC 2661 section 5.7).
func (c *ControlConfig) Cycle() time.Duration {
	var sum time.Duration
	for retry := range c.maxRetries() + 1 {
		sum += c.interval(retry)
	}
	return sum
}

func orDefault[T int | time.Duration](v, unset T) T {
	if v == 0 {
		return unset
	}
	return v
}

// defaultPeerWindow is the window of a peer that names none (RFC 2661 section
// 4.4.3, Receive Window Size).
const defaultPeerWindow = 4

// Control delivers the messages of one control connection reliably and in
// order (RFC 2661 section 5.8 and appendix A). Tunnel has one inside; who uses
// it alone makes it by NewControl. A Control that is idle holds next to nothing.
type Control struct {
	cfg        *ControlConfig
	peerID     uint16
	peerWindow uint16

	// Sending. queue[head:] are the messages not acknowledged yet, the first of
	// which has sequence number una; the first flight of them have been sent since
	// the last timeout, and all before high were sent at least once. Their
	// bodies are in buf, one after the other, from skip on.
	queue    []outgoing
	head     int
	buf      []byte
	skip     int
	una      uint16
	high     uint16
	flight   int
	cwnd     uint16
	ssthresh uint16
	acked    uint16 // messages acknowledged since cwnd grew, in congestion avoidance
	retries  int
	retryAt  time.Duration
	resent   uint32
	dead     bool

	behind behind

	// held says that the numbers are not known: nothing is sent until Reset. patience is how
	// long the peer has asked to be waited for (RFC 4951 section 5.1), asked since when
	// it owes an acknowledgement.
	held            bool
	patience, asked time.Duration

	// Receiving. nr is the next sequence number expected; early holds what came
	// ahead of it.
	nr         uint16
	early      map[uint16]early
	earlyBytes int
	unanswered int // messages taken in since the peer was last sent our nr
	ackAt      time.Duration

	// hello says that silence is watched; heard is when the peer last spoke.
	hello bool
	heard time.Duration
}

// outgoing is a queued message.
type outgoing struct {
	session uint16
	size    uint16
}

// early is a message that came before one that is missing.
type early struct {
	session uint16
	body    []byte
}

// NewControl returns the state of a new control connection. cfg is shared and
// must not change any more.
func NewControl(cfg *ControlConfig) Control {
	return Control{
		cfg: cfg, peerWindow: defaultPeerWindow, cwnd: 1, ssthresh: defaultPeerWindow,
		retryAt: Never, ackAt: Never,
	}
}

// maxPeerWindow is how much of a peer's window is used: with more than half of all
// sequence numbers under way, old ones could not be told from new ones (RFC 2661 section 5.8).
const maxPeerWindow = 1<<15 - 1

// SetPeer tells the peer's tunnel id and receive window, once they are known.
// window 0 stands for none given; of a larger one than 32,767 that much is used.
// It is to be called before anything but the SCCRQ or SCCRP was sent, for slow
// start begins anew.
func (c *Control) SetPeer(tunnelID, window uint16) {
	c.peerID = tunnelID
	if window == 0 {
		window = defaultPeerWindow
	}
	window = min(window, maxPeerWindow)
	c.peerWindow, c.ssthresh = window, window
}

// StartHello begins to watch for silence.
func (c *Control) StartHello(now time.Duration) {
	c.hello, c.heard = c.cfg.Hello > 0, now
}

// Ns returns the sequence number of the next message to be queued, Nr the one
// expected from the peer next.
func (c *Control) Ns() uint16 { return c.una + uint16(c.Unacked()) }

// Nr returns the sequence number expected from the peer next.
func (c *Control) Nr() uint16 { return c.nr }

// Una returns the lowest sequence number that the peer has not acknowledged: Ns
// when it has acknowledged everything.
func (c *Control) Una() uint16 { return c.una }

// Told returns the Nr that the peer was sent last: of what it has sent up to there it knows that it has arrived.
func (c *Control) Told() uint16 { return c.nr - uint16(c.unanswered) }

// Unacked returns how many messages are queued or sent and not acknowledged.
func (c *Control) Unacked() int { return len(c.queue) - c.head }

// Retransmissions returns how many messages were sent again, ever.
func (c *Control) Retransmissions() uint32 { return c.resent }

// Dead reports that a message went unacknowledged through all its
// retransmissions.
func (c *Control) Dead() bool { return c.dead }
