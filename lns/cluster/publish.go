package cluster

import (
	"context"
	"net/netip"
	"time"

	"culvert/sessiondb/cluster"
)

// placeTime is how long this node waits at most for the host to have an address before it answers for it.
const placeTime = 2 * time.Second

// publish lets everybody know until when what is answered for. An address that goes has its fence shut
// before the host loses it; one that comes has it opened when the host has it: what is sent from
// an address that the host does not have yet is refused by the kernel, and lost. And it has the host do what is left to do.
func (r *Runner) publish() {
	now := r.now()
	for _, a := range r.cfg.Serves {
		p := r.places[a]
		r.work(p, now)
		until := r.m.Until(now, a)
		if r.superseded {
			until = 0
		}
		serving := until
		if !p.lingers && (!p.have || !p.want || p.busy) {
			serving = 0
		}
		if serving > now && !p.lingers && r.taken[a] != p.epoch {
			r.taken[a] = p.epoch
			r.keep()
		}
		if serving <= now {
			r.cfg.Fence.Set(p.listener, serving)
		}
		r.place(p, now, until)
		// A hook that takes its time, or hangs, must not keep the node from answering.
		if serving > now && (p.there || now >= p.at+placeTime) {
			r.cfg.Fence.Set(p.listener, serving)
			p.answers()
		}
	}
}

// place puts the address onto the host while this node may answer for it.
// While its sessions are still being loaded, too: what comes waits for them.
func (r *Runner) place(p *place, now, until time.Duration) {
	switch {
	case until <= now || !p.want && !p.lingers:
		if p.on != 0 {
			p.on = 0
			r.onHost(put{a: p.local.Addr(), remove: true})
		}
	case p.on <= now || until-p.on > time.Second:
		lifetime := until - now
		if until == cluster.Forever {
			lifetime = 0
		}
		x := put{a: p.local.Addr(), lifetime: lifetime, fresh: p.on <= now}
		if p.on = until; x.fresh {
			x.done = r.placing(p, now)
		}
		r.onHost(x)
	case until < p.on-time.Second: // sooner than was thought
		r.onHost(put{a: p.local.Addr(), lifetime: until - now})
		p.on = until
	}
}

// placing notes that the host is told to have an address, and gives what is to be called when it has it.
func (r *Runner) placing(p *place, now time.Duration) (done func()) {
	if r.cfg.Fence.Until(p.listener) <= now { // else it is answered for, and goes on
		p.there, p.at = false, now
	}
	p.puts++
	n := p.puts
	placed := func() { p.there = p.there || p.puts == n }
	return func() {
		if r.by != nil {
			r.post(placed)
			return
		}
		r.done.Go(func() { r.post(placed) }) // the loop may just be waiting for who calls this
	}
}

// putAll is the goroutine that puts addresses onto the host.
func (r *Runner) putAll() {
	undo := map[netip.Addr]func(){} // of addresses that linger
	defer func() {
		for _, f := range undo {
			f()
		}
	}()
	for {
		select {
		case <-r.ctx.Done():
			return
		case p := <-r.puts:
			f := undo[p.a]
			switch {
			case p.linger != nil:
				r.putLinger(p.a, undo)
				close(p.linger)
				continue
			case p.late && f == nil && r.lingers():
				continue // it has come back meanwhile
			}
			if p.remove && f != nil {
				f()
			}
			r.put(p)
			if !p.remove && f != nil { // only now, so that it is taken what comes at any moment
				f()
			}
			delete(undo, p.a)
		}
	}
}

// lingers tells whether addresses of this host can linger.
func (r *Runner) lingers() bool { _, ok := r.cfg.Addresses.(Lingerer); return ok }

// announceAgain is when neighbours are told once more of an address that came.
const announceAgain = time.Second

func (r *Runner) put(p put) {
	var err error
	if p.remove {
		err = r.cfg.Addresses.Remove(p.a)
	} else {
		err = r.cfg.Addresses.Add(p.a, p.lifetime, p.fresh)
	}
	if err != nil {
		r.log.Error("cluster: a service address", "err", err)
	}
	if p.fresh && !p.again && err == nil {
		r.log.Info("cluster: an address is on this host", "address", p.a)
		r.after(announceAgain, func() { r.post(func() { r.again(p.a) }) })
	}
	if p.done != nil {
		p.done()
	}
}

// again announces an address a second time, should the first have been lost.
func (r *Runner) again(a netip.Addr) {
	now := r.now()
	for _, p := range r.places {
		if p.local.Addr() == a && p.on > now {
			lifetime := p.on - now
			if p.on == cluster.Forever {
				lifetime = 0
			}
			r.onHost(put{a: a, lifetime: lifetime, fresh: true, again: true})
			return
		}
	}
}

// work has the host do what the place is lacking.
func (r *Runner) work(p *place, now time.Duration) {
	if p.busy || now < p.retryAt {
		return
	}
	switch {
	case p.have && (p.stale || !p.want):
		p.busy = true
		r.host(p, func(context.Context) error { return r.cfg.Host.Forget(p.local) }, func(err error) {
			p.have, p.stale = err != nil, err != nil
		})
	case !p.have && p.stale && !p.want && r.seen:
		// Nothing is alive here, but the journal may have what is another's.
		p.busy = true
		r.host(p, func(context.Context) error { return r.cfg.Host.Forget(p.local) }, func(err error) { p.stale = err != nil })
	case p.want && !p.have:
		p.busy = true
		own := p.own
		r.host(p, func(ctx context.Context) error { return r.cfg.Host.Take(ctx, p.local, own) }, func(err error) {
			p.have, p.stale = err == nil, false
			if err == nil {
				p.loaded()
			}
		})
	}
}

// host runs f, which may take its time, and then done in the loop.
func (r *Runner) host(p *place, f func(context.Context) error, done func(error)) {
	r.spawn(func() {
		ctx, cancel := context.WithTimeout(r.ctx, takeTime)
		defer cancel()
		err := f(ctx)
		r.post(func() {
			p.busy = false
			if err != nil {
				r.log.Error("cluster: what is on an address could not be taken or forgotten; it is tried again", "address", p.local, "err", err)
				p.retryAt = r.now() + retryTake
			}
			done(err)
		})
	})
}
