package planetest

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"culvert/lns/dataplane"
)

// network is a dataplane.Transport in memory.
type network struct {
	// Constant after Start.
	listeners []netip.AddrPort
	onSend    func(dataplane.Datagram)
	receive   func(shard int, batch []dataplane.Datagram)
	shards    []inbox

	// mu guards open: it is held for reading while datagrams are delivered.
	mu   sync.Mutex
	open bool
	busy sync.WaitGroup
}

// inbox is what waits for one shard.
type inbox struct {
	mu      sync.Mutex
	queue   []dataplane.Datagram
	running bool // somebody delivers
}

func newNetwork(listeners []netip.AddrPort, shards int, onSend func(dataplane.Datagram)) *network {
	return &network{listeners: listeners, onSend: onSend, shards: make([]inbox, shards)}
}

func (n *network) Listeners() []netip.AddrPort { return n.listeners }
func (n *network) Overrun() uint64             { return 0 }

func (n *network) Start(receive func(int, []dataplane.Datagram)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.receive, n.open = receive, true
	return nil
}

func (n *network) Send(_ int, batch []dataplane.Datagram) int {
	for _, d := range batch {
		if n.onSend != nil {
			n.onSend(d)
		}
	}
	return len(batch)
}

// Close waits for deliveries; it must not be called from a callback.
func (n *network) Close() error {
	n.mu.Lock()
	n.open = false
	n.mu.Unlock()
	n.busy.Wait()
	return nil
}

func (n *network) inject(d dataplane.Datagram) bool {
	n.mu.Lock()
	if !n.open {
		n.mu.Unlock()
		return false
	}
	n.busy.Add(1)
	n.mu.Unlock()
	defer n.busy.Done()
	shard := steer(d.B, len(n.shards))
	in := &n.shards[shard]
	in.mu.Lock()
	defer in.mu.Unlock()
	in.queue = append(in.queue, d)
	if in.running {
		return true
	}
	in.running = true
	for len(in.queue) > 0 {
		batch := in.queue
		in.queue = nil
		in.mu.Unlock()
		n.receive(shard, batch)
		in.mu.Lock()
	}
	in.running = false
	return true
}

// steer is what the kernel's filter does: the tunnel's id names the shard of a control
// message, the session's id that of a data message, and what is too short goes to 0.
func steer(b []byte, shards int) int {
	if len(b) < 2 {
		return 0
	}
	at := 4
	if b[0]&0x80 != 0 {
		at = 2
	}
	if b[0]&0x40 != 0 {
		at += 2
	}
	if len(b) < at+2 {
		return 0
	}
	return dataplane.ShardOf(binary.BigEndian.Uint16(b[at:]), shards)
}
