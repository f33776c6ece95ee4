package dataplane_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// The benchmarks run the plane in a namespace of its own, and the load in a
// process of its own, at a rate that does not overload either; what they report is the CPU
// time of the plane's process for each packet, that of the kernel's work for it included:
//
//	go test -run '^$' -bench . -benchtime 500000x ./lns/dataplane
const (
	loadRate     = 80_000 // packets in a second
	loadSessions = 1000
)

// TestMain makes the load if it is asked to by the environment.
func TestMain(m *testing.M) {
	if role := os.Getenv("CULVERT_LOAD"); role != "" {
		if err := load(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func BenchmarkUp64(b *testing.B)     { benchmarkUp(b, 64, "") }
func BenchmarkUp1400(b *testing.B)   { benchmarkUp(b, 1400, "") }
func BenchmarkDown64(b *testing.B)   { benchmarkDown(b, 64, "") }
func BenchmarkDown1400(b *testing.B) { benchmarkDown(b, 1400, "") }

// These are with sockets that read marks, for traffic without: what IPsec costs those who have none.
func BenchmarkUp64Marks(b *testing.B)   { benchmarkUp(b, 64, "marks") }
func BenchmarkDown64Marks(b *testing.B) { benchmarkDown(b, 64, "marks") }

// BenchmarkUp64Segmented has datagrams arrive as a card with receive offload leaves them.
func BenchmarkUp64Segmented(b *testing.B) { benchmarkUp(b, 64, "segmented") }

type nobody struct{}

func (nobody) Datagrams(int, []dataplane.Datagram) {}

func benchmarkPlane(b *testing.B, how string) (dataplane.Plane, *net.UDPConn) {
	namespace(b)
	p, err := dataplane.New(dataplane.Config{
		Listen: loopback("127.0.0.1"), Shards: 2, Address: ownAddress,
		Routes: []netip.Prefix{planetest.Pool}, Device: "culvert0", ReceiveOffload: how == "segmented", Marks: how == "marks",
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	// What goes to the core ends in a device that nobody reads.
	beyond, err := dataplane.NewTUN(dataplane.Config{
		Device: "beyond", Shards: 1, MTU: 1500, Routes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { beyond.Close() })
	c := lac(b, netip.MustParseAddr("127.0.0.1"))
	var list []dataplane.Session
	for i := range loadSessions {
		list = append(list, dataplane.Session{
			Key:  dataplane.Key{Tunnel: 1, Session: uint16(i + 1)},
			Peer: c.LocalAddr().(*net.UDPAddr).AddrPort(), PeerTunnel: 1, PeerSession: uint16(i + 1),
			SendAddress: true, Address: subscriber(i), MTU: 1500, MSS: 1400,
		})
	}
	if err := p.Add(list); err != nil {
		b.Fatal(err)
	}
	if err := p.Start(nobody{}); err != nil {
		b.Fatal(err)
	}
	return p, c
}

func subscriber(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)})
}

func benchmarkUp(b *testing.B, size int, how string) {
	p, c := benchmarkPlane(b, how)
	role := "up"
	if how == "segmented" {
		role += how
	}
	f, err := c.File()
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	measure(b, p, f, role, p.Listeners()[0].String(), size, func(s dataplane.Stats) uint64 { return s.Received })
}

func benchmarkDown(b *testing.B, size int, how string) {
	p, _ := benchmarkPlane(b, how)
	measure(b, p, nil, "down", "-", size, func(s dataplane.Stats) uint64 { return s.Sent })
}

// measure runs the load and reports what it cost. It warms up first.
func measure(b *testing.B, p dataplane.Plane, f *os.File, role, to string, size int, done func(dataplane.Stats) uint64) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CULVERT_LOAD="+role, "CULVERT_TO="+to, "CULVERT_SIZE="+strconv.Itoa(size), "CULVERT_COUNT="+strconv.Itoa(b.N))
	cmd.Stderr = os.Stderr
	if f != nil {
		cmd.ExtraFiles = []*os.File{f}
	}
	out, _ := cmd.StdoutPipe()
	in, _ := cmd.StdinPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan() // warm
	time.Sleep(20 * time.Millisecond)
	before := done(p.Stats())
	user, system := cpuTime()
	b.ResetTimer()
	fmt.Fprintln(in)
	lines.Scan() // finished
	time.Sleep(20 * time.Millisecond)
	b.StopTimer()
	n := done(p.Stats()) - before
	user2, system2 := cpuTime()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric((user2-user+system2-system)/float64(n), "cpu-us/packet")
	b.ReportMetric((user2-user)/float64(n), "user-us/packet")
	b.ReportMetric(100*float64(n)/float64(b.N), "%forwarded")
	b.ReportMetric(0, "ns/op")
}

// cpuTime is what this process has used, in microseconds.
func cpuTime() (user, system float64) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return float64(u.Utime.Nano()) / 1000, float64(u.Stime.Nano()) / 1000
}

// BenchmarkAddRemove has sessions come and go while 100,000 others are there.
func BenchmarkAddRemove(b *testing.B) {
	p, _, v := bare(b, nil)
	fill := make([]dataplane.Session, 100_000)
	for i := range fill {
		fill[i] = v
		fill[i].Tunnel, fill[i].Session = uint16(i>>12), uint16(i)
		fill[i].Address = subscriber(i % 65536)
	}
	if err := p.Add(fill); err != nil {
		b.Fatal(err)
	}
	batch, keys, out := make([]dataplane.Session, 64), make([]dataplane.Key, 64), make([]dataplane.Counters, 64)
	b.ResetTimer()
	for n := 0; n < b.N; n += len(batch) {
		for i := range batch {
			batch[i] = v
			batch[i].Key = dataplane.Key{Tunnel: 1000 + uint16(n>>14), Session: uint16(n + i)}
			batch[i].Address = netip.AddrFrom4([4]byte{100, 96, byte((n + i) >> 8), byte(n + i)})
			keys[i] = batch[i].Key
		}
		if err := p.Add(batch); err != nil {
			b.Fatal(err)
		}
		p.Remove(keys, out)
	}
}
