package cluster

import (
	"context"
	"time"

	"culvert/sessiondb/cluster"
)

// post has f run by the loop.
func (r *Runner) post(f func()) {
	if r.by != nil {
		r.by.queue = append(r.by.queue, f)
		r.by.Wake()
		return
	}
	select {
	case r.calls <- f:
	case <-r.ctx.Done():
	}
}

// ask has f run by the loop and waits for it.
func (r *Runner) ask(ctx context.Context, f func()) error {
	if r.by != nil {
		return r.by.ask(r, f)
	}
	done := make(chan struct{})
	r.post(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
		return errStopping
	}
}

// maxSleep bounds how long the loop sleeps: lifetimes of addresses are
// renewed, and failed takes tried again.
const maxSleep = 250 * time.Millisecond

func (r *Runner) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case f := <-r.calls:
			f()
			for more := true; more; { // what waits is done before the deadlines are looked at
				select {
				case f := <-r.calls:
					f()
				default:
					more = false
				}
			}
		case <-timer.C:
		}
		r.tick()
		timer.Reset(min(max(0, r.m.Deadline()-r.now()), maxSleep))
	}
}

// tick looks at the machine's deadline, and does what is to be done.
func (r *Runner) tick() {
	if now := r.now(); now >= r.m.Deadline() && !r.superseded {
		r.m.Tick(now, &r.fx)
	}
	r.carryOut()
}

// carryOut does what the machine wants done.
func (r *Runner) carryOut() {
	fx := r.fx
	r.fx = cluster.Effects{}
	for _, l := range fx.Log {
		r.log.Warn("cluster: "+l.Text, l.Args...)
	}
	for _, c := range fx.Changed {
		r.changed(c)
	}
	if fx.Save != nil {
		r.save(fx.Save)
	}
	r.publish()
	for _, o := range fx.Send {
		r.send(o)
	}
	if fx.Renew != nil {
		r.renew(fx.Renew.Seen)
	}
	for _, c := range fx.Claims {
		r.claim(c)
	}
	for _, e := range fx.Expel {
		r.call(storeTime, func(ctx context.Context) func() {
			err := r.cfg.Store.Expel(ctx, e)
			return func() { r.database(err) }
		})
	}
}

// call runs f, which may take so long, in a goroutine of its own, and what it gives in the loop.
func (r *Runner) call(most time.Duration, f func(context.Context) func()) {
	r.spawn(func() {
		ctx, cancel := context.WithTimeout(r.ctx, most)
		defer cancel()
		r.post(f(ctx))
	})
}
