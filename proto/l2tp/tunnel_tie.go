package l2tp

import (
	"encoding/binary"
	"io"
	"time"
)

// Tie says what becomes of two SCCRQs that cross (RFC 2661 section 4.4.3, Tie
// Breaker): ours that waits for its reply, and the peer's.
type Tie uint8

// Outcomes of Tunnel.Collide.
const (
	// TieNone: there is no tie to break. Neither end wants one tunnel only, so both
	// go on, or this Tunnel has no SCCRQ outstanding.
	TieNone Tie = iota
	// TieWon: ours goes on. The peer's SCCRQ is dropped without an answer, and so
	// are its retransmissions.
	TieWon
	// TieLost: our Tunnel is silently gone: EventDown with ReasonTie, and Done. The
	// peer's SCCRQ is for a new Tunnel of RoleLNS.
	TieLost
	// TieBoth: the tie breakers are equal. Our Tunnel is silently gone, and the
	// peer's SCCRQ is dropped; both ends may try again.
	TieBoth
)

var tieNames = [...]string{TieNone: "no tie", TieWon: "won", TieLost: "lost", TieBoth: "both lost"}

// String returns the outcome in a word or two.
func (t Tie) String() string { return nameOf(tieNames[:], uint16(t)) }

// Collide compares the Tie Breaker of our outstanding SCCRQ with that of an SCCRQ,
// header included, which the same peer sent to tunnel id 0. The lower value
// wins; one that is there wins against none. Whoever opens tunnels
// towards peers that may do the same asks it for each of its Tunnels to that peer, before
// the SCCRQ is answered. What is not an SCCRQ makes no tie.
func (t *Tunnel) Collide(now time.Duration, datagram []byte, fx *Effects) Tie {
	h, payload, err := ParseHeader(datagram)
	if err != nil || !h.Control || len(payload) == 0 || t.state != TunnelWaitReply {
		return TieNone
	}
	var m Message
	if ParseMessage(payload, t.cfg.Secret, &m) != nil || m.Type != MessageSCCRQ {
		return TieNone
	}
	tie := breakTie(t.hand.tie, m.TieBreaker, m.Has(AVPTieBreaker))
	switch tie {
	case TieWon:
		t.step(now, inTieWon, nil, cause{}, fx)
	case TieLost, TieBoth:
		t.step(now, inTieLost, nil, cause{reason: ReasonTie, local: true}, fx)
	}
	return tie
}

// breakTie compares two tie breakers; ours is 0 when none was sent.
func breakTie(ours, theirs uint64, sent bool) Tie {
	switch {
	case ours == 0 && !sent:
		return TieNone
	case ours == 0:
		return TieLost
	case !sent || ours < theirs:
		return TieWon
	case ours == theirs:
		return TieBoth
	}
	return TieLost
}

// drawTie sets the Tie Breaker of the SCCRQ that is about to be sent.
func (t *Tunnel) drawTie() error {
	if t.recovery == nil {
		t.hand.tie = t.cfg.TieBreaker
	}
	if (t.cfg.OneTunnel || t.recovery != nil) && t.hand.tie == 0 {
		var b [8]byte
		if _, err := io.ReadFull(t.cfg.Rand, b[:]); err != nil {
			return err
		}
		t.hand.tie = max(1, binary.BigEndian.Uint64(b[:])) // 0 stands for none
	}
	return nil
}

// discard ends a tunnel as if it had never been: the peer is told nothing.
func (t *Tunnel) discard(why cause, fx *Effects) {
	t.hand, t.ctl.hello = nil, false
	t.finish()
	e := fx.event()
	e.Kind, e.Local, e.Reason = EventDown, why.local, why.reason
}
