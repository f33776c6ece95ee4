package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses puts service addresses onto this host and takes them away.
// Its methods are called by one goroutine.
type Addresses interface {
	// Add makes the address this host's for at most the time that is given:
	// the system itself takes it away when it is not added again before. A time of 0 is
	// without end. fresh says that the neighbours have to be told.
	Add(a netip.Addr, lifetime time.Duration, fresh bool) error
	// Remove takes it away; one that is not there is no error.
	Remove(a netip.Addr) error
}

// Lingerer is an Addresses that can stop to answer for an address on the link while what
// still comes for it is taken.
type Lingerer interface {
	// Linger does that for an address that Add has added, until undo, which is to be
	// called after Add or before Remove, and is nil where nothing could be done.
	Linger(a netip.Addr) (undo func(), err error)
}

// Interface has service addresses on a network interface, with a lifetime:
// when the program dies or is stopped, the kernel removes them when their
// time is up, so that it answers no ARP for what another node has by then.
type Interface struct{ Name string }

// Add is that of Addresses.
func (i Interface) Add(a netip.Addr, lifetime time.Duration, fresh bool) error {
	link, err := netlink.LinkByName(i.Name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", i.Name, err)
	}
	if err := netlink.AddrReplace(link, hostAddr(a, lifetime)); err != nil {
		return fmt.Errorf("adding %v to interface %s: %w", a, i.Name, err)
	}
	if !fresh {
		return nil
	}
	if a.Is6() {
		awaitLocal(a)
	}
	return announce(&net.Interface{Index: link.Attrs().Index, Name: i.Name, HardwareAddr: link.Attrs().HardwareAddr}, a)
}

// localTime bounds the wait for the kernel to take what comes for a new address; it is some microseconds, or
// milliseconds where the machine is busy.
const localTime = time.Second

// awaitLocal waits until the kernel takes what comes for an IPv6 address. Unlike an IPv4 address it is
// made in two steps, and the second, the route of type local, comes from a work queue some time after the
// first has been confirmed: what the neighbours send meanwhile would be dropped. The route of an address that
// lingers here is not the one, since it is about to go.
func awaitLocal(a netip.Addr) {
	for end := time.Now().Add(localTime); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		routes, err := netlink.RouteGet(a.AsSlice())
		if err != nil && !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH) {
			return // it cannot be asked; the neighbours are to be told in any case
		}
		if len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL && routes[0].Priority != lingerMetric {
			return
		}
	}
}

// Remove is that of Addresses.
func (i Interface) Remove(a netip.Addr) error {
	link, err := netlink.LinkByName(i.Name)
	if err == nil {
		err = netlink.AddrDel(link, hostAddr(a, 0))
	}
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing %v from interface %s: %w", a, i.Name, err)
	}
	return nil
}

// hostAddr is an address by itself, without duplicate address detection:
// that nobody else has it is known.
func hostAddr(a netip.Addr, lifetime time.Duration) *netlink.Addr {
	n := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
	if a.Is6() {
		n.Flags = unix.IFA_F_NODAD
	}
	if lifetime > 0 {
		// Whole seconds; the plane's fence is exact.
		n.ValidLft = int((lifetime + time.Second - 1) / time.Second)
		n.PreferedLft = n.ValidLft
	}
	return n
}

// Hook has a command of the operator's do it, as where addresses are
// announced by BGP: it is called as COMMAND add|refresh|remove ADDRESS SECONDS.
// SECONDS is the lifetime, 0 without end.
type Hook struct{ Command string }

// hookTime bounds one call of the command.
const hookTime = 5 * time.Second

// Add is that of Addresses.
func (h Hook) Add(a netip.Addr, lifetime time.Duration, fresh bool) error {
	verb := "refresh"
	if fresh {
		verb = "add"
	}
	return h.run(verb, a, lifetime)
}

// Remove is that of Addresses.
func (h Hook) Remove(a netip.Addr) error { return h.run("remove", a, 0) }

func (h Hook) run(verb string, a netip.Addr, lifetime time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), hookTime)
	defer cancel()
	seconds := fmt.Sprint(int((lifetime + time.Second - 1) / time.Second))
	out, err := exec.CommandContext(ctx, h.Command, verb, a.String(), seconds).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s %v: %w: %s", h.Command, verb, a, err, out)
	}
	return nil
}

// Linger is that of Lingerer.
func (i Interface) Linger(a netip.Addr) (func(), error) { return linger(i.Name, a) }

// Several has all of them do it, in their order, and in the reverse when addresses go.
type Several []Addresses

// Add is that of Addresses.
func (s Several) Add(a netip.Addr, lifetime time.Duration, fresh bool) error {
	var errs []error
	for _, x := range s {
		errs = append(errs, x.Add(a, lifetime, fresh))
	}
	return errors.Join(errs...)
}

// Remove is that of Addresses.
func (s Several) Remove(a netip.Addr) error {
	var errs []error
	for i := len(s) - 1; i >= 0; i-- {
		errs = append(errs, s[i].Remove(a))
	}
	return errors.Join(errs...)
}

// Linger is that of Lingerer, of those that are.
func (s Several) Linger(a netip.Addr) (func(), error) {
	var all []func()
	var errs []error
	for _, x := range s {
		if l, ok := x.(Lingerer); ok {
			f, err := l.Linger(a)
			if errs = append(errs, err); f != nil {
				all = append(all, f)
			}
		}
	}
	return func() {
		for _, f := range all {
			f()
		}
	}, errors.Join(errs...)
}
