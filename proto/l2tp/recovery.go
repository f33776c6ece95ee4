package l2tp

import (
	"errors"
	"time"
)

// recovery makes a Tunnel a recovery tunnel (RFC 4951 section 3.2.1).
type recovery struct {
	ask     Recovery          // in our SCCRQ
	suggest SuggestedSequence // in our SCCRP
}

// ErrNoRecovery is why an SCCRQ is refused that wants a tunnel recovered which cannot be: it is
// not known by these ids, or failover was not negotiated for it.
var ErrNoRecovery = errors.New("l2tp: no tunnel of these ids that could be recovered")

// ResultNoRecovery is the StopCCN's result for it.
var ResultNoRecovery = Result{Code: ResultGeneralError, Error: ErrorNoControl, Message: "no tunnel of these ids that could be recovered"}

// maxPatience bounds what is believed of a peer's Recovery Time.
const maxPatience = 30 * time.Minute

// offer puts the AVPs of RFC 4951 into an SCCRQ or SCCRP.
func (t *Tunnel) offer(m *Message) {
	switch ask := m.Type == MessageSCCRQ; {
	case t.recovery != nil && ask:
		m.Recovery = t.recovery.ask
		m.Set(AVPTunnelRecovery)
	case t.recovery != nil:
		m.SuggestedSequence = t.recovery.suggest
		m.Set(AVPSuggestedSequence)
	case ask || t.failover.Offered():
		m.Failover = t.cfg.Failover
		m.setIf(m.Failover.Offered(), AVPFailoverCapability)
	}
}

// learnFailover notes what both ends can do, of a peer's SCCRQ or SCCRP.
func (t *Tunnel) learnFailover(m *Message) {
	if t.recovery != nil || !m.Has(AVPFailoverCapability) || !t.cfg.Failover.Offered() {
		return
	}
	both := m.Failover
	both.Control = both.Control && t.cfg.Failover.Control
	both.Data = both.Data && t.cfg.Failover.Data
	if !m.Failover.Control {
		both.RecoveryTime = 0 // section 5.1: it is about the C bit
	}
	t.agree(both)
}

func (t *Tunnel) agree(f Failover) {
	f.RecoveryTime = min(f.RecoveryTime, maxPatience)
	t.failover = f
	t.ctl.patience = f.RecoveryTime
}

// Failover is what both ends have said that they can do (RFC 4951 section 3.1), with the Recovery
// Time that the peer asks for; zero where one of them has said nothing. Only a tunnel
// with Control in it can be recovered.
func (t *Tunnel) Failover() Failover { return t.failover }

// OpenRecovery opens t, a new Tunnel of RoleLAC whose id is none of an old tunnel's, as the recovery
// tunnel for r. When it is up, the SuggestedSequence of the event's message, zeros where it says
// nothing, is what the old tunnel goes on with by Reset (section 3.2.2).
// Should the peer's SCCRQ for the same tunnel cross it, Collide says what becomes of both; of no
// other SCCRQ it may be asked (RFC 4951 section 3.2.1).
func (t *Tunnel) OpenRecovery(now time.Duration, r Recovery, fx *Effects) {
	t.recovery = &recovery{ask: r}
	t.Open(now, fx)
}

// AnswerRecovery makes t, a new Tunnel of RoleLNS that is about to receive an SCCRQ with a
// Tunnel Recovery, the remote endpoint's end of a recovery tunnel; s is for its SCCRP, and of the old tunnel's
// Suggest. When it is up, the old tunnel goes on by Reset with s.Nr and s.Ns.
func (t *Tunnel) AnswerRecovery(s SuggestedSequence) { t.recovery = &recovery{suggest: s} }

// Suggest gives the numbers that the old tunnel t may go on with: Ns and Nr for the peer. They are
// far enough from those that were used that neither end takes an old message for a new one, nor
// a new one for an old while it does not know of the reset.
func (t *Tunnel) Suggest() SuggestedSequence {
	return SuggestedSequence{Ns: t.ctl.nr + sequenceGap, Nr: t.ctl.high + sequenceGap}
}

// sequenceGap is more than a window of ours, and than what a number of a store may be behind,
// and less than half of all numbers.
const sequenceGap = 1 << 13

// Hold takes a tunnel that is established out of use until Reset: what was queued is forgotten,
// what comes is dropped, what is queued waits.
func (t *Tunnel) Hold() { t.ctl.hold() }

// Held reports whether the tunnel waits for Reset.
func (t *Tunnel) Held() bool { return t.ctl.held }

// Reset goes on with new numbers (RFC 4951 section 3.2.2): what was sent and not acknowledged, or came and is not
// complete, is forgotten. Only what was queued since Hold is sent.
func (t *Tunnel) Reset(now time.Duration, ns, nr uint16, fx *Effects) {
	if t.state == TunnelEstablished {
		t.ctl.reset(now, ns, nr, fx)
	}
}

func (c *Control) hold() {
	c.dropAll()
	c.held, c.ackAt = true, Never
}

func (c *Control) reset(now time.Duration, ns, nr uint16, fx *Effects) {
	if !c.held {
		c.hold()
	}
	c.held, c.dead, c.behind = false, false, behind{}
	c.una, c.high, c.nr = ns, ns, nr
	c.early, c.earlyBytes, c.unanswered = nil, 0, 0
	c.cwnd, c.ssthresh, c.acked, c.retries, c.retryAt = 1, c.peerWindow, 0, 0, Never
	c.StartHello(now)
	c.transmit(now, fx)
}

// Abandon ends a tunnel without a word to the peer, as RFC 4951 section 3.2.1 has it for an old tunnel whose
// recovery has failed, and for a recovery tunnel that another one has overtaken: EventDown
// with ReasonRecovery, and Done. A tunnel that is down already stays as it is.
func (t *Tunnel) Abandon(fx *Effects) {
	if t.state == TunnelStopping {
		return
	}
	t.state = TunnelStopping
	t.discard(cause{reason: ReasonRecovery, local: true}, fx)
}
