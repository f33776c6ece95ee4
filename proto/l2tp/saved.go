package l2tp

import "time"

// SavedTunnel is what another process needs to go on with an established control
// connection. Ns is the number after the highest that was ever sent, Una the lowest that the
// peer has not acknowledged, Nr the next expected from the peer.
type SavedTunnel struct {
	PeerID, PeerWindow   uint16
	Ns, Una, Nr          uint16
	PeerName, PeerVendor string
	// Failover is what both ends can do (Tunnel.Failover).
	Failover Failover
	// Behind says that this is a copy, and that both ends may have gone further
	// since: Restore then takes the peer's word for the numbers. What was
	// exchanged in between is lost.
	Behind bool
}

// Save gives what Restore needs. ok is false unless the tunnel is
// established. Messages that wait for their first transmission are not in
// it: their numbers are used by others after a Restore.
func (t *Tunnel) Save() (s SavedTunnel, ok bool) {
	c := &t.ctl
	return SavedTunnel{
		PeerID: c.peerID, PeerWindow: c.peerWindow, Ns: c.high, Una: c.una, Nr: c.nr,
		PeerName: t.peerName, PeerVendor: t.peerVendor, Failover: t.failover,
		Behind: c.held || c.behind != behind{},
	}, t.state == TunnelEstablished
}

// Restore makes t, which is new, the established tunnel that was saved. From
// now on the peer may be heard; nothing is sent before the first Tick, which is wanted at
// probe, or before something else is queued.
//
// What was sent and not acknowledged is gone, and the peer may wait for just
// those numbers: they are sent again as HELLOs. A peer that had the originals
// drops these as duplicates and acknowledges, one that had not gets messages without
// effect in their place. With nothing unacknowledged one new HELLO is sent, so that both ends
// find out now and not in a call that they agree on the numbers.
func (t *Tunnel) Restore(now, probe time.Duration, s SavedTunnel) {
	t.state, t.hand, t.until = TunnelEstablished, nil, Never
	t.peerName, t.peerVendor = s.PeerName, s.PeerVendor
	t.ctl.SetPeer(s.PeerID, s.PeerWindow)
	t.agree(s.Failover)
	t.ctl.restore(now, probe, s)
}

// restore takes over the numbers and fills the gap.
func (c *Control) restore(now, probe time.Duration, s SavedTunnel) {
	gap := min(s.Ns-s.Una, maxFill)
	c.una, c.high, c.nr = s.Ns-gap, s.Ns, s.Nr
	c.behind = behind{ns: s.Behind, nr: s.Behind}
	for range max(gap, 1) {
		c.queue = append(c.queue, outgoing{size: uint16(len(helloBody))})
		c.buf = append(c.buf, helloBody...)
	}
	c.retryAt = probe
	c.StartHello(now)
}

// maxFill bounds what Restore believes of a saved tunnel: no more can be
// unacknowledged than a window, and no peer has one that is larger.
const maxFill = 1 << 15
