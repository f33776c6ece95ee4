package lns

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/aaa/ippool"
	"culvert/lns/dataplane/planetest"
	"culvert/lns/link"
	"culvert/sessiondb"
	"culvert/sessiondb/journal"
)

// recoverTunnels and recoverEach are the sessions that BenchmarkRecover brings back: 200,000.
const (
	recoverTunnels = 200
	recoverEach    = 1000
)

// nobodyAccounts is a ledger that gets nothing to do.
type nobodyAccounts struct{}

func (nobodyAccounts) Submit([]aaa.Usage) {}

func (nobodyAccounts) Authorize(aaa.Request, func(*aaa.Grant, error)) {}

// BenchmarkRecover is what a restart with 200,000 sessions takes: from the opening of the journal on
// disk to a plane that forwards for all of them, and what memory that is.
func BenchmarkRecover(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "journal")
	fillJournal(b, dir)
	b.ResetTimer()
	for range b.N {
		before, cpu := heapLive(), processorTime()
		began := time.Now()
		j, err := journal.Open(dir, journal.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		opened := time.Since(began)
		srv := recoverServer(b, j)
		srv.starting = true // as Start does it
		if err := srv.recoverJournal(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms")
		b.ReportMetric(float64(opened.Milliseconds()), "ms-open")
		if n := srv.Recovery().Sessions; n != recoverTunnels*recoverEach {
			b.Fatalf("%d sessions", n)
		}
		b.ReportMetric(float64((processorTime() - cpu).Milliseconds()), "ms-CPU")
		b.StopTimer()
		b.ReportMetric(float64(heapLive()-before)/(1<<20), "MiB")
		runtime.KeepAlive(srv)
		srv.Close()
		srv.cfg.Plane.Close()
		j.Close()
		b.StartTimer()
	}
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heapLive() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func recoverServer(b *testing.B, j sessiondb.Journal) *Server {
	plane, err := planetest.New(planetest.Config{Listen: []netip.AddrPort{lnsAddress}, Shards: 2, Address: localAddr})
	if err != nil {
		b.Fatal(err)
	}
	pool, err := ippool.ParseRange("10.0.0.0/14")
	if err != nil {
		b.Fatal(err)
	}
	pools, err := ippool.New(ippool.Config{Pools: []ippool.Pool{{Name: "main", Ranges: []ippool.Range{pool}}}})
	if err != nil {
		b.Fatal(err)
	}
	srv, err := New(Config{
		Node: "lns1", Plane: plane, Authorizer: nobodyAccounts{}, Ledger: nobodyAccounts{}, Addresses: pools, Journal: j,
		LACs: []LACProfile{testProfile("lac", func(*LACProfile) {})}, Rand: rand.NewChaCha8([32]byte{1}),
		Subscriber: SubscriberDefaults{LocalAddress: localAddr, Interim: 10 * time.Minute},
	})
	if err != nil {
		b.Fatal(err)
	}
	return srv
}

// fillJournal writes what an earlier life would have left.
func fillJournal(b *testing.B, dir string) {
	j, err := journal.Open(dir, journal.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	clock := newRealClock()
	for t := range recoverTunnels {
		key := sessiondb.TunnelKey{Local: lnsAddress, ID: uint16(t + 1)}
		peer := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(t)}), 1701)
		list := []sessiondb.Change{{Op: sessiondb.PutTunnel, Tunnel: &sessiondb.Tunnel{
			Key: key, Node: "lns1", Peer: peer, PeerID: uint16(t + 7), PeerName: "lac", Profile: "lac", PeerWindow: 128,
			Ns: 5000, Nr: 6000, Since: clock.Wall(), State: keptTunnel{una: 5000, vendor: "vendor"}.append(nil),
		}}}
		for i := range recoverEach {
			list = append(list, keptExample(clock, key, peer, t*recoverEach+i, uint16(i+1))...)
		}
		if err := j.Apply(context.Background(), list); err != nil {
			b.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

// keptExample is the n-th session as a carrier has them, with its call.
func keptExample(clock realClock, key sessiondb.TunnelKey, peer netip.AddrPort, n int, id uint16) []sessiondb.Change {
	address := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	u := aaa.Usage{
		Kind: aaa.UsageStart, Method: aaa.MethodCHAP, Address: address, At: clock.Wall(),
		Class: [][]byte{fmt.Appendf(nil, "class-of-%d", n)},
		Identity: aaa.Identity{
			AcctSessionID: fmt.Sprintf("lns1-0001-%08x", n), User: fmt.Sprintf("user%06d@isp.example", n), NASPort: uint32(n),
			NASPortID: fmt.Sprintf("BAAMHMAMZ%06d eth 1/1/1:100.%d", n, n%4000), CallingStation: fmt.Sprintf("0203%07d", n),
			ConnectInfo: "80000000/20000000", TunnelClient: peer.Addr(), TunnelServer: lnsAddress.Addr(),
			TunnelClientName: "lac", TunnelServerName: "lns1", TunnelAssignment: "lac-1", TunnelConnection: fmt.Sprint(n), LAC: "lac",
		},
	}
	usage, _ := aaa.AppendUsage(nil, &u)
	k := keptSession{
		usage: usage, session: 24 * time.Hour, interim: 10 * time.Minute,
		link:  link.Saved{Method: link.MethodCHAP, Network: link.Network{Local: localAddr, Peer: address}, Magic: uint32(n + 1), PeerMRU: 1492},
		clock: keptClock{boot: clock.Boot(), at: clock.Mono(), since: clock.Mono(), nextInterim: clock.Mono() + 10*time.Minute},
	}
	sk := sessiondb.SessionKey{Tunnel: key, ID: id}
	return []sessiondb.Change{
		{Op: sessiondb.PutCall, Call: &sessiondb.Call{Key: sk, Node: "lns1", PeerID: id}},
		{Op: sessiondb.PutSession, Session: &sessiondb.Session{
			Key: sk, Node: "lns1", PeerID: id, AcctSessionID: u.Identity.AcctSessionID, User: u.Identity.User, Profile: "lac", LAC: peer,
			CallingStation: u.Identity.CallingStation, CallSerial: uint32(n), Address: address, Since: clock.Wall(), State: k.append(nil), Updated: clock.Wall(),
		}},
	}
}
