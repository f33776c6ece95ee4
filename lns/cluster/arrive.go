package cluster

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"culvert/lns/dataplane"
)

// arriving is the new owner's side of a move without loss; leaving is the old one's.
type arriving struct {
	r *Runner
	p *place
	w *wire
	// epoch is what the address has when it is this node's.
	epoch uint64
	// ready is closed when all that is on it is alive here.
	ready chan struct{}
	once  sync.Once
	// opens is closed when this node answers for the address.
	opens  chan struct{}
	opened sync.Once
	// early is what comes here, or is to leave, before that.
	early *backlog
	// held is what the other has told and sent on before that.
	held held
	// given says that the database has the address moved, as the other node has told.
	given bool
}

// maxArriving bounds how many moves are under way to this node, and who else connects.
const maxArriving = 32

// accept takes connections of nodes that hand an address over.
func (r *Runner) accept(l net.Listener) {
	slots := make(chan struct{}, maxArriving)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			c.Close()
			continue
		}
		r.done.Go(func() {
			r.arrive(c)
			<-slots
		})
	}
}

// arrive is one connection.
func (r *Runner) arrive(c net.Conn) {
	defer c.Close()
	ended := make(chan struct{})
	defer close(ended)
	r.done.Go(func() { // a node that stops does not wait for the other
		select {
		case <-r.ctx.Done():
			c.Close()
		case <-ended:
		}
	})
	secret := r.peers.secret.Load()
	if secret == nil {
		return
	}
	if c.SetDeadline(time.Now().Add(wireTime)) != nil {
		return
	}
	w, err := acceptWire(c, *secret)
	if err != nil {
		return // anybody may connect; who has the secret is heard below
	}
	a, err := r.welcome(w)
	if err != nil {
		if r.peers.refused.Add(1) == 1 {
			r.log.Warn("cluster: a connection of another node is of no use", "from", c.RemoteAddr(), "err", err)
		}
		return
	}
	if err := a.run(ended); err != nil && r.ctx.Err() == nil {
		r.log.Warn("cluster: the node that gives an address away cannot be heard any more", "address", a.p.local, "err", err)
	}
	c.Close()
	a.settle()
	_ = r.ask(r.ctx, func() {
		if a.p.arriving == a {
			a.p.arriving = nil
			if a.p.leaving == nil { // else it has gone on already, and that one has the fence
				r.cfg.Fence.Divert(a.p.listener, nil)
			}
		}
	})
}

// welcome reads the offer and answers it.
func (r *Runner) welcome(w *wire) (*arriving, error) {
	kind, text, err := w.read()
	if err != nil {
		return nil, err
	}
	var o offer
	if kind != frameOffer || json.Unmarshal(text, &o) != nil {
		return nil, fmt.Errorf("%w: kind %d instead of an offer", errFrame, kind)
	}
	a := &arriving{r: r, w: w, epoch: o.Epoch + 1, ready: make(chan struct{}), opens: make(chan struct{}), early: newBacklog()}
	why := ""
	if err := r.ask(r.ctx, func() { why = a.take(&o) }); err != nil {
		return nil, err
	}
	if err := w.write(frameWelcome, []byte(why)); err != nil {
		return nil, err
	}
	if why != "" {
		return nil, fmt.Errorf("offer of %v by %s refused: %s", o.Local, o.From, why)
	}
	if o.Asks {
		return a, w.write(frameGrants, grant{}.append(nil)) // it may
	}
	return a, nil
}

// take says in the loop why this node cannot take what is offered, or notes that it comes.
func (a *arriving) take(o *offer) string {
	p := a.r.places[o.Local]
	switch {
	case o.To != a.r.cfg.Node:
		return "this is " + a.r.cfg.Node
	case p == nil:
		return "it is not among the addresses that this node serves"
	case p.want:
		return "it is this node's"
	case a.r.superseded:
		return "this process is superseded by another"
	}
	a.p, p.arriving = p, a
	return ""
}

// loaded says in the loop that what is on an address is alive here. From now on this node's core may have packets
// for its subscribers, and soon the LACs' come here: they wait for the word that the other node has stopped.
func (p *place) loaded() {
	if a := p.arriving; a != nil && a.epoch == p.epoch {
		a.once.Do(func() {
			a.r.cfg.Fence.Divert(p.listener, a.early.add)
			a.held.load(a.r.cfg.Host.CountMore) // before any of them can end here
			close(a.ready)
		})
	}
}

// answers says in the loop that this node answers for the address.
func (p *place) answers() {
	if a := p.arriving; a != nil && a.epoch == p.epoch {
		a.opened.Do(func() { close(a.opens) })
	}
}

// takeEarly gives on what waited for this node to answer, and what a reader that was just
// looking at the fence then has sent the same way.
func (a *arriving) takeEarly(ended <-chan struct{}) {
	select {
	case <-a.opens:
	case <-ended:
		return
	}
	for done := false; !done; {
		select {
		case <-a.early.woken:
		case <-ended:
			done = true
		}
		_ = a.early.take().each(func(kind frameKind, b []byte) error {
			if a.r.cfg.Fence.Until(a.p.listener) <= a.r.now() {
				return nil // it had to stop again: the fence would send it here once more
			}
			return a.give(kind, b)
		})
	}
}

// run hears the old owner out.
func (a *arriving) run(ended <-chan struct{}) error {
	a.r.done.Go(func() { a.takeEarly(ended) })
	a.r.done.Go(func() {
		select {
		case <-a.ready:
			_ = a.w.write(frameReady, nil) // the reader sees it when it is broken
		case <-ended:
		}
	})
	a.r.done.Go(func() {
		select {
		case <-a.opens:
			a.held.opens(a.giveHeld)
		case <-ended:
		}
	})
	for {
		a.w.within(takeTime)
		kind, b, err := a.w.read()
		if err != nil {
			return err
		}
		switch kind {
		case frameGiven:
			a.given = true
			err = a.r.ask(a.r.ctx, func() { a.r.m.RenewNow(a.r.now()) })
		case frameAsks:
			err = a.grant(b)
		case frameCounts:
			err = a.count(b)
		case frameGone:
			err = a.stopped()
		case frameCame, frameLeaves:
			err = a.late(kind, b)
		case frameEnd:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// settle waits, when nothing more is heard of an address that is this node's, until what is held is of use: the other may have
// had to stop before all was loaded here.
func (a *arriving) settle() {
	if a.given {
		select {
		case <-a.opens:
			a.held.opens(a.giveHeld)
		case <-a.r.ctx.Done():
		case <-time.After(takeTime):
		}
	}
	if lost, forgotten := a.held.missed(); lost+forgotten > 0 {
		a.r.log.Warn("cluster: not all that came for an address while it moved here could be kept", "address", a.p.local,
			"packets_lost", lost, "sessions_not_counted", forgotten)
	}
}

// grant answers for how long the other node may go on.
func (a *arriving) grant(b []byte) error {
	g, err := parseGrant(b)
	if err != nil {
		return err
	}
	g.For = 0
	if err := a.r.ask(a.r.ctx, func() {
		if !a.r.superseded && a.p.arriving == a {
			g.For = a.r.m.Grant(a.r.now(), a.p.local, a.epoch)
		}
	}); err != nil {
		return err
	}
	return a.w.write(frameGrants, g.append(nil))
}

func (a *arriving) count(b []byte) error {
	list, err := parseCounts(b, uint16(a.p.listener))
	if err == nil {
		a.held.count(list, a.r.cfg.Host.CountMore)
	}
	return err
}

// stopped has this node answer as soon as it can, since the other does not any more.
func (a *arriving) stopped() error {
	a.given = true
	return a.r.ask(a.r.ctx, func() {
		a.r.m.Stopped(a.p.local, a.epoch)
		a.r.publish()
	})
}

// late gives on datagrams that the other node has sent on, or keeps them until this node may: an answer
// to one is refused by the kernel before the address is on this host.
func (a *arriving) late(kind frameKind, b []byte) error {
	list, err := parseDatagrams(b, uint16(a.p.listener))
	if err == nil {
		a.held.late(kind, b, len(list), a.giveHeld)
	}
	return err
}

// giveHeld is give of what has been read before.
func (a *arriving) giveHeld(kind frameKind, b []byte) { _ = a.give(kind, b) }

// give gives datagrams to the plane.
func (a *arriving) give(kind frameKind, b []byte) error {
	list, err := parseDatagrams(b, uint16(a.p.listener))
	if err != nil {
		return err
	}
	if kind == frameCame {
		a.r.cfg.Host.TakeIn(list)
	} else {
		a.r.cfg.Host.SendOut(list)
	}
	return nil
}

// Handing is a Host's address that goes to another node while its packets are still forwarded; see lns.Handing.
type Handing interface {
	Counted() []dataplane.Counted
	End() []dataplane.Counted
	Abort()
}
