package dataplane_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// namespace puts the test's thread into a fresh network namespace that forwards. The
// thread ends with the test's goroutine. Without root the test is skipped,
// but not in CI.
func namespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
			t.Skip("needs root to make a network namespace")
		}
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link(t, "lo")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("device %s: %v", name, err)
	}
	return l
}

// addRoute sends a prefix through a device.
func addRoute(t testing.TB, p netip.Prefix, device string) {
	t.Helper()
	_, dst, err := net.ParseCIDR(p.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link(t, device).Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}); err != nil {
		t.Fatal(err)
	}
}

// routesOf are the destinations that are routed through a device.
func routesOf(t testing.TB, device string) (list []string) {
	t.Helper()
	routes, err := netlink.RouteList(link(t, device), netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		list = append(list, r.Dst.String())
	}
	slices.Sort(list)
	return list
}

// ping sends ICMP echo requests with size octets of data and waits for the replies.
func ping(t testing.TB, from, to netip.Addr, size, count int) {
	t.Helper()
	c, err := net.DialIP("ip4:icmp", &net.IPAddr{IP: from.AsSlice()}, &net.IPAddr{IP: to.AsSlice()})
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	for seq := range count {
		data := make([]byte, size)
		data[size-1] = byte(seq)
		b, _ := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 77, Seq: seq, Data: data}}).Marshal(nil)
		if _, err := c.Write(b); err != nil {
			t.Errorf("pinging %v: %v", to, err)
			return
		}
		if err := pong(c, seq, size); err != nil {
			t.Errorf("no answer from %v to %d octets: %v", to, size, err)
			return
		}
	}
}

// pong waits for the reply of that number.
func pong(c *net.IPConn, seq, size int) error {
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 1<<16)
	for {
		n, _, err := c.ReadFrom(buf) // Read would leave the IP header
		if err != nil {
			return err
		}
		m, err := icmp.ParseMessage(1, buf[:n])
		if err != nil {
			return err
		}
		e, ok := m.Body.(*icmp.Echo)
		if ok && m.Type == ipv4.ICMPTypeEchoReply && e.ID == 77 && e.Seq == seq && len(e.Data) == size {
			return nil
		}
	}
}
