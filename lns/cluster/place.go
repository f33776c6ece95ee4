package cluster

import (
	"net/netip"
	"time"

	"culvert/sessiondb/cluster"
)

// place is a service address on this host.
type place struct {
	local    netip.AddrPort
	listener int
	// want says that it is this node's, have that what is on it is alive here.
	want, have bool
	epoch      uint64
	// own: the node's own journal has the last word.
	own bool
	// stale: what is alive here is not what the owner since has made of it.
	stale bool
	// busy while the host works on it.
	busy    bool
	retryAt time.Duration
	// lingers: it is being given away, and packets are forwarded until the other node is ready. leaving,
	// where not nil, sends on what comes late.
	lingers bool
	leaving *leaving
	// arriving is the node that is about to give it here, nil mostly.
	arriving *arriving
	// on is until when the host has the address, or was told to have it; 0 when it has not.
	on time.Duration
	// there says that the host has it; it was told at, and for the puts-th time.
	there bool
	at    time.Duration
	puts  uint64
}

// put is what the goroutine for addresses is to do.
type put struct {
	a        netip.Addr
	lifetime time.Duration
	fresh    bool // the neighbours are told
	again    bool // for the second time
	remove   bool
	late     bool          // remove, if nothing has come since linger
	linger   chan struct{} // not nil: keep taking what comes, but answer no neighbour; closed when done
	done     func()        // where not nil, called when the address is there, or cannot be put there
}

// changed takes note of an address that came or went.
func (r *Runner) changed(c cluster.Change) {
	p := r.places[c.Local]
	if p == nil {
		return
	}
	if c.Mine {
		// What this node has had in its hands before its start it need not wait for again. What it was
		// still loading it has to load anew: its journal may have a part only.
		own := c.Known && r.taken[c.Local] == c.Epoch
		if own {
			r.m.Stopped(c.Local, c.Epoch)
		}
		p.want, p.own, p.epoch, p.retryAt = true, own, c.Epoch, 0
		if p.leaving != nil {
			p.leaving.comesBack()
		}
		return
	}
	delete(r.taken, c.Local)
	if p.want {
		r.log.Warn("cluster: an address is another node's now; this one forgets what is on it", "address", c.Local, "owner", c.Owner)
	}
	p.want, p.stale = false, true
}
