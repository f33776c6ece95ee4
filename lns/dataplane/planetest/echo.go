package planetest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"culvert/lns/dataplane"
)

// echoQueue is how many packets wait for each queue of an Echo.
const echoQueue = 4096

// Echo is a dataplane.Core that stands for hosts which answer: ICMP echo
// requests with replies, whatever address they are for, and UDP datagrams with themselves, from
// where they were sent. Anything else it counts and drops.
type Echo struct {
	queues []chan []byte
	closed chan struct{}
	once   sync.Once
	routed table

	answered, dropped atomic.Uint64
}

// NewEcho makes an Echo with so many queues; there should be one for each shard.
func NewEcho(queues int) *Echo {
	e := &Echo{closed: make(chan struct{}), routed: table{set: make(map[netip.Prefix]bool)}}
	for range max(queues, 1) {
		e.queues = append(e.queues, make(chan []byte, echoQueue))
	}
	return e
}

// Answered and Dropped count packets; Dropped had no answer, or no room in a queue.
func (e *Echo) Answered() uint64 { return e.answered.Load() }

// Dropped is explained at Answered.
func (e *Echo) Dropped() uint64 { return e.dropped.Load() }

// Queues implements dataplane.Core.
func (e *Echo) Queues() int { return len(e.queues) }

// Route implements dataplane.Core.
func (e *Echo) Route(add, remove []netip.Prefix) error { return e.routed.change(add, remove) }

// Quiet implements dataplane.Quieter: hosts would still answer what has come to them.
func (e *Echo) Quiet() { e.once.Do(func() { close(e.closed) }) }

// Close implements dataplane.Core.
func (e *Echo) Close() error {
	e.Quiet()
	return nil
}

// Write implements dataplane.Core: it queues the answers.
func (e *Echo) Write(queue int, batch []dataplane.Packet) int {
	for _, p := range batch {
		b := append([]byte(nil), p.Buf[p.Off:]...)
		if !answer(b) {
			e.dropped.Add(1)
			continue
		}
		select {
		case e.queues[queue] <- b:
			e.answered.Add(1)
		default:
			e.dropped.Add(1)
		}
	}
	return len(batch)
}

// Read implements dataplane.Core.
func (e *Echo) Read(queue int, buf []byte, batch []dataplane.Packet) (int, error) {
	var b []byte
	select {
	case b = <-e.queues[queue]:
	case <-e.closed:
		select {
		case b = <-e.queues[queue]:
		default:
			return 0, net.ErrClosed
		}
	}
	for n, used := 0, 0; ; {
		off := used + dataplane.Headroom
		used = off + copy(buf[off:], b)
		batch[n] = dataplane.Packet{Buf: buf[:used], Off: off}
		if n++; n == len(batch) || used+dataplane.Headroom+dataplane.MaxPacket > len(buf) {
			return n, nil
		}
		select {
		case b = <-e.queues[queue]:
		default:
			return n, nil
		}
	}
}

// answer turns an IPv4 packet into its answer, in place; false if it has none.
// Checksums stay right when source and destination change places.
func answer(b []byte) bool {
	size := int(b[0]&0xf) * 4
	if len(b) < size+8 {
		return false
	}
	t := b[size:]
	later := binary.BigEndian.Uint16(b[6:])&0x1fff != 0
	switch {
	case later && (b[9] == 1 || b[9] == 17): // no transport header in here
	case b[9] == 1:
		if t[0] != 8 {
			return false
		}
		// From 8 to 0 the sum loses 0x0800 (RFC 1624).
		t[0] = 0
		c := uint32(binary.BigEndian.Uint16(t[2:])) + 0x0800
		binary.BigEndian.PutUint16(t[2:], uint16(c+c>>16))
	case b[9] == 17:
		for i := range 2 {
			t[i], t[i+2] = t[i+2], t[i]
		}
	default:
		return false
	}
	for i := range 4 {
		b[12+i], b[16+i] = b[16+i], b[12+i]
	}
	return true
}
