package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/lns/cluster"
	"culvert/ops/lab/proc"
)

// in runs f in a network namespace.
func in(t *testing.T, ns string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine, and with it its namespace
		file, err := os.Open("/run/netns/" + ns)
		if err != nil {
			done <- err
			return
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	must(t, <-done)
}

// shown is what ip prints.
func shown(t *testing.T, args string) string {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestAnnounce has a real kernel beside the link hear that an address is another node's now, in IPv4 (ARP) and
// IPv6 (Neighbor Advertisement), and the old node go silent about it while it still takes what comes.
func TestAnnounce(t *testing.T) {
	if !proc.Inside() {
		t.Skip("needs root, for namespaces")
	}
	for i, c := range []struct{ family, net, service string }{{"4", "10.8.0.%d/24", "10.8.0.101"}, {"6", "fd00:8::%d/64", "fd00:8::101"}} {
		t.Run("IPv"+c.family, func(t *testing.T) {
			br := fmt.Sprint("brn", i)
			must(t, proc.IP("link add "+br+" type bridge mcast_snooping 0", "link set "+br+" up"))
			t.Cleanup(func() { _ = proc.IP("link del " + br) })
			mac := map[string]string{}
			for j, ns := range []string{"na", "nb", "nlac"} {
				mac[ns] = fmt.Sprintf("02:00:00:00:0%d:0%d", i, j+1)
				outside := fmt.Sprint("v", i, ns)
				must(t, proc.IP("netns add "+ns, "-n "+ns+" link set lo up",
					fmt.Sprintf("link add %s type veth peer name eth0 address %s netns %s", outside, mac[ns], ns),
					"link set "+outside+" master "+br, "link set "+outside+" up", "-n "+ns+" link set eth0 up",
					fmt.Sprintf("-n %s address add %s dev eth0 %s", ns, fmt.Sprintf(c.net, j+1), map[string]string{"6": "nodad", "4": ""}[c.family])))
				t.Cleanup(func() { _ = proc.IP("netns del " + ns) })
			}
			addr, eth0 := netip.MustParseAddr(c.service), cluster.Interface{Name: "eth0"}
			neighbour := func(want string) {
				t.Helper()
				must(t, proc.Await(patience, 20*time.Millisecond, nil, func() error {
					if s := shown(t, "-"+c.family+" -n nlac neigh show "+c.service); !strings.Contains(s, mac[want]) {
						return fmt.Errorf("the neighbour has %q, want %s (%s)", s, mac[want], want)
					}
					return nil
				}))
			}
			must(t, proc.IP("-n nlac neigh replace "+c.service+" dev eth0 lladdr "+mac["nlac"]+" nud reachable"))
			in(t, "na", func() error { return eth0.Add(addr, time.Minute, true) })
			neighbour("na")
			// As in a move: the old node lingers, then the new one has the address.
			var undo func()
			in(t, "na", func() (err error) { undo, err = eth0.Linger(addr); return err })
			if s := shown(t, "-n na address show dev eth0"); strings.Contains(s, c.service+"/") {
				t.Errorf("the old node has it still:\n%s", s)
			}
			if s := shown(t, "-"+c.family+" -n na route get "+c.service); !strings.Contains(s, "local") {
				t.Errorf("the old node does not take what comes any more: %s", s)
			}
			in(t, "nb", func() error { return eth0.Add(addr, time.Minute, true) })
			neighbour("nb")
			// Who asks gets one answer only.
			must(t, proc.IP("-n nlac neigh flush dev eth0"))
			in(t, "nlac", func() error { return poke(addr) })
			neighbour("nb")
			in(t, "na", func() error { undo(); return eth0.Remove(addr) })
			if out, err := exec.Command("ip", "-"+c.family, "-n", "na", "route", "get", c.service).CombinedOutput(); err == nil && strings.Contains(string(out), "local") {
				t.Errorf("the old node takes what comes when all is over: %s", out)
			}
			in(t, "nb", func() error { return eth0.Remove(addr) })
		})
	}
}

// poke sends a datagram, so that the kernel asks for the neighbour.
func poke(to netip.Addr) error {
	c, err := net.Dial("udp", netip.AddrPortFrom(to, 1701).String())
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte{0})
	return err
}
