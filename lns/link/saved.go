package link

import (
	"io"
	"net/netip"
	"time"
)

// Saved is what another process needs to go on with a link that is up.
type Saved struct {
	Method  Method
	Network Network
	// Magic, PeerMRU, PeerACCM, ACFC and PFC are as LCP agreed on.
	Magic     uint32
	PeerMRU   uint16
	PeerACCM  uint32
	ACFC, PFC bool
	// AuthID is the identifier of the authentication, for a late duplicate.
	AuthID uint8
}

// Save gives what Restore needs; ok is false unless the link is up.
func (l *Link) Save() (s Saved, ok bool) {
	if l.phase != PhaseUp {
		return Saved{}, false
	}
	n := Network{Local: addrOf(l.net.local), Peer: addrOf(l.net.peer), MTU: l.mtu}
	for i := range 2 {
		n.DNS[i], n.NBNS[i] = addrOf(l.net.dns[i]), addrOf(l.net.nbns[i])
	}
	return Saved{
		Method: l.method, Network: n, Magic: l.magic, PeerMRU: l.peerMRU, PeerACCM: l.accm,
		ACFC: l.acfc, PFC: l.pfc, AuthID: l.authID,
	}, true
}

// Restore makes l, whatever it was, a link that is up as s says. Nothing is
// sent; the keepalive starts with a whole interval.
func (l *Link) Restore(now time.Duration, cfg *Config, rnd io.Reader, s Saved) {
	*l = Link{
		cfg: cfg, rnd: rnd, phase: PhaseUp, method: s.Method, auth: authGranted, authID: s.AuthID,
		magic: s.Magic, accm: s.PeerACCM, peerMRU: max(s.PeerMRU, minMRU), acfc: s.ACFC, pfc: s.PFC,
		net: addressesOf(s.Network), mtu: s.Network.MTU,
	}
	lim := l.limits()
	l.lcp.Adopt(&lim)
	l.ipcp.Adopt(&lim)
	l.startKeepalive(now)
}

// addrOf is the way back from as4.
func addrOf(b [4]byte) netip.Addr {
	if b == ([4]byte{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom4(b)
}
