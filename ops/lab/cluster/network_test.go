package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"culvert/ops/lab/proc"
)

// family is how LACs reach the nodes, and the nodes each other.
type family struct {
	// service are the service addresses; the first is a's, the second b's.
	service [2]netip.Addr
	// access and between give the address of a host on its wires, as ip(8) takes it; lacs is the LACs' prefix.
	access, between, lacs string
}

var (
	overIPv4 = family{[2]netip.Addr{netip.MustParseAddr("10.1.0.101"), netip.MustParseAddr("10.1.0.102")},
		"10.1.0.%d/24", "10.2.0.%d/24", "10.1.0.0/24"}
	overIPv6 = family{[2]netip.Addr{netip.MustParseAddr("fd00:1::101"), netip.MustParseAddr("fd00:1::102")},
		"fd00:1::%d/64 nodad", "fd00:2::%d/64 nodad", "fd00:1::/64"}
)

// peer is where a node listens for the other.
func (f family) peer(index int) netip.AddrPort {
	at, _, _ := strings.Cut(fmt.Sprintf(f.between, index), "/")
	return netip.AddrPortFrom(netip.MustParseAddr(at), 9108)
}

// l2tp is where a service address is called.
func (f family) l2tp(i int) netip.AddrPort { return netip.AddrPortFrom(f.service[i], 1701) }

// network makes the namespaces: a and b with an access network (10.1.0.0/24 or fd00:1::/64,
// bridge acc), one between the nodes (10.2.0.0/24 or fd00:2::/64, bridge mgm), and each a link to
// the database (10.3.x.0/24) and one to RADIUS (10.4.x.0/24); and lac.
func (l *lab) network() {
	l.t.Helper()
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, br := range []string{"acc", "mgm"} {
		add("link add %s type bridge mcast_snooping 0", br)
		add("link set %s up", br)
	}
	port := func(ns, outside, inside, address, bridge string) {
		add("link add %s type veth peer name %s netns %s", outside, inside, ns)
		add("link set %s up", outside)
		add("-n %s link set %s up", ns, inside)
		address, flags, _ := strings.Cut(address, " ")
		add("-n %s address add %s dev %s %s", ns, address, inside, flags)
		if bridge != "" {
			add("link set %s master %s", outside, bridge)
		}
	}
	for i, n := range []string{"a", "b"} {
		add("netns add %s", n)
		add("-n %s link set lo up", n)
		port(n, "acc-"+n, "eth0", fmt.Sprintf(l.access, i+1), "acc")
		port(n, "mgm-"+n, "mgm0", fmt.Sprintf(l.between, i+1), "mgm")
		port(n, "db-"+n, "db0", fmt.Sprintf("10.3.%d.1/24", i+1), "")
		add("address add 10.3.%d.254/24 dev db-%s", i+1, n)
		port(n, "aaa-"+n, "aaa0", fmt.Sprintf("10.4.%d.1/24", i+1), "")
		add("address add 10.4.%d.254/24 dev aaa-%s", i+1, n)
	}
	add("netns add lac")
	add("-n lac link set lo up")
	port("lac", "acc-lac", "eth0", fmt.Sprintf(l.access, 9), "acc")
	must(l.t, proc.IP(lines...))
	l.t.Cleanup(func() {
		for _, line := range []string{"netns del a", "netns del b", "netns del lac", "link del acc", "link del mgm"} {
			_ = proc.IP(line)
		}
		// The veths go with their namespaces, some moments later.
		for _, dev := range []string{"acc-a", "acc-b", "acc-lac", "db-a", "db-b", "aaa-a", "aaa-b"} {
			_ = proc.Await(10*time.Second, 20*time.Millisecond, nil, func() error {
				if proc.IP("link show dev "+dev) == nil {
					return errors.New("still there")
				}
				return nil
			})
		}
	})
	l.watch = startWatch(l.t, "a", "b")
}

// cut takes a node's links down or up: db or mgm.
func (n *node) cut(links ...string)  { n.links("down", links) }
func (n *node) mend(links ...string) { n.links("up", links) }

func (n *node) links(state string, links []string) {
	n.l.t.Helper()
	for _, link := range links {
		must(n.l.t, proc.IP(fmt.Sprintf("link set %s-%s %s", link, n.name, state)))
	}
}
