package cluster

import (
	"slices"
	"sync"

	"culvert/lns/dataplane"
)

// held is what the old owner of an address has told or sent on, and cannot be used yet: counters wait for their sessions to be alive
// here, datagrams for this node to answer.
type held struct {
	mu sync.Mutex
	// loaded and open say that it can be used.
	loaded, open bool
	counts       map[dataplane.Key]dataplane.Counters
	frames       []heldFrame
	size         int
	// lost are datagrams, forgotten sessions whose counters were not kept.
	lost, forgotten int
}

type heldFrame struct {
	kind frameKind
	b    []byte
}

// maxHeldCounts bounds the sessions whose counters wait; an address has fewer than any plane has room for.
const maxHeldCounts = 1 << 20

// count adds what sessions have counted to what is held of them, or gives it on.
func (h *held) count(list []dataplane.Counted, give func([]dataplane.Counted)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loaded {
		give(list)
		return
	}
	if h.counts == nil {
		h.counts = map[dataplane.Key]dataplane.Counters{}
	}
	for i := range list {
		c := &list[i]
		v, ok := h.counts[c.Key]
		if !ok && len(h.counts) >= maxHeldCounts {
			h.forgotten++
			continue
		}
		h.counts[c.Key] = dataplane.Counters{
			InOctets: v.InOctets + c.InOctets, InPackets: v.InPackets + c.InPackets,
			OutOctets: v.OutOctets + c.OutOctets, OutPackets: v.OutPackets + c.OutPackets, Spoofed: v.Spoofed + c.Spoofed,
		}
	}
}

// load gives on what is held of counters; what follows is given on at once.
func (h *held) load(give func([]dataplane.Counted)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loaded = true
	list := make([]dataplane.Counted, 0, len(h.counts))
	for k, v := range h.counts {
		list = append(list, dataplane.Counted{Key: k, Counters: v})
	}
	if h.counts = nil; len(list) > 0 {
		give(list)
	}
}

// late holds n datagrams, or gives them on.
func (h *held) late(kind frameKind, b []byte, n int, give func(frameKind, []byte)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.open:
		give(kind, b)
	case h.size+len(b) > maxLate:
		h.lost += n
	default:
		h.size += len(b)
		h.frames = append(h.frames, heldFrame{kind, slices.Clone(b)})
	}
}

// opens gives on the datagrams that are held, in their order; what follows is given on at once.
func (h *held) opens(give func(frameKind, []byte)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = true
	for _, f := range h.frames {
		give(f.kind, f.b)
	}
	h.frames, h.size = nil, 0
}

// missed is what was not kept: datagrams, and sessions whose counters were not.
func (h *held) missed() (datagrams, sessions int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost, h.forgotten
}
