package planetest

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"

	"culvert/lns/dataplane"
)

// Core is a dataplane.Core with one queue, whose packets come from Inject.
type Core struct {
	onCore func([]byte)
	in     chan []byte
	// asked gets one value whenever the plane wants the next packet, by
	// which Inject knows that the one before is through.
	asked  chan struct{}
	closed chan struct{}
	once   sync.Once
	routed table

	mu      sync.Mutex
	queue   [][]byte
	running bool // somebody delivers; it alone has ready
	ready   bool // the plane has asked and has not been answered
}

// table is a set of prefixes.
type table struct {
	mu  sync.Mutex
	set map[netip.Prefix]bool
}

func (t *table) change(add, remove []netip.Prefix) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, p := range remove {
		if !t.set[p] {
			errs = append(errs, errors.New("planetest: removed a route that is not there: "+p.String()))
		}
		delete(t.set, p)
	}
	for _, p := range add {
		t.set[p] = true
	}
	return errors.Join(errs...)
}

func (t *table) list() []netip.Prefix {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]netip.Prefix, 0, len(t.set))
	for p := range t.set {
		list = append(list, p)
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

// NewCore makes a Core. onCore is called with what the plane writes, which is
// only lent; nil drops it.
func NewCore(onCore func([]byte)) *Core {
	return &Core{
		onCore: onCore, in: make(chan []byte), asked: make(chan struct{}),
		closed: make(chan struct{}), routed: table{set: make(map[netip.Prefix]bool)},
	}
}

// Queues implements dataplane.Core.
func (c *Core) Queues() int { return 1 }

// Route implements dataplane.Core.
func (c *Core) Route(add, remove []netip.Prefix) error { return c.routed.change(add, remove) }

// Routes are the prefixes that the plane has asked for, in order.
func (c *Core) Routes() []netip.Prefix { return c.routed.list() }

// Close implements dataplane.Core.
func (c *Core) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// Write implements dataplane.Core.
func (c *Core) Write(_ int, batch []dataplane.Packet) int {
	for _, p := range batch {
		if c.onCore != nil {
			c.onCore(p.Buf[p.Off:])
		}
	}
	return len(batch)
}

// Inject gives the plane a packet, which is copied, and returns when it has been
// forwarded or dropped. It waits for the plane to be started. When somebody's packet is being
// delivered, or from a callback, it only queues, and that delivery goes on with it.
func (c *Core) Inject(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, bytes.Clone(b))
	if c.running {
		return
	}
	c.running = true
	for len(c.queue) > 0 {
		next := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		c.deliver(next)
		c.mu.Lock()
	}
	c.running = false
}

func (c *Core) deliver(b []byte) {
	if !c.ready && !c.await() {
		return
	}
	c.ready = false
	select {
	case c.in <- b:
		c.ready = c.await()
	case <-c.closed:
	}
}

// await waits until the plane asks for a packet; false when it never will.
func (c *Core) await() bool {
	select {
	case <-c.asked:
		return true
	case <-c.closed:
		return false
	}
}

// Read implements dataplane.Core.
func (c *Core) Read(_ int, buf []byte, batch []dataplane.Packet) (int, error) {
	select {
	case c.asked <- struct{}{}:
	case <-c.closed:
		return 0, net.ErrClosed
	}
	select {
	case b := <-c.in:
		n := copy(buf[dataplane.Headroom:], b)
		batch[0] = dataplane.Packet{Buf: buf[:dataplane.Headroom+n], Off: dataplane.Headroom}
		return 1, nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}
