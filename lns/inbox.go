package lns

import (
	"sync"

	"culvert/lns/dataplane"
)

// message is work for a shard that did not come in a datagram: from another
// shard, from AAA, from an operator. deliver runs on the shard's goroutine.
type message interface{ deliver(sh *shard) }

// call is a message that is just a function.
type funcMessage func(sh *shard)

func (f funcMessage) deliver(sh *shard) { f(sh) }

// gram is one datagram in a batch's arena.
type gram struct {
	listener uint16
	peer     source
	from, to int
}

// batch is what a shard works on in one step.
type batch struct {
	grams []gram
	arena []byte
	msgs  []message
}

func (b *batch) reset() {
	clear(b.msgs)
	b.grams, b.arena, b.msgs = b.grams[:0], b.arena[:0], b.msgs[:0]
}

// The bounds of an inbox's datagrams. What comes beyond is dropped, since an
// L2TP peer retransmits; messages are never dropped.
const (
	inboxGrams = 8192
	inboxBytes = 4 << 20
)

// inbox collects a shard's work between two steps. Any goroutine puts, only
// the shard takes.
type inbox struct {
	wake chan struct{} // has room for one: a wake-up that nobody took yet is enough

	mu      sync.Mutex
	in      batch
	dropped uint64
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// putDatagrams copies what has room and counts the rest as dropped.
func (b *inbox) putDatagrams(list []dataplane.Datagram) {
	b.mu.Lock()
	for i := range list {
		d := &list[i]
		if len(b.in.grams) >= inboxGrams || len(b.in.arena)+len(d.B) > inboxBytes {
			b.dropped += uint64(len(list) - i)
			break
		}
		from := len(b.in.arena)
		b.in.arena = append(b.in.arena, d.B...)
		b.in.grams = append(b.in.grams, gram{d.Listener, source{d.Peer, d.Mark}, from, len(b.in.arena)})
	}
	b.mu.Unlock()
	b.signal()
}

// put adds messages in order.
func (b *inbox) put(list ...message) {
	b.mu.Lock()
	b.in.msgs = append(b.in.msgs, list...)
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take swaps the collected work with spare, which it empties first.
func (b *inbox) take(spare *batch) (dropped uint64) {
	spare.reset()
	b.mu.Lock()
	b.in, *spare = *spare, b.in
	dropped, b.dropped = b.dropped, 0
	b.mu.Unlock()
	return dropped
}
