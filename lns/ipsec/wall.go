package ipsec

import (
	"errors"
	"net/netip"

	"culvert/lns"
)

// The wall: kernel policies that drop clear L2TP, a second check behind the
// LNS's own. It drops both ways, so that no late answer leaves in clear, and it
// stays in force while lnsd and charon are down. There are two kinds:
//
//   - where every LAC that may come from an address has to use IPsec, everything
//     without an SA is dropped;
//   - with marks, whatever we send with a mark that no SA has is dropped, also for
//     LACs that only may use IPsec: a mark means that it was to be protected.
//
// charon's policies, which have a mark or an address pair, come before ours by priority.

// markBits is how far charon counts marks before it has made 16 million SAs.
const markBits = 24

// wall lists the policies that profiles want on a set of addresses.
func wall(listen []netip.AddrPort, profiles []lns.LACProfile, marks bool) []block {
	used := false
	for i := range profiles {
		used = used || profiles[i].IPsecMode() != lns.IPsecNever
	}
	var list []block
	if !used {
		return nil
	}
	for _, l := range listen {
		for _, p := range walled(profiles, l.Addr().Is4()) {
			list = append(list, block{Local: l, Remote: p, In: true}, block{Local: l, Remote: p})
		}
		if !marks {
			continue
		}
		for bit := range markBits {
			list = append(list, block{Local: l, Remote: everybody(l.Addr().Is4()), Mark: 1 << bit, Mask: 1 << bit})
		}
	}
	return list
}

// everybody is the prefix that holds every address of a family.
func everybody(is4 bool) netip.Prefix {
	if is4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// walled lists the sources from which clear L2TP can be of no use: those whose
// every profile requires IPsec.
func walled(profiles []lns.LACProfile, is4 bool) []netip.Prefix {
	var required, others []netip.Prefix
	named := map[netip.Prefix]bool{} // of a required profile that wants a host name as well
	for i := range profiles {
		p := &profiles[i]
		sources := p.Prefixes
		if len(sources) == 0 {
			sources = []netip.Prefix{everybody(is4)}
		}
		for _, x := range sources {
			switch {
			case x.Addr().Is4() != is4:
			case p.IPsecMode() == lns.IPsecRequired:
				required = append(required, x)
				named[x] = named[x] || len(p.HostNames) > 0
			default:
				others = append(others, x)
			}
		}
	}
	if len(others) == 0 && len(required) > 0 {
		return []netip.Prefix{everybody(is4)} // unknown LACs are refused anyway
	}
	var list []netip.Prefix
	for _, x := range required {
		open := false
		for _, o := range others {
			// The longest prefix decides, so a shorter one of others is of no account, unless
			// the host name can let a LAC pass to it.
			open = open || o.Overlaps(x) && (o.Bits() >= x.Bits() || named[x])
		}
		if !open {
			list = append(list, x)
		}
	}
	return list
}

// raiseWall makes the kernel's policies those that the profiles want.
func (m *Manager) raiseWall() {
	m.wallSet = true
	want := wall(m.cfg.Listen, m.loading, m.cfg.Marks)
	if !m.cfg.Wall {
		return
	}
	have, err := m.kernel.Blocks()
	if err != nil {
		if len(want) > 0 || !errors.Is(err, errNoKernel) {
			m.cfg.Log.Error("the kernel's policies could not be read: nothing but lnsd itself keeps clear L2TP out", "err", err)
		}
		return
	}
	old := map[block]bool{}
	for _, b := range have {
		old[b] = true
	}
	failed, added := 0, 0
	for _, b := range want {
		if old[b] {
			delete(old, b)
			continue
		}
		if e := m.kernel.Block(b); e != nil {
			failed, err = failed+1, e
			continue
		}
		added++
	}
	for b := range old {
		if e := m.kernel.Unblock(b); e != nil {
			failed, err = failed+1, e
		}
	}
	switch {
	case failed > 0:
		m.cfg.Log.Error("kernel policies against clear L2TP could not be set; lnsd itself still refuses it", "failed", failed, "err", err)
	case added+len(old) > 0:
		m.cfg.Log.Info("kernel policies against clear L2TP are in force", "policies", len(want), "added", added, "removed", len(old))
	}
}

// clearStale takes SAs for L2TP out of the kernel that charon does not know: those that a
// charon left behind that died. Their marks would be handed out again, and packets
// that still come through them would be taken for another peer's.
func (m *Manager) clearStale(before snapshot, live alive) {
	if before == nil {
		return
	}
	n, err := before.Sweep(live)
	switch {
	case err != nil:
		m.cfg.Log.Warn("SAs that charon has left in the kernel could not all be removed; the others linger until they expire", "err", err, "removed", n)
	case n > 0:
		m.cfg.Log.Warn("removed SAs from the kernel that charon does not know any more; their LACs have to set up new ones", "sas", n)
	}
}

// snapshot notes what the kernel has, before charon is asked; nil where that cannot be had.
func (m *Manager) snapshot() snapshot {
	if !m.cfg.Wall {
		return nil
	}
	s, err := m.kernel.Snapshot(m.cfg.Listen)
	if err != nil {
		m.cfg.Log.Warn("the kernel's SAs could not be compared with charon's; some that it left behind may linger until they expire", "err", err)
		return nil
	}
	return s
}
