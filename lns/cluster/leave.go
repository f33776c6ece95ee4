package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"culvert/lns/dataplane"
	"culvert/sessiondb"
	"culvert/sessiondb/cluster"
)

// leaving is the old owner's side of a move without loss. While the new owner loads what
// is on the address, this node forwards packets as before, and sends on what is for tunnels and links. It may do so for a
// lease, and for longer where the other grants it, which it asks for again and again. When
// the other is ready, this one stops, tells what it has counted, and sends on for a while
// what still comes here, and what its core still sends to subscribers.
type leaving struct {
	r    *Runner
	p    *place
	w    *wire
	host Handing
	// ready is closed when the other node is, broken when nothing more can be said to it.
	ready, broken chan struct{}
	// asked is closed when the other node may be asked for how long this one may go on; left when that is of no use any more.
	asked, left chan struct{}
	// back is closed when the address is to come back here already.
	back chan struct{}
	once sync.Once
	// counting is held while host counts.
	counting sync.Mutex
	// late is what waits to be sent on.
	late *backlog
}

// lateTime is for how long packets that come to the old owner are sent on: longer than
// it takes the neighbours to hear where the address is.
const lateTime = 2 * time.Second

// offer asks the other node whether it takes an address as leaving and arriving do it. One of an earlier
// version does not: then the address moves with a gap.
func (r *Runner) offer(p *place, a cluster.Address, to, at string) (*leaving, error) {
	secret := r.peers.secret.Load()
	if secret == nil {
		return nil, errors.New("the cluster's secret is not known yet")
	}
	c, err := net.DialTimeout("tcp", at, wireTime)
	if err != nil {
		return nil, err
	}
	w, err := offerOn(c, *secret, offer{From: r.cfg.Node, To: to, Local: a.Local, Epoch: a.Epoch, Asks: true})
	if err != nil {
		c.Close()
		return nil, err
	}
	l := &leaving{r: r, p: p, w: w, ready: make(chan struct{}), broken: make(chan struct{}), asked: make(chan struct{}),
		left: make(chan struct{}), back: make(chan struct{}), late: newBacklog()}
	r.done.Go(l.listen)
	r.done.Go(l.sendOn)
	return l, nil
}

// offerOn makes the offer on a connection.
func offerOn(c net.Conn, secret []byte, o offer) (*wire, error) {
	if err := c.SetDeadline(time.Now().Add(wireTime)); err != nil {
		return nil, err
	}
	w, err := dialWire(c, secret)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if err := w.write(frameOffer, text); err != nil {
		return nil, err
	}
	kind, why, err := w.read()
	switch {
	case err != nil:
		return nil, err
	case kind != frameWelcome:
		return nil, fmt.Errorf("%w: kind %d instead of a welcome", errFrame, kind)
	case len(why) > 0:
		return nil, fmt.Errorf("node %s: %s", o.To, why)
	}
	w.within(0)
	return w, nil
}

// listen hears the other node until the connection ends.
func (l *leaving) listen() {
	defer close(l.broken)
	var ready, asked sync.Once
	for {
		kind, b, err := l.w.read()
		if err != nil {
			return
		}
		switch kind {
		case frameReady:
			ready.Do(func() { close(l.ready) })
		case frameGrants:
			asked.Do(func() { close(l.asked) })
			if l.granted(b) != nil {
				l.w.c.Close()
			}
		}
	}
}

// granted has this node go on for as long as the other has said.
func (l *leaving) granted(b []byte) error {
	g, err := parseGrant(b)
	if err != nil || g.For == 0 || g.Sent > l.r.now() {
		return err
	}
	return l.r.ask(l.r.ctx, func() {
		l.r.m.Linger(l.r.now(), l.p.local, g.Sent+min(g.For, l.r.m.Lease()))
		l.r.publish()
	})
}

// ask asks the other node again and again for how long this one may go on, where it answers that.
func (l *leaving) ask() {
	select {
	case <-l.asked:
	case <-l.broken:
		return
	}
	tick := time.NewTicker(l.r.m.Lease() / 10)
	defer tick.Stop()
	for l.w.write(frameAsks, grant{Sent: l.r.now()}.append(nil)[:8]) == nil {
		select {
		case <-tick.C:
		case <-l.left:
			return
		case <-l.broken:
			return
		}
	}
	l.w.c.Close()
}

// sendOn sends what came or was to leave too late, until the connection ends.
func (l *leaving) sendOn() {
	for {
		select {
		case <-l.late.woken:
		case <-l.broken:
			return
		}
		if l.flush() != nil {
			l.w.c.Close()
			return
		}
	}
}

// flush sends what waits. What is to leave was counted here, maybe after the other node was told what was: it is told
// first, so that a session that ends with its answer is accounted with it.
func (l *leaving) flush() error {
	frames := l.late.take()
	if len(frames[1]) > 0 {
		if err := l.tellCounted(); err != nil {
			return err
		}
	}
	return frames.each(l.w.write)
}

// tellCounted tells what sessions have counted since it was told last.
func (l *leaving) tellCounted() error {
	l.counting.Lock()
	defer l.counting.Unlock()
	return l.tell(l.host.Counted())
}

// begin takes tunnels and sessions from the LNS, whose plane goes on.
func (l *leaving) begin(ctx context.Context) (last []sessiondb.Change, err error) {
	l.r.done.Go(l.ask)
	l.host, last, err = l.r.cfg.Host.HandOver(ctx, l.p.local, func(batch []dataplane.Datagram) { l.late.add(false, batch) })
	return last, err
}

// abort leaves all as it was before begin, but for what begin has given.
func (l *leaving) abort() {
	if l.host != nil {
		l.host.Abort()
	}
	l.w.c.Close()
}

// finish is the rest, when the database has the address moved: it returns when this node has
// stopped answering, which it has at the end of its time at the latest, and the other has been told.
func (l *leaving) finish() error {
	err := l.w.write(frameGiven, nil)
	if err == nil {
		err = l.awaitReady()
	}
	lingers := make(chan struct{})
	stop := func() {
		l.r.m.Left(l.p.local)
		l.p.lingers, l.p.leaving = false, l
		if err == nil {
			l.r.cfg.Fence.Divert(l.p.listener, l.late.add)
			l.p.on = 0 // the address is not taken away yet
			l.r.puts <- put{a: l.p.local.Addr(), linger: lingers}
		}
		l.r.publish()
	}
	e := l.r.ask(l.r.ctx, stop)
	close(l.left)
	if e != nil || err != nil {
		l.end(false)
		return errors.Join(e, err)
	}
	select {
	case <-lingers:
	case <-time.After(wireTime):
	}
	if err = l.tellCounted(); err == nil {
		err = l.w.write(frameGone, nil)
	}
	l.r.done.Go(func() {
		if err == nil && l.wait(l.ready, takeTime) {
			l.wait(nil, lateTime)
		}
		l.end(err == nil)
	})
	return err
}

// wait waits for the other node's word for so long at most, and tells whether to go on sending on to it.
func (l *leaving) wait(word <-chan struct{}, most time.Duration) bool {
	select {
	case <-word:
		return true
	case <-time.After(most):
		return true
	case <-l.back:
	case <-l.broken:
	case <-l.r.ctx.Done():
	}
	return false
}

// awaitReady waits until the other node is ready, or this one may not go on any more: what comes from then on, until
// the other is ready, waits there.
func (l *leaving) awaitReady() error {
	for {
		var rest time.Duration
		if err := l.r.ask(l.r.ctx, func() { now := l.r.now(); rest = l.r.m.Until(now, l.p.local) - now }); err != nil {
			return err
		}
		select {
		case <-l.ready:
			return nil
		default:
		}
		if rest <= 0 {
			l.r.log.Warn("cluster: an address moves with a gap: the other node was not ready while this one might go on for it", "address", l.p.local)
			return nil
		}
		select {
		case <-l.ready:
			return nil
		case <-l.broken:
			return errors.New("the other node has ended the connection")
		case <-time.After(min(rest, l.r.m.Lease()/10)):
		case <-l.r.ctx.Done():
			return errors.New("this node is stopping")
		}
	}
}

// comesBack says in the loop that the address is this node's again.
func (l *leaving) comesBack() { l.once.Do(func() { close(l.back) }) }

// tell says what sessions have counted.
func (l *leaving) tell(list []dataplane.Counted) error {
	for len(list) > 0 {
		n := min(len(list), countsFrame)
		if err := l.w.write(frameCounts, appendCounts(nil, list[:n])); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// end has the plane forget the sessions. What they have counted since is told where somebody listens.
func (l *leaving) end(told bool) {
	l.r.cfg.Fence.Divert(l.p.listener, nil)
	l.counting.Lock()
	err := l.tell(l.host.End())
	l.counting.Unlock()
	if err == nil {
		err = l.flush()
	}
	if err == nil {
		err = l.w.write(frameEnd, nil)
	}
	l.w.c.Close()
	<-l.broken
	if lost := l.late.missed(); told && (err != nil || lost > 0) {
		l.r.log.Warn("cluster: not all that came late for an address that has moved was sent on", "address", l.p.local, "packets_lost", lost, "err", err)
	}
	_ = l.r.ask(l.r.ctx, func() {
		l.p.busy, l.p.leaving = false, nil
		l.r.puts <- put{a: l.p.local.Addr(), remove: true, late: true}
	})
}

// putLinger stops answering for an address on the link, while what comes for it is still taken.
func (r *Runner) putLinger(a netip.Addr, undo map[netip.Addr]func()) {
	k, ok := r.cfg.Addresses.(Lingerer)
	if !ok {
		return // it is taken away when all is over
	}
	f, err := k.Linger(a)
	if err != nil {
		r.log.Warn("cluster: packets that still come here for an address that has moved may be lost", "address", a, "err", err)
	}
	if f != nil {
		undo[a] = f
	}
}
