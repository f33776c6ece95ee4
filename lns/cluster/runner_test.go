package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"culvert/lns/dataplane"
	"culvert/sessiondb"
	"culvert/sessiondb/cluster"
)

var (
	local = netip.MustParseAddrPort("192.0.2.1:1701")
	other = netip.MustParseAddrPort("192.0.2.2:1701")
)

// world is a database, a host and a disk that can fail.
type world struct {
	mu      sync.Mutex
	members uint64
	// addresses are one, where a test wants no other.
	addresses []cluster.Address
	nodes     map[string]*cluster.Node
	claims    uint64
	away      bool
	settle    int // transfers whose answer gets lost
	// transfer is how long one takes, which all else waits for; renewal how long one takes, and nothing waits.
	transfer, renewal time.Duration

	alive    map[string]bool // "node address": lives there
	happened []string
	failing  error // of Take
	views    map[string]*view
	slow     chan struct{} // Take ends when it is closed
	placing  chan struct{} // Add too
}

func newWorld() *world {
	return &world{members: 1, addresses: []cluster.Address{{Local: local, Epoch: 1}}, nodes: map[string]*cluster.Node{}, alive: map[string]bool{}, views: map[string]*view{}}
}

// on is the database's row of an address.
func (w *world) on(a netip.AddrPort) *cluster.Address {
	return &w.addresses[slices.IndexFunc(w.addresses, func(x cluster.Address) bool { return x.Local == a })]
}

// serves are the addresses.
func (w *world) serves() (list []netip.AddrPort) {
	for _, a := range w.addresses {
		list = append(list, a.Local)
	}
	return list
}

func (w *world) note(format string, args ...any) {
	w.happened = append(w.happened, fmt.Sprintf(format, args...))
}

func (w *world) did(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, h := range w.happened {
		if h == what {
			n++
		}
	}
	return n
}

// view is the world as one node has it.
type view struct {
	*world
	node  string
	at    string
	kept  *Kept
	late  func([]dataplane.Datagram)
	fence *dataplane.Fence
}

var errAway = errors.New("the database is away")

func (v *view) Secret(context.Context) ([]byte, error) { return []byte("secret"), nil }

func (v *view) Renew(_ context.Context, seen uint64, draining bool) (cluster.View, error) {
	v.mu.Lock()
	slow := v.renewal
	v.mu.Unlock()
	time.Sleep(slow)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.away {
		return cluster.View{}, errAway
	}
	n := v.nodes[v.node]
	if n == nil {
		v.members++
		n = &cluster.Node{Name: v.node, Epoch: 1, At: v.at, Member: true, Joined: v.members, Lease: time.Second, Serves: v.serves()}
		v.nodes[v.node] = n
	}
	n.Beat, n.Seen, n.Draining = n.Beat+1, max(n.Seen, seen), draining
	out := cluster.View{Members: v.members, Claims: v.claims, Addresses: slices.Clone(v.addresses)}
	for _, n := range v.nodes {
		out.Nodes = append(out.Nodes, *n)
	}
	slices.SortFunc(out.Nodes, func(a, b cluster.Node) int { return int(a.Joined) - int(b.Joined) })
	return out, nil
}

func (v *view) own(a *cluster.Address, node string) {
	a.Owner = node
	a.Epoch++
	v.claims++
}

func (v *view) Claim(_ context.Context, c cluster.Claim) (cluster.Result, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	a := v.on(c.Local)
	switch {
	case v.away:
		return cluster.Lost, errAway
	case a.Owner != c.From || a.Epoch != c.Epoch || c.From != "" && v.nodes[c.From].Beat != c.Beat:
		return cluster.Lost, nil
	}
	v.own(a, v.node)
	a.Lingers = 0
	return cluster.Won, nil
}

func (v *view) Expel(context.Context, cluster.Expel) error { return nil }
func (v *view) Leave(context.Context) error                { return nil }

func (v *view) Transfer(_ context.Context, a cluster.Address, to string, last []sessiondb.Change) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.away {
		return true, errAway
	}
	time.Sleep(v.transfer)
	if x := v.on(a.Local); x.Owner == v.node && x.Epoch == a.Epoch {
		v.own(x, to)
		x.Lingers = a.Lingers
		v.note("transferred %d", len(last))
	}
	if v.settle > 0 {
		v.settle--
		return false, errors.New("the answer is lost")
	}
	return false, nil
}

func (v *view) Take(_ context.Context, _ netip.AddrPort, own bool) error {
	v.mu.Lock()
	slow := v.slow
	v.note("%s loads", v.node)
	v.mu.Unlock()
	if slow != nil {
		<-slow
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failing != nil {
		return v.failing
	}
	v.note("%s takes, own %v", v.node, own)
	v.alive[v.node] = true
	return nil
}

func (v *view) Give(context.Context, netip.AddrPort) ([]sessiondb.Change, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.alive[v.node] = false
	return make([]sessiondb.Change, 3), nil
}

func (v *view) HandOver(ctx context.Context, local netip.AddrPort, late func([]dataplane.Datagram)) (Handing, []sessiondb.Change, error) {
	last, err := v.Give(ctx, local)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.note("%s hands over", v.node)
	v.late = late
	return v, last, err
}

func (v *view) Counted() []dataplane.Counted {
	return []dataplane.Counted{{Key: dataplane.Key{Listener: 9, Tunnel: 1, Session: 2}, Counters: dataplane.Counters{InOctets: 5}}}
}

func (v *view) End() []dataplane.Counted {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.note("%s ends", v.node)
	return v.Counted()
}

func (v *view) Abort() {}

func (v *view) CountMore(list []dataplane.Counted) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.note("%s counts %v", v.node, list)
}

func (v *view) TakeIn(list []dataplane.Datagram)  { v.datagrams("comes", list) }
func (v *view) SendOut(list []dataplane.Datagram) { v.datagrams("leaves", list) }

func (v *view) datagrams(what string, list []dataplane.Datagram) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range list {
		v.note("%s: %s %s %v open %v", v.node, d.B, what, d.Peer, open(v.fence))
	}
}

func (v *view) Restore(context.Context, netip.AddrPort, []sessiondb.Change) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.note("%s restores", v.node)
	v.alive[v.node] = true
	return nil
}

func (v *view) Forget(netip.AddrPort) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.note("%s forgets", v.node)
	v.alive[v.node] = false
	return nil
}

func (v *view) Load() (*Kept, error) { return v.kept, nil }
func (v *view) Save(k *Kept) error   { v.kept = k; return nil }

func (v *view) Add(netip.Addr, time.Duration, bool) error {
	v.mu.Lock()
	placing := v.placing
	v.mu.Unlock()
	if placing != nil {
		<-placing
	}
	return nil
}

func (v *view) Remove(netip.Addr) error { return nil }

// loopback is an address of this process' own, so that tests that run beside it have other ports.
func loopback() netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, byte(1 + pid>>16&0x7f), byte(pid >> 8), byte(pid)})
}

// start starts a node with a lease of a second.
func (w *world) start(t *testing.T, node string, prefer bool, kept *Kept) (*Runner, *dataplane.Fence) {
	t.Helper()
	at := netip.AddrPortFrom(loopback(), uint16(39100+len(node)+int(node[0])))
	v := &view{world: w, node: node, at: at.String(), kept: kept}
	f := dataplane.NewFence(len(w.addresses))
	v.fence = f
	w.views[node] = v
	cfg := Config{Listen: at, Fence: f, Addresses: v, Store: v, Host: v, Keeper: v}
	cfg.Node, cfg.Epoch, cfg.Lease, cfg.Serves = node, 1, time.Second, w.serves()
	if prefer {
		cfg.Prefer = cfg.Serves
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, f
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

func open(f *dataplane.Fence) bool { return f.Until(0) > dataplane.BootTime() }

// TestRunner has an address taken, kept without the database, moved with an
// answer that is lost, and taken over from a node that is no more.
func TestRunner(t *testing.T) {
	w := newWorld()
	a, fa := w.start(t, "a", true, nil)
	b, fb := w.start(t, "b", false, nil)
	eventually(t, "a answers", func() bool { return open(fa) })
	if !a.Serves(local) || b.Serves(local) || w.did("a takes, own false") != 1 {
		t.Errorf("happened: %v", w.happened)
	}
	eventually(t, "they have heard of each other", func() bool {
		s, err := a.Status(t.Context())
		i := slices.IndexFunc(s.Nodes, func(n NodeStatus) bool { return n.Name == "b" })
		return err == nil && i >= 0 && s.Nodes[i].Answered >= 0 && s.Promise > 0 && s.Promise < time.Minute
	})
	w.mu.Lock()
	w.away = true
	w.mu.Unlock()
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if !open(fa) || open(fb) {
			t.Fatal("without the database, the wrong one answers")
		}
	}
	if _, err := a.MoveAll(t.Context(), "b"); err == nil {
		t.Error("moved without the database")
	}
	w.mu.Lock()
	w.away, w.settle = false, 2
	w.mu.Unlock()
	eventually(t, "the database is noticed", func() bool { s, err := a.Status(t.Context()); return err == nil && s.Database == "" && s.Lease > 0 })
	eventually(t, "b has renewed its lease, and gets the address", func() bool {
		moved, err := a.MoveAll(t.Context(), "b")
		return err == nil && len(moved) == 1
	})
	if open(fa) || w.did("transferred 3") != 1 {
		t.Fatalf("after the move: %v", w.happened)
	}
	eventually(t, "b answers", func() bool { return open(fb) && !open(fa) })
	eventually(t, "a has forgotten", func() bool { return w.did("a forgets") > 0 })
	if err := a.SetDraining(t.Context(), false); err != nil {
		t.Error(err)
	}
	b.Close()
	if open(fb) {
		t.Error("a node that is closed answers")
	}
	eventually(t, "a takes over", func() bool { return open(fa) })
}

// TestRunnerTriesAgain has a host that cannot load what is on an address at first.
func TestRunnerTriesAgain(t *testing.T) {
	w := newWorld()
	w.failing = errors.New("not yet")
	_, f := w.start(t, "cc", true, nil)
	time.Sleep(time.Second)
	if open(f) {
		t.Error("it answers for what it does not have")
	}
	w.mu.Lock()
	w.failing = nil
	w.mu.Unlock()
	eventually(t, "it answers", func() bool { return open(f) })
}

func TestConfigNeedsAnAddress(t *testing.T) {
	for _, text := range []string{"0.0.0.0:1", "[::]:1"} {
		if _, err := New(Config{Listen: netip.MustParseAddrPort(text)}); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
