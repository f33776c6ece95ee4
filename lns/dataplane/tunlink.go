package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// queueLength is how many packets wait for each queue of the device at most.
const queueLength = 2048

// tunLink is the device as the kernel's network configuration sees it. It keeps
// its netlink socket: that stays in the namespace where the device was made.
type tunLink struct {
	nl    *netlink.Handle
	index int
}

// setUpLink gives the device its MTU, address and routes, and brings it up.
func setUpLink(name string, c Config) (*tunLink, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	l := &tunLink{nl: nl}
	if err := l.setUp(name, c); err != nil {
		nl.Close()
		return nil, err
	}
	return l, nil
}

func (l *tunLink) setUp(name string, c Config) error {
	link, err := l.nl.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding it: %w", err)
	}
	l.index = link.Attrs().Index
	if err := l.nl.LinkSetMTU(link, c.MTU); err != nil {
		return fmt.Errorf("setting its MTU to %d: %w", c.MTU, err)
	}
	if err := l.nl.LinkSetTxQLen(link, queueLength); err != nil {
		return fmt.Errorf("setting its queue's length: %w", err)
	}
	if c.Address.IsValid() {
		a := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(c.Address, 32))}
		if err := l.nl.AddrReplace(link, a); err != nil {
			return fmt.Errorf("giving it the address %v: %w", c.Address, err)
		}
	}
	setSysctls(name, c)
	if err := l.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing it up: %w", err)
	}
	return l.route(c.Routes, nil)
}

// setSysctls sets what the device needs of the network stack. Where /proc/sys cannot
// be written (some containers), the log says what is lost.
func setSysctls(name string, c Config) {
	set := func(path, value, lost string) {
		if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			c.Log.Warn("cannot set net/"+path+" to "+value+": "+lost, "err", err)
		}
	}
	// ICMP errors come from our own address, through the device.
	set("ipv4/conf/"+name+"/accept_local", "1", "senders of too big packets get no answer")
	// The kernel would send router solicitations to nobody.
	set("ipv6/conf/"+name+"/disable_ipv6", "1", "some useless packets are counted as for no session")
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err == nil && len(b) > 0 && b[0] == '0' {
		c.Log.Warn("net.ipv4.ip_forward is 0: subscribers reach this host only; set it with sysctl -w net.ipv4.ip_forward=1")
	}
}

// route makes and removes routes through the device.
func (l *tunLink) route(add, remove []netip.Prefix) error {
	var errs []error
	for _, p := range remove {
		err := l.nl.RouteDel(l.deviceRoute(p))
		if err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("removing the route to %v: %w", p, err))
		}
	}
	for _, p := range add {
		if err := l.nl.RouteReplace(l.deviceRoute(p)); err != nil {
			errs = append(errs, fmt.Errorf("routing %v: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

func (l *tunLink) deviceRoute(p netip.Prefix) *netlink.Route {
	return &netlink.Route{LinkIndex: l.index, Dst: ipNet(p.Masked()), Scope: netlink.SCOPE_LINK}
}

func (l *tunLink) close() { l.nl.Close() }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
