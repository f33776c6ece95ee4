package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/cluster"
)

// SetDraining says whether this node takes addresses over.
func (r *Runner) SetDraining(ctx context.Context, on bool) error {
	return r.ask(ctx, func() { r.m.SetDraining(on); r.m.RenewNow(r.now()) })
}

// MoveAll moves all addresses of this node to another, one after the other,
// and says which went. It stops at the first that cannot go; that one stays
// here and lives on. The node takes over nothing any more, until SetDraining(false).
func (r *Runner) MoveAll(ctx context.Context, to string) (moved []netip.AddrPort, err error) {
	if err := r.SetDraining(ctx, true); err != nil {
		return nil, err
	}
	for _, a := range r.cfg.Serves {
		mine := false
		if err := r.ask(ctx, func() { p := r.places[a]; mine = p.want && p.have && !p.busy }); err != nil {
			return moved, err
		}
		if !mine {
			continue
		}
		err := r.move(ctx, a, to)
		for end := r.now() + 2*r.m.Lease(); len(moved) > 0 && errors.As(err, new(notNow)) && r.now() < end; {
			// Renewals wait while the database moves all that is on an address, which takes its time: none
			// may be young enough for the next to go at once.
			if r.sleep(ctx, retryMove) != nil {
				break
			}
			err = r.move(ctx, a, to)
		}
		if err != nil {
			return moved, fmt.Errorf("%v stays: %w", a, err)
		}
		moved = append(moved, a)
	}
	return moved, nil
}

// notNow is what move gives when nothing has been done, because of how the cluster is just now.
type notNow struct{ error }

func (n notNow) Unwrap() error { return n.error }

// retryMove is when an address that cannot go just after another has gone is tried again.
const retryMove = 250 * time.Millisecond

// move moves one address. Where the other node can, packets are forwarded here until it is ready, and
// none is lost; else this node stops answering before it gives the address away.
func (r *Runner) move(ctx context.Context, local netip.AddrPort, to string) error {
	began := time.Now()
	p := r.places[local]
	l, err := r.prepare(ctx, p, to)
	if err != nil {
		return err
	}
	var a cluster.Address
	var lingers time.Duration
	if l != nil {
		lingers = r.m.Lease()
	}
	if e := r.ask(ctx, func() {
		if a, err = r.m.BeginMove(r.now(), local, to, lingers); err != nil {
			err = notNow{err}
			return
		}
		p.busy, p.lingers = true, l != nil
		r.publish()
	}); e != nil || err != nil {
		if l != nil {
			l.abort()
		}
		return errors.Join(e, err)
	}
	// From here on there is no way back but Restore, so the caller's ctx does not count.
	ctx, cancel := context.WithTimeout(r.ctx, takeTime)
	defer cancel()
	var last []sessiondb.Change
	if l != nil {
		last, err = l.begin(ctx)
	} else {
		last, err = r.cfg.Host.Give(ctx, local)
	}
	if err == nil {
		err = r.settle(ctx, a, to, last)
	}
	if err != nil {
		err = errors.Join(err, r.stays(ctx, p, last))
		if l != nil {
			l.abort()
		}
		return err
	}
	return r.moved(p, to, l, began, len(last))
}

// prepare looks whether an address can go, and asks the other node whether it takes it without loss: nil where not.
func (r *Runner) prepare(ctx context.Context, p *place, to string) (*leaving, error) {
	var a cluster.Address
	var at string
	var err error
	if e := r.ask(ctx, func() {
		if p.busy || !p.have {
			err = errors.New("it has just come or is just going; try again")
			return
		}
		if a, at, err = r.m.MayMove(r.now(), p.local, to); err != nil {
			err = notNow{err}
		}
	}); e != nil || err != nil {
		return nil, errors.Join(e, err)
	}
	if r.by != nil { // without goroutines and sockets there is the plain way only
		return nil, nil
	}
	l, err := r.offer(p, a, to, at)
	if err != nil {
		r.log.Warn("cluster: packets that come while the address moves are lost, as the other node cannot be handed them; is its TCP port open?",
			"address", p.local, "to", to, "at", at, "err", err)
	}
	return l, nil
}

// moved is the rest of a move that the database has made.
func (r *Runner) moved(p *place, to string, l *leaving, began time.Time, records int) error {
	err := r.ask(r.ctx, func() {
		p.busy, p.have, p.want, p.stale = l != nil, false, false, true // the journal has it still
		delete(r.taken, p.local)
		r.m.Moved(r.now(), p.local, to, &r.fx)
	})
	if l != nil {
		if e := l.finish(); e != nil {
			r.log.Warn("cluster: an address has been moved, but not without a gap: the other node answers when this one has stopped for certain", "address", p.local, "to", to, "err", e)
		}
	}
	r.log.Info("cluster: an address has been moved", "address", p.local, "to", to, "records", records, "took", time.Since(began).Round(time.Millisecond))
	return err
}

// settle transfers until it is known what came of it. The node answers for
// nothing on the address meanwhile: it may be another's.
func (r *Runner) settle(ctx context.Context, a cluster.Address, to string, last []sessiondb.Change) error {
	for tries := 0; ; tries++ {
		c, cancel := context.WithTimeout(ctx, settleTime)
		not, err := r.cfg.Store.Transfer(c, a, to, last)
		cancel()
		if err == nil || not {
			return err
		}
		r.log.Warn("cluster: it is not known whether an address has been moved; asking again", "address", a.Local, "err", err)
		if r.sleep(ctx, min(time.Duration(tries+1)*200*time.Millisecond, 2*time.Second)) != nil {
			return fmt.Errorf("it is not known whether it has been moved: %w", err)
		}
	}
}

// stays brings an address that could not be moved back to life here.
func (r *Runner) stays(ctx context.Context, p *place, last []sessiondb.Change) error {
	err := r.cfg.Host.Restore(ctx, p.local, last)
	return errors.Join(err, r.ask(ctx, func() {
		p.busy, p.lingers, p.have, p.own = false, false, err == nil, true
		r.m.MoveFailed(p.local)
	}))
}

// Status is what a node knows of the cluster.
type Status struct {
	Node string
	// Lease is what is left of the lease, Promise of the other nodes'
	// promises not to claim (cluster.Forever: nobody could); 0 is none.
	Lease, Promise time.Duration
	// Stopped says that this node may answer for nothing.
	Stopped, Draining bool
	// Database is why the database does not answer, if it does not.
	Database string
	// Age is how old the rest is.
	Age       time.Duration
	Nodes     []NodeStatus
	Addresses []AddressStatus
}

// NodeStatus is what this node knows of another.
type NodeStatus struct {
	cluster.Node
	// Answered is how long ago it answered directly; negative: never.
	Answered time.Duration
}

// AddressStatus is a service address. Serving says that this node answers for it.
type AddressStatus struct {
	cluster.Address
	Serving bool
}

// Status says what this node knows.
func (r *Runner) Status(ctx context.Context) (s Status, err error) {
	err = r.ask(ctx, func() {
		now := r.now()
		v, asked := r.m.View()
		lease, promise, stopped := r.m.Deadlines()
		s = Status{Node: r.cfg.Node, Lease: max(0, lease-now), Promise: max(0, promise-now), Stopped: stopped || r.superseded,
			Draining: r.m.Draining(), Database: r.failing, Age: now - asked}
		if promise == cluster.Forever {
			s.Promise = cluster.Forever
		}
		for _, n := range v.Nodes {
			ns := NodeStatus{Node: n, Answered: -1}
			if at, ever := r.m.Answered(n.Name); ever {
				ns.Answered = now - at
			}
			s.Nodes = append(s.Nodes, ns)
		}
		for _, a := range v.Addresses {
			p := r.places[a.Local]
			s.Addresses = append(s.Addresses, AddressStatus{a, p != nil && r.cfg.Fence.Until(p.listener) > now})
		}
	})
	return s, err
}

// Leave takes the node out of the cluster, if it owns nothing.
func (r *Runner) Leave(ctx context.Context) error { return r.cfg.Store.Leave(ctx) }
