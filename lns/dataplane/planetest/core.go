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

// pushCore is a dataplane.Core whose packets come from inject.
type pushCore struct {
	onCore func([]byte)
	in     chan []byte
	// asked gets one value whenever the plane wants the next packet, by
	// which inject knows that the one before is through.
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

func newPushCore(onCore func([]byte)) *pushCore {
	return &pushCore{
		onCore: onCore, in: make(chan []byte), asked: make(chan struct{}),
		closed: make(chan struct{}), routed: table{set: make(map[netip.Prefix]bool)},
	}
}

func (c *pushCore) Queues() int                            { return 1 }
func (c *pushCore) Route(add, remove []netip.Prefix) error { return c.routed.change(add, remove) }
func (c *pushCore) routes() []netip.Prefix                 { return c.routed.list() }

func (c *pushCore) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *pushCore) Write(_ int, batch []dataplane.Packet) int {
	for _, p := range batch {
		if c.onCore != nil {
			c.onCore(p.Buf[p.Off:])
		}
	}
	return len(batch)
}

// inject delivers b, and what others inject meanwhile; but if somebody
// delivers already, it leaves that to them.
func (c *pushCore) inject(b []byte) {
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

func (c *pushCore) deliver(b []byte) {
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
func (c *pushCore) await() bool {
	select {
	case <-c.asked:
		return true
	case <-c.closed:
		return false
	}
}

func (c *pushCore) Read(_ int, buf []byte, batch []dataplane.Packet) (int, error) {
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
