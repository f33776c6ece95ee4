package cluster

import (
	"net/netip"
	"time"
)

// Lingering: for how long the node that gives an address away may go on for it.

// word is until when another node may go on for an address that this one gets, or has got, in an epoch.
type word struct {
	epoch uint64
	until time.Duration
}

// withGrace is how long a node waits for another whose time is d: clocks do not run at exactly the same speed.
func withGrace(d time.Duration) time.Duration { return d + d/5 }

// Grant says for how long from now on this node certainly does not answer for an address, so that the node that gives it
// away may: the time counts there from before it asked. epoch is what the address has, or is to have, here. It
// is no longer than this node might answer itself, so that nobody else can claim the address before, and 0 when it
// answers, or has nobody's word that it might.
func (m *Machine) Grant(now time.Duration, local netip.AddrPort, epoch uint64) time.Duration {
	o := m.mine[local]
	if m.lapsed || o != nil && (o.epoch != epoch || now >= o.from) || o == nil && m.epochOf(local) >= epoch {
		return 0
	}
	d := min(m.cfg.Lease, m.until()-now)
	if d <= 0 {
		return 0
	}
	w := word{epoch, now + withGrace(d)}
	if was := m.granted[local]; was.epoch == epoch {
		w.until = max(w.until, was.until)
	}
	if m.granted[local] = w; o != nil {
		o.from = max(o.from, w.until)
	}
	return d
}

// epochOf is an address' epoch as far as this node knows.
func (m *Machine) epochOf(local netip.AddrPort) uint64 {
	for _, a := range m.view.Addresses {
		if a.Local == local {
			return a.Epoch
		}
	}
	return 0
}

// Linger has this node answer until a time, which the other node has granted, for an address that it is giving away. It
// does nothing when that time is over already or has been ended by Left, and shortens nothing.
func (m *Machine) Linger(now time.Duration, local netip.AddrPort, until time.Duration) {
	if o := m.mine[local]; o != nil {
		if o.moving && o.lingers > now {
			o.lingers = max(o.lingers, until)
		}
		return
	}
	if m.leaving[local] > now {
		m.leaving[local] = max(m.leaving[local], until)
	}
}

// noteLingering notes, of addresses that have changed hands since the view before, until when others than this node
// may linger on them: it may claim one from a node that has died before it answered.
func (m *Machine) noteLingering(now time.Duration, v *View) {
	for _, a := range v.Addresses {
		if a.Lingers <= 0 || m.lingering[a.Local].epoch >= a.Epoch {
			continue
		}
		known, own := m.epochOf(a.Local), m.mine[a.Local] != nil // then it is this node that may linger
		if a.Epoch > known && !(own && a.Epoch == known+1) {
			m.lingering[a.Local] = word{a.Epoch, now + withGrace(a.Lingers)}
		}
	}
}

// freeFrom is from when on this node may answer for an address that it gets now.
func (m *Machine) freeFrom(now time.Duration, a Address) time.Duration {
	from := now
	if a.Lingers > 0 {
		from = now + withGrace(a.Lingers)
	}
	if w := m.granted[a.Local]; w.epoch == a.Epoch {
		from = max(from, w.until)
	}
	if w := m.lingering[a.Local]; w.epoch < a.Epoch {
		from = max(from, w.until)
	}
	return from
}
