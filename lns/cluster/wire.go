package cluster

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// wire is a connection on which a node hands an address over to another: frames, each with a
// keyed hash over its number and itself, so that nobody without the cluster's secret can add, change,
// repeat or leave out one. What is said is not secret; the nodes' network is the operator's.
type wire struct {
	c       net.Conn
	in, out wayKey
	buf     []byte

	mu sync.Mutex // of writing
}

// wayKey is the key of one way, and how many frames have gone it.
type wayKey struct {
	key []byte
	n   uint64
}

// frameKind says what a frame is.
type frameKind byte

// The frames. The old owner of an address sends offer, asks, given, counts, gone, late and end; the new one
// sends welcome, grants and ready.
const (
	frameOffer   frameKind = iota + 1 // what is to be moved
	frameWelcome                      // empty, or why not
	frameGiven                        // the database has it moved
	frameReady                        // all is loaded
	frameCounts                       // what sessions have counted since they were given
	frameGone                         // the old owner has stopped
	frameCame                         // datagrams from LACs
	frameLeaves                       // datagrams to LACs
	frameEnd                          // nothing follows
	frameAsks                         // when it was asked, for how long the old owner may go on
	frameGrants                       // when it was asked, and for how long from then on
	frameKinds
)

const (
	wireMagic = "culvert1"
	nonceSize = 16
	macSize   = 16
	// maxFrame is the longest payload, in octets.
	maxFrame = 1 << 18
	// wireTime is how long the other node has for an answer that takes no work, and to take a frame.
	wireTime = 2 * time.Second
)

var errFrame = errors.New("not a frame of this cluster's")

// dialWire makes a connection as the node that begins, acceptWire as the one that is asked.
func dialWire(c net.Conn, secret []byte) (*wire, error) {
	mine := append([]byte(wireMagic), nonce()...)
	if _, err := c.Write(mine); err != nil {
		return nil, err
	}
	theirs := make([]byte, nonceSize)
	if _, err := io.ReadFull(c, theirs); err != nil {
		return nil, err
	}
	return newWire(c, secret, mine, theirs, "asks", "answers"), nil
}

func acceptWire(c net.Conn, secret []byte) (*wire, error) {
	theirs := make([]byte, len(wireMagic)+nonceSize)
	if _, err := io.ReadFull(c, theirs); err != nil {
		return nil, err
	}
	if string(theirs[:len(wireMagic)]) != wireMagic {
		return nil, fmt.Errorf("%w: it begins with %q", errFrame, theirs[:len(wireMagic)])
	}
	mine := nonce()
	if _, err := c.Write(mine); err != nil {
		return nil, err
	}
	return newWire(c, secret, theirs, mine, "answers", "asks"), nil
}

func nonce() []byte {
	b := make([]byte, nonceSize)
	_, _ = rand.Read(b) // never fails
	return b
}

func newWire(c net.Conn, secret, asker, asked []byte, out, in string) *wire {
	key := func(way string) wayKey {
		h := hmac.New(sha256.New, secret)
		for _, part := range [][]byte{[]byte(way), asker, asked} {
			h.Write(part)
		}
		return wayKey{key: h.Sum(nil)}
	}
	return &wire{c: c, out: key(out), in: key(in)}
}

// sum is the hash of the way's next frame.
func (k *wayKey) sum(kind frameKind, payload []byte) []byte {
	h := hmac.New(sha256.New, k.key)
	head := binary.BigEndian.AppendUint64(nil, k.n)
	k.n++
	h.Write(append(head, byte(kind)))
	h.Write(payload)
	return h.Sum(nil)[:macSize]
}

// write sends a frame. Several goroutines may.
func (w *wire) write(kind frameKind, payload []byte) error {
	if len(payload) > maxFrame {
		return fmt.Errorf("a frame of %d octets is too long", len(payload))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+1+len(payload)+macSize), uint32(len(payload)))
	b = append(append(b, byte(kind)), payload...)
	b = append(b, w.out.sum(kind, payload)...)
	if err := w.c.SetWriteDeadline(time.Now().Add(wireTime)); err != nil {
		return err
	}
	_, err := w.c.Write(b)
	return err
}

// read gives the next frame; its payload is good until the next call.
func (w *wire) read() (frameKind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(w.c, head[:]); err != nil {
		return 0, nil, err
	}
	n, kind := binary.BigEndian.Uint32(head[:]), frameKind(head[4])
	if n > maxFrame || kind == 0 || kind >= frameKinds {
		return 0, nil, fmt.Errorf("%w: kind %d, %d octets", errFrame, kind, n)
	}
	if cap(w.buf) < int(n)+macSize {
		w.buf = make([]byte, int(n)+macSize)
	}
	b := w.buf[:int(n)+macSize]
	if _, err := io.ReadFull(w.c, b); err != nil {
		return 0, nil, err
	}
	payload, mac := b[:n], b[n:]
	if !hmac.Equal(mac, w.in.sum(kind, payload)) {
		return 0, nil, fmt.Errorf("%w: its hash is wrong", errFrame)
	}
	return kind, payload, nil
}

// within bounds reading by a time from now on; 0 does not.
func (w *wire) within(t time.Duration) {
	var at time.Time
	if t > 0 {
		at = time.Now().Add(t)
	}
	_ = w.c.SetReadDeadline(at) // one that is closed says so when it is read
}
