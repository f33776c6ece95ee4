package lns

import "net/netip"

// source is where a datagram came from: the address and port, and the mark of
// the IPsec SA it came through, 0 for none. Behind a NAT two LACs may
// have one address and port; their marks differ.
type source struct {
	netip.AddrPort
	mark uint32
}

// lacPeer is where a tunnel's LAC is. It is replaced as a whole, so that nobody sees
// the address of one moment with the SA of another.
type lacPeer struct {
	source
	// sa is the SA that the tunnel runs in, nil in clear. It is immutable.
	sa *SA
}

// logSA are the keys that a log line about a peer has more when it is protected.
func (p *lacPeer) logSA() []any {
	if p.sa == nil {
		return nil
	}
	return []any{"identity", p.sa.Identity, "mark", p.sa.Mark, "esp", p.sa.ESP.String()}
}
