package cluster

import (
	"context"
	"errors"

	"culvert/sessiondb/cluster"
)

// ErrSuperseded is what a Store's Renew gives when this node's program has
// been started again elsewhere.
var ErrSuperseded = errors.New("superseded")

func (r *Runner) renew(seen uint64) {
	draining, secret := r.m.Draining(), r.secret
	r.call(storeTime, func(ctx context.Context) func() {
		var err error
		if secret == nil {
			secret, err = r.cfg.Store.Secret(ctx)
		}
		var v cluster.View
		if err == nil {
			v, err = r.cfg.Store.Renew(ctx, seen, draining)
		}
		return func() { r.renewed(secret, v, err) }
	})
}

func (r *Runner) renewed(secret []byte, v cluster.View, err error) {
	r.database(err)
	switch {
	case errors.Is(err, ErrSuperseded):
		r.log.Error("cluster: this node has been started again elsewhere under the same name; this process answers for nothing any more", "err", err)
		r.superseded = true
	case err != nil:
		r.m.RenewFailed(r.now(), &r.fx)
	default:
		if r.secret == nil {
			r.secret = secret
			if r.peers != nil {
				r.peers.secret.Store(&secret)
			}
		}
		r.seen = true
		r.m.Renewed(r.now(), v, &r.fx)
	}
}

// database notes whether the database answers.
func (r *Runner) database(err error) {
	if err != nil && r.ctx.Err() == nil {
		if r.failing == "" {
			r.log.Warn("cluster: the database does not answer; nothing moves, and this node goes on while the others answer it", "err", err)
		}
		r.failing = err.Error()
		return
	}
	if r.failing != "" {
		r.log.Info("cluster: the database answers again")
	}
	r.failing = ""
}

// claim makes a claim. It may take longer than anything else that is asked of the database, since all that is on the address changes
// hands, and this node's renewals wait for it: but not for so long that it would lose its own lease.
func (r *Runner) claim(c cluster.Claim) {
	r.call(max(storeTime, r.m.Lease()*3/4), func(ctx context.Context) func() {
		result, err := r.cfg.Store.Claim(ctx, c)
		return func() {
			r.database(err)
			if result == cluster.Won {
				r.log.Warn("cluster: this node has claimed an address", "address", c.Local, "from", c.From, "epoch", c.Epoch+1)
			}
			r.m.Claimed(r.now(), c, result, &r.fx)
		}
	})
}
