package dataplane

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"time"
)

// Limits and defaults of Config.
const (
	// MaxShards is the most shards that a plane has.
	MaxShards = 256
	// DefaultMTU is the TUN device's MTU unless Config says otherwise.
	DefaultMTU = 1500
	// DefaultSocketBuffer is how much each socket may queue each way, in octets.
	DefaultSocketBuffer = 8 << 20
)

// Config says what New makes.
type Config struct {
	// Listen are the local addresses that LACs call, IPv4 or IPv6, each a specific
	// address: replies come from the address that was called. Port 0 takes a free one.
	Listen []netip.AddrPort
	// Shards is how many sockets each address has, and how many queues the
	// TUN device; 0 is GOMAXPROCS.
	Shards int
	// SocketBuffer is how much each socket may queue each way, in octets;
	// 0 is DefaultSocketBuffer. Without CAP_NET_ADMIN the kernel's
	// net.core.rmem_max and wmem_max bound it.
	SocketBuffer int
	// ReceiveOffload lets the kernel hand over datagrams of one LAC in trains (UDP_GRO), which
	// saves about a third of the CPU time upstream where network cards make them. A
	// train goes to the shard of its first datagram; with more than one shard
	// packets of a session may then overtake each other.
	ReceiveOffload bool
	// Marks reads the mark of each datagram and sends with that of each, as IPsec
	// needs (see ProbeMarks); it takes CAP_NET_ADMIN. ReceiveOffload is then left out: datagrams
	// of two SAs could come in one train.
	Marks bool
	// Device names the TUN device; empty is "culvert%d", in which the
	// kernel puts a number.
	Device string
	// Address is our own address towards the core and the subscribers: the
	// TUN device's, and the source of ICMP errors. IPv4; may be unset.
	Address netip.Addr
	// MTU is the TUN device's, in octets; 0 is DefaultMTU.
	MTU int
	// Routes are the prefixes, usually the address pools, that are routed to
	// the plane for as long as it lives. Addresses and routes of sessions outside
	// of these are routed one by one while their session is there.
	Routes []netip.Prefix
	// Core takes the TUN device's place, and Transport the UDP sockets'.
	// Device, Address and MTU then only serve ICMP errors.
	Core      Core
	Transport Transport
	// Now, where set, is the time for what waits to be reordered, and nothing is given on by
	// itself: the plane's method Tick does. It is for tests in virtual time.
	Now func() time.Duration
	// Fence, where set, bounds until when each of Listen is answered for; the
	// addresses need not be this host's when the plane is made (IP_FREEBIND).
	Fence *Fence
	// Counters, where set, keeps what sessions have counted over the death of the process.
	Counters *CounterFile
	// Inherited are files that Files of an earlier process has given to who keeps them. New
	// uses those that fit, all of an address or device or none, and closes the others.
	Inherited []File
	inherited *inheritance
	// Log takes the few things that no call can return; nil is slog.Default.
	Log *slog.Logger
}

// Validate says what is wrong with c, and what would be right.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Listen) == 0 && c.Transport == nil {
		bad("dataplane: no address to listen on")
	}
	if len(c.Listen) > 1<<16 {
		bad("dataplane: %d addresses to listen on; the most is 65536", len(c.Listen))
	}
	seen := make(map[netip.AddrPort]bool, len(c.Listen))
	for _, a := range c.Listen {
		if !a.Addr().IsValid() || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
			bad("dataplane: listen address %v: must be one of this host's own addresses, as replies come from the address that was called", a)
		}
		if seen[a] && a.Port() != 0 {
			bad("dataplane: listen address %v is there twice", a)
		}
		seen[a] = true
	}
	if c.Shards < 0 || c.Shards > MaxShards {
		bad("dataplane: %d shards; must be 0 (one for each CPU) to %d", c.Shards, MaxShards)
	}
	if c.Address.IsValid() && !c.Address.Unmap().Is4() {
		bad("dataplane: address %v is not IPv4", c.Address)
	}
	if c.MTU != 0 && (c.MTU < 68 || c.MTU > MaxPacket) {
		bad("dataplane: MTU %d; must be 68 to %d", c.MTU, MaxPacket)
	}
	if len(c.Device) > 15 {
		bad("dataplane: device name %q is longer than 15 octets", c.Device)
	}
	if c.Fence != nil && len(c.Fence.until) != len(c.Listen) {
		bad("dataplane: a fence for %d addresses to listen on, of which there are %d", len(c.Fence.until), len(c.Listen))
	}
	for _, r := range c.Routes {
		if !r.IsValid() || !r.Addr().Is4() {
			bad("dataplane: route %v is not an IPv4 prefix", r)
		}
	}
	return errors.Join(errs...)
}

// withDefaults puts the defaults where nothing was said.
func (c Config) withDefaults() Config {
	if c.Shards == 0 {
		c.Shards = min(runtime.GOMAXPROCS(0), MaxShards)
	}
	if c.SocketBuffer == 0 {
		c.SocketBuffer = DefaultSocketBuffer
	}
	if c.Device == "" {
		c.Device = "culvert%d"
	}
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Address = c.Address.Unmap()
	c.Listen = slices.Clone(c.Listen)
	for i, a := range c.Listen {
		c.Listen[i] = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return c
}
