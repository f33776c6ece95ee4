package l2tp

import (
	"encoding/binary"
	"time"
)

// The failover extensions of RFC 4951. An endpoint that has lost the numbers of a control
// connection, the recovery endpoint, opens a recovery tunnel to the other, the remote endpoint,
// which names the old tunnel; when that is up, both go on in the old tunnel with numbers
// that they have agreed on, and ask each other which sessions they have.

// Failover is the Failover Capability AVP (RFC 4951 section 5.1). The zero value stands for
// no AVP at all.
type Failover struct {
	// Control: the endpoint can recover from a failure of its control channel by a
	// recovery tunnel. Data: it can begin anew with the numbers of data messages.
	Control, Data bool
	// RecoveryTime is how long the peer is asked to wait, from the first transmission of a message that is not
	// acknowledged, before it gives the tunnel up. Milliseconds on the wire.
	RecoveryTime time.Duration
}

// Offered says whether there is an AVP.
func (f Failover) Offered() bool { return f.Control || f.Data }

const (
	failoverControl = 1 // the C bit
	failoverData    = 2 // the D bit
)

func (f Failover) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, bit(f.Control, failoverControl)|bit(f.Data, failoverData))
	return binary.BigEndian.AppendUint32(dst, uint32(min(max(f.RecoveryTime/time.Millisecond, 0), 1<<32-1)))
}

func parseFailover(v []byte) Failover {
	return Failover{
		Control: v[1]&failoverControl != 0, Data: v[1]&failoverData != 0,
		RecoveryTime: time.Duration(binary.BigEndian.Uint32(v[2:])) * time.Millisecond,
	}
}

// Recovery is the Tunnel Recovery AVP (RFC 4951 section 5.2): the old tunnel by the id
// that the sender gave it, and by the one that the receiver did.
type Recovery struct{ Tunnel, Remote uint16 }

// SuggestedSequence is the Suggested Control Sequence AVP (RFC 4951 section 5.3), for the
// recovery endpoint to take over.
type SuggestedSequence struct{ Ns, Nr uint16 }

// SessionState is one Failover Session State AVP (RFC 4951 section 5.4): a session by its
// sender's id, 0 in an FSR for one that the sender does not have, and by its receiver's.
type SessionState struct{ Session, Remote uint16 }

// appendPair encodes two ids, each after two reserved octets, after two more of these.
func appendPair(dst []byte, a, b uint16) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, 0, 0), uint32(a))
	return binary.BigEndian.AppendUint32(dst, uint32(b))
}

func parsePair(v []byte) (a, b uint16) {
	return binary.BigEndian.Uint16(v[4:]), binary.BigEndian.Uint16(v[8:])
}

// statesPerMessage is how many sessions one FSQ or FSR tells of: with 16 octets for each, hidden
// ones included, the message fits any path.
const statesPerMessage = 48

// SendStates sends FSQs or FSRs about the sessions, as many as they need (RFC 4951 section
// 4). The error is that of Send.
func (t *Tunnel) SendStates(now time.Duration, typ MessageType, states []SessionState, fx *Effects) error {
	for len(states) > 0 {
		n := min(len(states), statesPerMessage)
		m := Message{Type: typ, SessionStates: states[:n]}
		if err := t.Send(now, &m, 0, fx); err != nil {
			return err
		}
		states = states[n:]
	}
	return nil
}

// AnswerFSQ makes the states of the FSR that answers an FSQ (RFC 4951 section 3.3). peerOf
// tells by which of the peer's ids a session of ours goes. stale are the sessions of ours that the
// peer knows by another id than we do: they are not to be cleared, but to be asked for.
func AnswerFSQ(fsq *Message, peerOf func(ours uint16) (peer uint16, ok bool)) (answer []SessionState, stale []uint16) {
	for _, q := range fsq.SessionStates {
		peer, ok := peerOf(q.Remote)
		a := SessionState{Session: q.Remote, Remote: q.Session}
		if !ok || peer != q.Session || peer == 0 {
			a.Session = 0
		}
		if ok && peer != q.Session {
			stale = append(stale, q.Remote)
		}
		answer = append(answer, a)
	}
	return answer, stale
}
