package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lingerMetric keeps the route of an address that lingers apart from the kernel's own.
const lingerMetric = 4711

// linger takes an address off an interface, so that this host answers no ARP or Neighbor
// Solicitation for it, and has what still comes for it delivered by a route of type local.
func linger(name string, a netip.Addr) (undo func(), err error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("interface lo: %w", err)
	}
	quiet := func() {}
	if a.Is4() {
		// Without this the kernel answers ARP for whatever is local.
		if quiet, err = ignoreARP(name); err != nil {
			return nil, errors.Join(err, Interface{name}.Remove(a))
		}
	}
	route := &netlink.Route{
		LinkIndex: lo.Attrs().Index, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Priority: lingerMetric,
		Dst: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())},
	}
	if err := netlink.RouteReplace(route); err != nil {
		quiet()
		return nil, errors.Join(fmt.Errorf("route of %v: %w", a, err), Interface{name}.Remove(a))
	}
	undo = func() {
		_ = netlink.RouteDel(route) // one that is gone is as well
		quiet()
	}
	if err := netlink.AddrDel(link, hostAddr(a, 0)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return undo, fmt.Errorf("removing %v from interface %s: %w", a, name, err)
	}
	return undo, nil
}

// ignoring counts, by interface, the addresses that linger.
var ignoring = struct {
	sync.Mutex
	n map[string]int
}{n: map[string]int{}}

// ignoreARP has an interface answer ARP for its own addresses only, until undo.
func ignoreARP(name string) (undo func(), err error) {
	file := filepath.Join("/proc/sys/net/ipv4/conf", filepath.Base(name), "arp_ignore")
	ignoring.Lock()
	defer ignoring.Unlock()
	was, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if ignoring.n[name] == 0 && strings.TrimSpace(string(was)) != "0" {
		return func() {}, nil // as the operator has it
	}
	if ignoring.n[name] == 0 {
		if err := os.WriteFile(file, []byte("1"), 0o644); err != nil {
			return nil, err
		}
	}
	ignoring.n[name]++
	return func() {
		ignoring.Lock()
		defer ignoring.Unlock()
		if ignoring.n[name]--; ignoring.n[name] == 0 {
			_ = os.WriteFile(file, []byte("0"), 0o644) // an interface that is gone has none
		}
	}, nil
}
