package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
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
				t.Cleanup(func() {
					_ = proc.IP("link del " + outside) // with its namespace it would go some time later
					_ = proc.IP("netns del " + ns)
				})
				must(t, proc.IP("netns add "+ns, "-n "+ns+" link set lo up",
					fmt.Sprintf("link add %s type veth peer name eth0 address %s netns %s", outside, mac[ns], ns),
					"link set "+outside+" master "+br, "link set "+outside+" up", "-n "+ns+" link set eth0 up",
					fmt.Sprintf("-n %s address add %s dev eth0 %s", ns, fmt.Sprintf(c.net, j+1), map[string]string{"6": "nodad", "4": ""}[c.family])))
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

// TestAddTakes has an address taken when Add returns and the neighbours hear of it, also where the
// machine is busy with something else: the kernel makes an IPv6 address in two steps, of which the second, its route of
// type local, comes from a work queue, which gets no turn here unless the call waits.
func TestAddTakes(t *testing.T) {
	if !proc.Inside() {
		t.Skip("needs root, for namespaces")
	}
	must(t, proc.IP("netns add nadd"))
	t.Cleanup(func() { _ = proc.IP("netns del nadd") })
	must(t, proc.IP("-n nadd link set lo up", "-n nadd link add eth0 type veth peer name other", "-n nadd link set eth0 up", "-n nadd link set other up"))
	var busy atomic.Bool
	stop := make(chan struct{})
	defer close(stop)
	for cpu := range runtime.NumCPU() {
		go hog(cpu, &busy, stop)
	}
	for _, a := range []netip.Addr{netip.MustParseAddr("fd00:9::101"), netip.MustParseAddr("10.9.0.101")} {
		in(t, "nadd", func() error {
			must(t, alone(0))
			eth0 := cluster.Interface{Name: "eth0"}
			undo := func() {}
			for i := range 100 {
				time.Sleep(3 * time.Millisecond)
				busy.Store(true)
				if err := eth0.Add(a, time.Minute, true); err != nil {
					return err
				}
				undo() // as of an address that comes back soon
				routes, err := netlink.RouteGet(a.AsSlice())
				if err != nil || len(routes) != 1 || routes[0].Type != unix.RTN_LOCAL {
					return fmt.Errorf("the %dth time that it has been added, %v is not taken: %v, %v", i+1, a, routes, err)
				}
				busy.Store(false)
				if undo, err = eth0.Linger(a); err != nil {
					return err
				}
			}
			undo()
			return nil
		})
	}
}

// alone has this thread, which is to end soon, run on one processor before all others for as long as it does not sleep.
func alone(cpu int) error {
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
}

// hog takes a processor for some milliseconds whenever busy becomes true.
func hog(cpu int, busy *atomic.Bool, stop chan struct{}) {
	runtime.LockOSThread() // the thread ends with the goroutine
	if alone(cpu) != nil {
		return
	}
	for was := false; ; {
		select {
		case <-stop:
			return
		default:
		}
		is := busy.Load()
		for end := time.Now().Add(5 * time.Millisecond); is && !was && time.Now().Before(end); {
		}
		was = is
		time.Sleep(100 * time.Microsecond)
	}
}
