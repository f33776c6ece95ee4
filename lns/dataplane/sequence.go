package dataplane

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"culvert/proto/l2tp"
)

// Bounds of SequenceConfig.
const (
	MaxReorderPackets = 256
	MinReorderTime    = time.Millisecond
	MaxReorderTime    = time.Second
)

// SequenceConfig says what becomes of data messages that overtook others.
type SequenceConfig struct {
	// Packets is for how many of a session's data messages a missing one is
	// waited for, 0 to MaxReorderPackets; 0 waits for none. IP packets wait, other
	// frames are let through, since PPP's control protocols mind their own order.
	Packets int
	// Time bounds the wait, MinReorderTime to MaxReorderTime. A packet may wait
	// longer by the plane's tick of reorderTick.
	Time time.Duration
}

// Validate says what is wrong, and what would be right.
func (c SequenceConfig) Validate() error {
	switch {
	case c.Packets < 0 || c.Packets > MaxReorderPackets:
		return fmt.Errorf("a reorder queue of %d packets is not between 0 and %d", c.Packets, MaxReorderPackets)
	case c.Packets > 0 && (c.Time < MinReorderTime || c.Time > MaxReorderTime):
		return fmt.Errorf("a wait of %v for a missing packet is not between %v and %v", c.Time, MinReorderTime, MaxReorderTime)
	}
	return nil
}

// Sequence is a session's numbering of data messages, both ways (RFC 2661
// section 5.4). The plane has it from Session and its shard keeps it, for both send
// and take in frames of the session. All methods may be called from any goroutine.
// A session without sequencing has none, and pays nothing.
type Sequence struct {
	config SequenceConfig
	next   atomic.Pointer[atomic.Uint32] // own, or where it survives the process
	own    atomic.Uint32
	on     atomic.Bool

	late, lost, reordered atomic.Uint64

	// mu guards what comes in. Nobody waits for it but where data of one session
	// comes to two readers at once.
	mu sync.Mutex
	in l2tp.DataSequence
	// ring holds what is ahead of in.Next, by Ns modulo its length; nil until
	// something was ahead. waiting of its slots hold a packet.
	ring    []slotAhead
	waiting int
	listed  bool // the plane's timer looks after it
	closed  bool // the session has ended: nothing may wait any more
}

// slotAhead is a number ahead of the one that is due.
type slotAhead struct {
	held *held         // nil where nothing waits
	at   time.Duration // when it came
	gone bool          // it came and was let through
}

// NewSequence makes the numbering of one session. on says whether what is
// sent has numbers to begin with.
func NewSequence(c SequenceConfig, on bool) *Sequence {
	q := &Sequence{config: c}
	q.next.Store(&q.own)
	q.on.Store(on)
	return q
}

// Number switches the numbering of what is sent on or off. The LAC has to do
// likewise when it sees it, and numbers go on from where they were.
func (q *Sequence) Number(on bool) {
	if q.on.Load() != on {
		q.on.Store(on)
	}
}

// Numbered says whether what is sent has numbers.
func (q *Sequence) Numbered() bool { return q.on.Load() }

// Resume lets what is sent go on with the number next, where another process has sent before.
func (q *Sequence) Resume(next uint16) { q.next.Load().Store(uint32(next)) }

// bind has the numbers taken where they survive. found says that there is one of an
// earlier process, which is the one to go on with.
func (q *Sequence) bind(c *counts, found bool) {
	if !found {
		c.ns.Store(q.next.Load().Load())
	}
	q.next.Store(&c.ns)
}

// unbind goes on without that.
func (q *Sequence) unbind() {
	q.own.Store(q.next.Load().Load())
	q.next.Store(&q.own)
}

// Take takes the number of the next data message to be sent.
func (q *Sequence) Take() uint16 { return uint16(q.next.Load().Add(1) - 1) }

// Accept says whether a message with this number, which the plane has not seen, is
// to be acted on: else it is a duplicate, or late.
func (q *Sequence) Accept(ns uint16) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	missing, ok := q.in.Accept(ns)
	if !ok {
		q.late.Add(1)
	}
	q.lost.Add(uint64(missing))
	return ok
}

// SequenceStats count what came in for one session.
type SequenceStats struct {
	// Late were duplicates, or came after their turn, and were dropped; Lost never
	// came in time; Reordered came late and were waited for.
	Late, Lost, Reordered uint64
}

// Stats are the counters since NewSequence.
func (q *Sequence) Stats() SequenceStats {
	return SequenceStats{Late: q.late.Load(), Lost: q.lost.Load(), Reordered: q.reordered.Load()}
}
