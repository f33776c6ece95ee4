package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Kind says what a Message is.
type Kind uint8

// The kinds: a probe, the answer to one, and the word that the database has news.
const (
	KindProbe Kind = iota + 1
	KindAnswer
	KindNews
)

// Message is what one node says to another, in a datagram. It is signed with
// the cluster's secret. A repeated or delayed one does no harm: a promise
// counts from Sent, on the clock of the node that asked.
type Message struct {
	Kind     Kind
	From, To string
	// Epoch is that of the sender's program.
	Epoch uint64
	// Sent is the prober's time; an answer gives it back.
	Sent time.Duration
	// Serving says that the sender owns something and answers for it.
	Serving bool
	// Claims is how often an address has changed hands, as far as the sender knows.
	Claims uint64
	// Promise, in an answer, is for how long from Sent on the sender will
	// not claim anything of the prober's; 0 promises nothing.
	Promise time.Duration
}

// maxName is the longest name of a node, in octets.
const maxName = 16

// messageVersion is the first octet of a message.
const messageVersion = 1

// MaxMessage is the longest message, in octets.
const MaxMessage = 1 + 1 + 1 + 4*8 + 2*(1+maxName) + sha256.Size

// ErrMessage says that a datagram is no message of this cluster's.
var ErrMessage = errors.New("not a message of this cluster")

// Append appends the message, signed with secret, to b. Names longer than 16 octets are cut.
func (m *Message) Append(b, secret []byte) []byte {
	from := len(b)
	serving := byte(0)
	if m.Serving {
		serving = 1
	}
	b = append(b, messageVersion, byte(m.Kind), serving)
	for _, v := range [...]uint64{m.Epoch, uint64(m.Sent), m.Claims, uint64(m.Promise)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	for _, name := range [...]string{m.From, m.To} {
		name = name[:min(len(name), maxName)]
		b = append(append(b, byte(len(name))), name...)
	}
	return append(b, sign(b[from:], secret)...)
}

func sign(b, secret []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(b)
	return h.Sum(nil)
}

// Parse reads a message and checks its signature. The error is an ErrMessage.
func Parse(b, secret []byte) (*Message, error) {
	const fixed = 3 + 4*8
	if len(b) < fixed+2+sha256.Size || len(b) > MaxMessage {
		return nil, fmt.Errorf("%w: %d octets", ErrMessage, len(b))
	}
	body, mac := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if !hmac.Equal(mac, sign(body, secret)) {
		return nil, fmt.Errorf("%w: its signature is wrong", ErrMessage)
	}
	if body[0] != messageVersion || body[1] < byte(KindProbe) || body[1] > byte(KindNews) || body[2] > 1 {
		return nil, fmt.Errorf("%w: version %d, kind %d", ErrMessage, body[0], body[1])
	}
	m := &Message{Kind: Kind(body[1]), Serving: body[2] == 1}
	var n [4]uint64
	for i := range n {
		n[i] = binary.BigEndian.Uint64(body[3+8*i:])
	}
	if n[1] > math.MaxInt64 || n[3] > math.MaxInt64 {
		return nil, fmt.Errorf("%w: a time out of range", ErrMessage)
	}
	m.Epoch, m.Sent, m.Claims, m.Promise = n[0], time.Duration(n[1]), n[2], time.Duration(n[3])
	rest := body[fixed:]
	for _, name := range [...]*string{&m.From, &m.To} {
		if len(rest) == 0 || int(rest[0]) > maxName || len(rest) < 1+int(rest[0]) {
			return nil, fmt.Errorf("%w: a name is cut off", ErrMessage)
		}
		*name, rest = string(rest[1:1+rest[0]]), rest[1+rest[0]:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d octets too many", ErrMessage, len(rest))
	}
	return m, nil
}
