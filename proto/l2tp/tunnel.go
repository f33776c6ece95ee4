package l2tp

import (
	"errors"
	"io"
	"math"
	"time"
)

// Never is the Deadline of a machine that waits for nothing.
const Never = time.Duration(math.MaxInt64)

// Role says which end of a tunnel, or of a call, a machine plays.
type Role uint8

// The two roles. A LAC opens tunnels and places incoming calls; an LNS answers
// both.
const (
	RoleLAC Role = iota
	RoleLNS
)

// TunnelConfig configures tunnels. It is shared by all that point to it and
// never changed once a Tunnel has it. Zero fields mean the defaults they name.
type TunnelConfig struct {
	// HostName and VendorName go out in SCCRQ and SCCRP.
	HostName   string
	VendorName string
	// FirmwareRevision goes out unless 0.
	FirmwareRevision uint16
	// Secret, where there is one, makes the tunnel challenge its peer, answer the
	// peer's challenge, and read hidden AVPs. Without it, a challenge from the
	// peer is a failed authentication.
	Secret []byte
	// NoChallenge keeps the tunnel from challenging; it still answers.
	NoChallenge bool
	// Hide makes the tunnel hide every AVP that may be hidden. It needs Secret.
	Hide bool
	// FramingCap and BearerCap are what the SCCRQ or SCCRP offers. Default for
	// FramingCap: sync and async. BearerCap goes out unless 0.
	FramingCap uint32
	BearerCap  uint32
	// OneTunnel sends a Tie Breaker in the SCCRQ, drawn from Rand: should the peer open a
	// tunnel at the same time, one of the two goes; see Collide. TieBreaker, unless
	// 0, is sent in place of a drawn one.
	OneTunnel  bool
	TieBreaker uint64
	// AcceptUnknownMandatory accepts messages with an unknown AVP that has the M
	// bit set, against RFC 2661 section 4.1, for LACs that need it.
	AcceptUnknownMandatory bool
	// Failover is the Failover Capability AVP (RFC 4951): it is sent in the SCCRQ, and in the
	// SCCRP to a peer that sent one. The zero value sends none.
	Failover Failover
	// Control configures the reliable delivery.
	Control ControlConfig
	// Rand yields challenges and random vectors; crypto/rand.Reader in earnest.
	Rand io.Reader
}

// TunnelState is the state of a control connection (RFC 2661 section 7.2.1).
type TunnelState uint8

// States of a control connection. TunnelStopping follows EventDown: the Tunnel
// only sees its StopCCN acknowledged, and acknowledges what the peer repeats.
const (
	TunnelIdle TunnelState = iota
	TunnelWaitReply
	TunnelWaitConn
	TunnelEstablished
	TunnelStopping
)

// Errors of Tunnel.Receive: the datagram was dropped.
var (
	ErrNotControl = errors.New("l2tp: not a control message")
	ErrTunnelID   = errors.New("l2tp: not for this tunnel")
	ErrWindow     = errors.New("l2tp: control message beyond the receive window")
	ErrStranger   = errors.New("l2tp: message acknowledges what was never sent")
	ErrHeld       = errors.New("l2tp: control connection waits for its recovery")
	ErrSequence   = errors.New("l2tp: first control message does not have Ns 0")
)

// Tunnel is one control connection (RFC 2661 section 7.2), in either role, with
// its reliable delivery. It belongs to one goroutine.
type Tunnel struct {
	cfg     *TunnelConfig
	role    Role
	state   TunnelState
	done    bool
	localID uint16
	// until is when setting up has taken too long, or when lingering ends.
	until time.Duration
	ctl   Control

	// What the peer said of itself. It belongs to the machine, too.
	peerName   string
	peerVendor string
	tieBreaker uint64
	// failover is what both ends can do; recovery is set in a recovery tunnel.
	failover Failover
	recovery *recovery
	// hand is what only the set-up needs; it is dropped when the tunnel is up.
	hand *handshake
}

// handshake is the state of authentication (RFC 2661 section 5.1.1).
type handshake struct {
	challenge  [16]byte // ours
	challenged bool     // we sent it
	response   [16]byte // our answer to the peer's
	answer     bool     // the peer sent a challenge
	tie        uint64   // our Tie Breaker, 0 for none
}

// NewTunnel returns an idle Tunnel. localID is not 0 and not in use. cfg is
// shared and must not change any more.
func NewTunnel(role Role, localID uint16, cfg *TunnelConfig) *Tunnel {
	return &Tunnel{
		cfg: cfg, role: role, localID: localID, until: Never,
		ctl: NewControl(&cfg.Control), hand: new(handshake),
	}
}

// Open sends the SCCRQ. Only a LAC's tunnel is opened; an LNS's starts by
// Receive of the SCCRQ.
func (t *Tunnel) Open(now time.Duration, fx *Effects) {
	if t.role == RoleLAC {
		t.step(now, inOpen, nil, cause{}, fx)
	}
}

// Stop ends the tunnel with a StopCCN. EventDown comes at once. A tunnel that
// is down already stays as it is.
func (t *Tunnel) Stop(now time.Duration, r Result, fx *Effects) {
	t.step(now, inClose, nil, cause{reason: ReasonLocal, local: true, result: r}, fx)
}

// Errors of Tunnel.Send.
var (
	ErrDown    = errors.New("l2tp: control connection is not established")
	ErrTooLong = errors.New("l2tp: message does not fit a datagram")
)

// maxBody is the longest body that the length field of a header can tell.
const maxBody = 1<<16 - 1 - ControlHeaderSize

// Send queues a call message. sessionID is the peer's id for the header: 0 for
// an ICRQ, and for CSUN and CSURQ. The message is encoded before Send returns.
// On an error nothing is sent: ErrDown, ErrTooLong, or that of Rand; ErrQueueFull
// also ends the tunnel (EventDown, ReasonOverflow).
func (t *Tunnel) Send(now time.Duration, m *Message, sessionID uint16, fx *Effects) error {
	if t.state != TunnelEstablished {
		return ErrDown
	}
	err := t.send(now, m, sessionID, fx)
	if err == ErrQueueFull {
		t.step(now, inClose, nil, cause{
			reason: ReasonOverflow, local: true, err: err,
			result: Result{Code: ResultGeneralError, Error: ErrorResources, Message: err.Error()},
		}, fx)
	}
	return err
}

// send encodes a message straight into the send queue.
func (t *Tunnel) send(now time.Duration, m *Message, sessionID uint16, fx *Effects) error {
	buf, err := t.ctl.begin()
	if err != nil {
		return err
	}
	from := len(buf)
	if t.cfg.Hide && len(t.cfg.Secret) > 0 {
		var vector [16]byte
		if _, err := io.ReadFull(t.cfg.Rand, vector[:]); err != nil {
			return err
		}
		buf = m.AppendHidden(buf, t.cfg.Secret, vector[:])
	} else {
		buf = m.Append(buf)
	}
	if len(buf)-from > maxBody {
		return ErrTooLong
	}
	t.ctl.commit(now, sessionID, buf, fx)
	return nil
}

// Tick does what is due at now: retransmissions, delayed acknowledgements,
// HELLO, the end of lingering.
func (t *Tunnel) Tick(now time.Duration, fx *Effects) {
	if t.done {
		return
	}
	t.ctl.Tick(now, fx)
	if t.ctl.Dead() {
		t.fail(now, ErrNoAnswer, fx)
		t.finish()
		return
	}
	if t.until > now {
		return
	}
	if t.state == TunnelStopping {
		t.finish()
		return
	}
	t.fail(now, ErrSetupTime, fx)
}

// Why a tunnel is down with ReasonTimeout, in Event.Err.
var (
	ErrNoAnswer  = errors.New("l2tp: peer does not acknowledge")
	ErrSetupTime = errors.New("l2tp: peer does not finish setting up the control connection")
)

// fail ends the tunnel because the peer takes too long.
func (t *Tunnel) fail(now time.Duration, err error, fx *Effects) {
	t.step(now, inClose, nil, cause{
		reason: ReasonTimeout, local: true, err: err,
		result: Result{Code: StopFSM, Message: err.Error()},
	}, fx)
}

// finish ends lingering.
func (t *Tunnel) finish() {
	t.done, t.until = true, Never
	t.ctl.dropAll()
	t.ctl.ackAt = Never
}

// Deadline returns when Tick is wanted next, or Never. It may change with every
// other call.
func (t *Tunnel) Deadline() time.Duration {
	if t.done {
		return Never
	}
	return min(t.until, t.ctl.Deadline())
}

// State returns the state.
func (t *Tunnel) State() TunnelState { return t.state }

// Role returns the role.
func (t *Tunnel) Role() Role { return t.role }

// LocalID returns our tunnel id.
func (t *Tunnel) LocalID() uint16 { return t.localID }

// PeerID returns the peer's tunnel id, 0 while it is not known.
func (t *Tunnel) PeerID() uint16 { return t.ctl.peerID }

// PeerName returns the peer's Host Name, as it came.
func (t *Tunnel) PeerName() string { return t.peerName }

// PeerVendor returns the peer's Vendor Name, as it came.
func (t *Tunnel) PeerVendor() string { return t.peerVendor }

// PeerWindow returns the peer's receive window in messages.
func (t *Tunnel) PeerWindow() uint16 { return t.ctl.peerWindow }

// PeerTieBreaker returns the Tie Breaker of the peer's SCCRQ, 0 for none.
func (t *Tunnel) PeerTieBreaker() uint64 { return t.tieBreaker }

// Ns returns the sequence number of the next message to be queued.
func (t *Tunnel) Ns() uint16 { return t.ctl.Ns() }

// Nr returns the sequence number expected from the peer next.
func (t *Tunnel) Nr() uint16 { return t.ctl.Nr() }

// Una returns the lowest sequence number that the peer has not acknowledged: Ns
// when it has acknowledged everything.
func (t *Tunnel) Una() uint16 { return t.ctl.Una() }

// Told returns the Nr that the peer was sent last: of what it has sent up to there it knows that it has arrived.
func (t *Tunnel) Told() uint16 { return t.ctl.Told() }

// Retransmissions returns how many messages were sent again, ever.
func (t *Tunnel) Retransmissions() uint32 { return t.ctl.Retransmissions() }

// Unacked returns how many messages the peer has not acknowledged yet. A stopped
// tunnel with none left has nothing more to say; it only lingers.
func (t *Tunnel) Unacked() int { return t.ctl.Unacked() }

// Done reports that lingering is over and the Tunnel may be forgotten. So may
// one that is still idle after Receive: it got nothing to start from.
func (t *Tunnel) Done() bool { return t.done }
