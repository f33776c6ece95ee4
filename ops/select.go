package ops

import (
	"net/netip"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

// parseSelector reads which sessions are meant. The tunnel, where one is named, must
// be there; without a node nothing is looked up, and a tunnel's local address
// may stay unset.
func parseSelector(p *culvertv1.SessionSelector, node Node) (sel lns.Selector, err error) {
	sel.ID, sel.User, sel.Profile, sel.Calling = p.GetId(), p.GetUser(), p.GetLac(), p.GetCallingStation()
	if sel.Address, err = parseAddr("selector.address", p.GetAddress()); err != nil {
		return sel, err
	}
	if sel.Peer, err = parseAddr("selector.peer", p.GetPeer()); err != nil {
		return sel, err
	}
	if p.GetTunnel() == nil {
		return sel, nil
	}
	if node == nil {
		sel.Local, sel.Tunnel, err = parseTunnelRef("selector.tunnel", p.GetTunnel())
		return sel, err
	}
	t, err := findTunnel("selector.tunnel", p.GetTunnel(), node)
	sel.Local, sel.Tunnel = t.Local, t.ID
	return sel, err
}

// parseAddr reads an optional address.
func parseAddr(field, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, invalid("%s: %q is not an IP address; write e.g. 192.0.2.1", field, s)
	}
	return a.Unmap(), nil
}

func parseTunnelRef(field string, ref *culvertv1.TunnelRef) (local netip.AddrPort, id uint16, err error) {
	if ref.GetId() < 1 || ref.GetId() > 65535 {
		return local, 0, invalid("%s.id: %d is not a tunnel id (1 to 65535)", field, ref.GetId())
	}
	if ref.GetLocal() != "" {
		if local, err = netip.ParseAddrPort(ref.GetLocal()); err != nil {
			return local, 0, invalid("%s.local: %q is not an address and port; write e.g. 192.0.2.1:1701", field, ref.GetLocal())
		}
	}
	return local, uint16(ref.GetId()), nil
}

// findTunnel resolves a reference; the tunnel must be there.
func findTunnel(field string, ref *culvertv1.TunnelRef, node Node) (found lns.TunnelInfo, err error) {
	local, id, err := parseTunnelRef(field, ref)
	if err != nil {
		return found, err
	}
	n := 0
	for _, t := range node.Tunnels() {
		if t.ID == id && (!local.IsValid() || t.Local == local) {
			found = t
			n++
		}
	}
	switch n {
	case 0:
		return found, status.Errorf(codes.NotFound, "%s: there is no tunnel %s on this node", field, refText(ref))
	case 1:
		return found, nil
	}
	return found, status.Errorf(codes.FailedPrecondition, "%s: %d local addresses have a tunnel %d; set local, too", field, n, ref.GetId())
}

func refText(r *culvertv1.TunnelRef) string {
	return tunnelName(r.GetLocal(), r.GetId())
}

// matches says whether an event is about something that sel names.
func matches(sel *lns.Selector, e *lns.Event) bool {
	s := &e.Session
	switch {
	case isTunnelEvent(e.Kind) && (sel.ID != "" || sel.User != "" || sel.Calling != "" || sel.Address.IsValid()):
		return false
	case sel.ID != "" && sel.ID != s.ID,
		sel.User != "" && sel.User != s.User,
		sel.Calling != "" && sel.Calling != s.CallingStation,
		sel.Address.IsValid() && sel.Address != s.Address,
		sel.Profile != "" && sel.Profile != s.Profile,
		sel.Tunnel != 0 && sel.Tunnel != s.Tunnel,
		sel.Local.IsValid() && sel.Local != s.Local,
		sel.Peer.IsValid() && sel.Peer != s.Peer.Addr().Unmap():
		return false
	}
	return true
}
