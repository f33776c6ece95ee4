package cluster

import (
	"net/netip"

	"culvert/sessiondb/cluster"
)

// ownedBy are the addresses of a node, with their epochs.
func ownedBy(node string, v *cluster.View) map[netip.AddrPort]uint64 {
	list := map[netip.AddrPort]uint64{}
	for _, a := range v.Addresses {
		if a.Owner == node {
			list[a.Local] = a.Epoch
		}
	}
	return list
}

// save puts the view on disk. Where that fails nobody is told that this node
// knows of new members, so that they cannot claim from it.
func (r *Runner) save(s *cluster.Saved) {
	r.saved = s
	if r.keep() {
		r.m.Saved(s)
	}
}

// keep writes down what the next life of this node has to know.
func (r *Runner) keep() bool {
	k := &Kept{Secret: r.secret, Taken: r.taken}
	if r.saved != nil {
		k.Saved = *r.saved
	}
	if err := r.cfg.Keeper.Save(k); err != nil {
		r.log.Error("cluster: what the database says is not being kept on this node's disk", "err", err)
		return false
	}
	return true
}
