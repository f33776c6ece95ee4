package lns

import (
	"fmt"
	"time"

	"culvert/lns/dataplane"
	"culvert/lns/link"
	"culvert/proto/l2tp"
)

// Which SA a datagram came through decides what it may do. A mark is looked up in
// memory, so that each is judged by what is true now, and not by what was true when
// its tunnel began. Where the kernel gives no marks, the LAC's address has to do.

// saOf finds the SA that a datagram came through: nil for one in clear, false for a mark that
// no live SA has.
func (s *Server) saOf(from source) (*SA, bool) {
	switch {
	case s.cfg.IPsec == nil:
		return nil, from.mark == 0
	case from.mark != 0:
		if sa, ok := s.cfg.IPsec.Lookup(from.mark); ok {
			return &sa, true
		}
		return nil, false
	case !s.marks:
		if sa, ok := s.cfg.IPsec.LookupPeer(from.Addr()); ok {
			return &sa, true
		}
	}
	return nil, true
}

// live says whether the SA that a protected tunnel runs in is still there.
func (s *Server) live(p *lacPeer) bool {
	sa, ok := s.saOf(p.source)
	return ok && sa != nil && SamePeer(*sa, *p.sa)
}

// candidate finds the profile of a new tunnel and the SA it came through. What must not be
// answered, because the answer would leave in clear or tell a stranger something, is
// dropped here, and false returned; nil with true is a LAC that nobody knows.
func (sh *shard) candidate(from source, m *l2tp.Message) (p *profile, sa *SA, ok bool) {
	host := string(m.HostName)
	sa, known := sh.srv.saOf(from)
	switch {
	case !known:
		// It may be faster than the word of its SA: its LAC sends it again.
		sh.complain(dropDeadSA, "dropped a SCCRQ whose mark belongs to no SA; should this go on, a firewall rule of this host sets marks on L2TP",
			"lac", from, "mark", from.mark, "host_name", host)
		return nil, nil, false
	case sa == nil:
		p = sh.srv.profiles.match(from.Addr(), host)
		if p != nil && p.IPsecMode() == IPsecRequired {
			sh.complain(dropClear, "dropped a SCCRQ in clear: the LAC's profile requires IPsec", "lac", from, "profile", p.Name, "host_name", host)
			return nil, nil, false
		}
		return p, nil, true
	}
	if !sa.ESP.Tunnel && sa.Remote.Addr() != from.Addr() {
		sh.complain(dropWrongSA, "dropped a SCCRQ whose source is not that of its SA", "lac", from, "sa", sa.Remote, "identity", sa.Identity, "profile", sa.Profile)
		return nil, nil, false
	}
	// Whoever proved to be one LAC is not another, whatever address or name it shows.
	p = sh.srv.profiles.named(sa.Profile)
	if p == nil || p.IPsecMode() == IPsecNever {
		sh.complain(dropWrongSA, "dropped a SCCRQ: the LAC profile of its SA is no longer there, or uses no IPsec", "lac", from, "identity", sa.Identity, "profile", sa.Profile)
		return nil, nil, false
	}
	if !p.matches(from.Addr(), host) {
		return nil, sa, true
	}
	return p, sa, true
}

// throughSA judges a datagram for a protected tunnel, or one that came through an SA for a
// tunnel in clear. A tunnel follows its LAC to the LAC's next SA, and into its first one.
func (sh *shard) throughSA(f *tunnelFacts, at *lacPeer, from source) bool {
	if from == at.source {
		if sh.srv.live(at) {
			return true
		}
		sh.complain(dropDeadSA, "dropped a datagram that came after its SA's end", append(at.logSA(), "lac", from, "tunnel", f.id)...)
		return false
	}
	sa, known := sh.srv.saOf(from)
	switch {
	case !known:
		sh.complain(dropDeadSA, "dropped a datagram whose mark belongs to no SA", "lac", from, "mark", from.mark, "tunnel", f.id)
	case sa == nil:
		sh.complain(dropClear, "dropped a datagram in clear for a tunnel that is protected", append(at.logSA(), "from", from, "lac", *at, "tunnel", f.id)...)
	case !sh.srv.mayFollow(f, at, from, sa):
		sh.complain(dropWrongSA, "dropped a datagram that came through another SA than its tunnel's",
			"from", from, "through", sa.Identity, "through_profile", sa.Profile, "lac", *at, "tunnel", f.id)
	default:
		sh.move(f, at, &lacPeer{from, sa})
		return true
	}
	return false
}

// mayFollow says whether a tunnel may go to where a datagram came from, which is through a live SA.
func (s *Server) mayFollow(f *tunnelFacts, at *lacPeer, from source, sa *SA) bool {
	if sa.Profile != f.profile.Name || !sa.ESP.Tunnel && sa.Remote.Addr() != from.Addr() {
		return false
	}
	if at.sa == nil {
		// It began in clear, before its SA was there.
		return f.profile.IPsecMode() == IPsecPreferred && from.AddrPort == at.AddrPort
	}
	if !SamePeer(*sa, *at.sa) {
		return false
	}
	if from.mark == at.mark && s.marks {
		return true // its own SA, which a NAT has moved
	}
	// Never back to an older SA, and to another address only where the profile lets it: several
	// peers may share one identity.
	return !sa.Since.Before(at.sa.Since) && (from.AddrPort == at.AddrPort || f.profile.FloatPeer)
}

// move puts a tunnel's LAC to another place, for all shards at once, and tells the tunnel's shard.
func (sh *shard) move(f *tunnelFacts, was, to *lacPeer) {
	if !f.peer.CompareAndSwap(was, to) {
		return // another shard has seen it too
	}
	if f.moved.CompareAndSwap(false, true) {
		sh.send(f.shard, tunnelMoved{f, *was})
	}
}

// tunnelMTU is the largest IP packet of a subscriber that goes through a tunnel to its
// LAC, and comes from it, without fragments, as far as IPsec says something about it; 0 where it does not.
func (p *lacPeer) tunnelMTU(f *tunnelFacts, sequenced bool) uint16 {
	if p.sa == nil {
		return 0
	}
	room := p.sa.ESP.Room(f.profile.pathMTU(), p.Addr().Is6())
	return uint16(max(room-l2tpOverhead(sequenced), minSubscriberMTU))
}

// planePeer puts where the LAC is, and what its SA leaves room for, into a session for the plane.
func (p *lacPeer) planePeer(f *tunnelFacts, v *dataplane.Session) {
	v.Peer, v.Mark = p.AddrPort, p.mark
	if mtu := p.tunnelMTU(f, v.Sequence != nil); mtu != 0 && (v.MTU == 0 || v.MTU > mtu) {
		v.MTU = mtu
	}
}

// linkConfig is what the sessions of a tunnel negotiate by: the profile's, but for the MRU
// where the tunnel's SA leaves less room.
func (f *tunnelFacts) linkConfig(sequenced bool) *link.Config {
	c := &f.profile.link
	mtu := f.peer.Load().tunnelMTU(f, sequenced)
	if mtu == 0 || mtu >= c.MRU {
		return c
	}
	// Its sessions share it: there are many, and as good as always one size.
	if less := f.link.Load(); less != nil && less.MRU == mtu {
		return less
	}
	less := *c
	less.MRU = mtu
	f.link.Store(&less)
	return &less
}

// patience is how long a tunnel waits for its LAC after a restart of the LNS: not at all, or nearly,
// where the profile uses IPsec no more.
func (p *LACProfile) patience() time.Duration {
	if p.IPsec == nil {
		return time.Second
	}
	return max(p.IPsec.Patience, time.Second)
}

// applyIPsec makes the key exchange follow the profiles.
func (s *Server) applyIPsec() {
	if s.cfg.IPsec != nil {
		s.cfg.IPsec.Apply(s.LACs())
	}
}

// canProtect refuses a profile that nobody could come through, or whose LACs and another's could come in as each other. Of
// those of the configuration the latter is looked at before, for all at once (ipsec.Conflicts).
func (s *Server) canProtect(p *LACProfile) error {
	if err := s.hasIPsec(p); err != nil {
		return err
	}
	if p.IPsecMode() == IPsecNever || s.cfg.IPsec == nil {
		return nil
	}
	if err := s.cfg.IPsec.Check(*p, s.LACs()); err != nil {
		return fmt.Errorf("%w: lac %q: ipsec: %w", ErrProfileConflict, p.Name, err)
	}
	return nil
}

// hasIPsec says whether this node has what a profile requires.
func (s *Server) hasIPsec(p *LACProfile) error {
	if p.IPsecMode() == IPsecRequired && s.cfg.IPsec == nil {
		return fmt.Errorf("lac %q: ipsec.mode is required, but this node has no key exchange: set ipsec.enable: true in its configuration and restart it", p.Name)
	}
	return nil
}
