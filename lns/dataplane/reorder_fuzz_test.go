package dataplane_test

import (
	"encoding/binary"
	"testing"
	"time"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// FuzzReorder gives a session's reorder queue any numbers in any order, with time
// passing: each packet comes out once or is counted as late, nothing waits longer
// than it may, what waits is bounded, and every buffer comes back.
func FuzzReorder(f *testing.F) {
	f.Add(uint8(4), uint8(20), []byte{0, 1, 0, 3, 0, 2, 1, 30, 0, 1})
	f.Add(uint8(1), uint8(1), []byte{0, 0, 0, 2, 0, 255, 0, 2, 1, 1})
	f.Add(uint8(0), uint8(5), []byte{0, 1, 0, 1, 0, 5, 0, 255, 2, 3, 3, 0})
	f.Add(uint8(255), uint8(9), []byte{2, 200, 0, 1, 0, 3, 3, 0, 0, 128, 1, 9, 2, 100, 0, 1})
	f.Fuzz(func(t *testing.T, packets, wait uint8, ops []byte) {
		cfg := dataplane.SequenceConfig{Packets: int(packets), Time: time.Duration(max(wait, 1)) * time.Millisecond}
		n := newNumbers(t, cfg)
		ns, sent, out := 0, 0, map[int]bool{}
		settle := func() {
			for _, id := range n.passed() {
				if id < 0 || id >= sent || out[id] {
					t.Fatalf("packet %d of %d came out, before: %v", id, sent, out[id])
				}
				out[id] = true
			}
			made, free := dataplane.Held(n.plane)
			if made-free > int(packets) {
				t.Fatalf("%d packets wait in a queue of %d", made-free, packets)
			}
		}
		for ; len(ops) >= 2; ops = ops[2:] {
			switch ops[0] % 4 {
			case 0: // a packet, so far from the last one
				ns += int(int8(ops[1]))
				n.sendAs(ns, sent)
				sent++
			case 1:
				n.now += time.Duration(ops[1]) * time.Millisecond / 4
				n.tick(0)
			case 2: // a leap
				ns += int(ops[1]) << 8
			case 3: // a batch
				for range ops[1] % 32 {
					ns++
					n.sendAs(ns, sent)
					sent++
				}
			}
			settle()
		}
		n.tick(cfg.Time)
		settle()
		if n.tick(0) {
			t.Fatal("something waits longer than it may")
		}
		if made, free := dataplane.Held(n.plane); made != free {
			t.Fatalf("of %d buffers %d came back", made, free)
		}
		if s := n.q.Stats(); len(out)+int(s.Late) != sent {
			t.Fatalf("%d sent, %d came out and %d were late", sent, len(out), s.Late)
		}
	})
}

// sendAs sends a packet with a number and a payload of its own.
func (n *numbers) sendAs(ns, id int) {
	b := binary.BigEndian.AppendUint16([]byte{8, 2, 0, 1, 0, 1}, uint16(ns))
	b = append(b, 0, 0, 0x21)
	b = append(b, planetest.UDP4(n.src, planetest.Host, binary.BigEndian.AppendUint32(nil, uint32(id)))...)
	dataplane.Receive(n.plane, 0, []dataplane.Datagram{{Peer: lacPeer, B: b}})
}
