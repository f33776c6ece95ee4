package lac_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"culvert/lac"
	"culvert/lac/lactest"
	"culvert/lac/subscriber"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// network is a LAC and an LNS in virtual time, with datagrams in flight for a millisecond.
type network struct {
	t      *testing.T
	now    time.Duration
	engine *lac.Engine
	lns    *lactest.LNS
	queue  []datagram
	buf    []byte
	loss   func() bool
	from   netip.AddrPort // where the LNS answers from

	cfg     subscriber.Config
	clients map[*lac.Call]*client
	tunnels []string
	closed  []bool
	proxy   *subscriber.Proxy
	seq     bool
	fx      subscriber.Effects
}

type client struct {
	subscriber.Client
	up, down int
	end      lac.End
	reason   subscriber.Reason
}

type datagram struct {
	at    time.Duration
	toLNS bool
	b     []byte
}

func newNetwork(t *testing.T, cfg lactest.Config) *network {
	n := &network{t: t, from: lnsAddr, lns: lactest.New(cfg), cfg: subscriber.DefaultConfig(), clients: map[*lac.Call]*client{}}
	n.cfg.Auth = []ppp.Auth{cfg.Auth}
	n.engine = lac.New(0, n, n)
	n.lns.Send = func(to netip.AddrPort, b []byte) {
		if to != lacAddr {
			t.Errorf("the LNS sends to %v", to)
		}
		n.carry(false, b)
	}
	return n
}

func (n *network) carry(toLNS bool, b []byte) {
	if n.loss != nil && n.loss() {
		return
	}
	n.queue = append(n.queue, datagram{at: n.now + time.Millisecond, toLNS: toLNS, b: append([]byte(nil), b...)})
}

// run lets time pass.
func (n *network) run(d time.Duration) {
	for end := n.now + d; n.now < end; n.now += time.Millisecond {
		n.engine.Advance(n.now)
		n.lns.Tick(n.now)
		for c, cl := range n.clients {
			if cl.Deadline() <= n.now {
				cl.Tick(n.now, &n.fx)
				n.apply(c, cl)
			}
		}
		for len(n.queue) > 0 && n.queue[0].at <= n.now {
			d := n.queue[0]
			n.queue = n.queue[1:]
			if d.toLNS {
				n.lns.Receive(n.now, lacAddr, d.b)
			} else {
				n.engine.Receive(n.now, 3, n.from, d.b)
			}
		}
	}
}

func (n *network) apply(c *lac.Call, cl *client) {
	for _, f := range n.fx.Frames {
		n.engine.Send(c, f)
	}
	if n.fx.Up {
		cl.up++
	}
	if n.fx.Down {
		cl.down, cl.reason = cl.down+1, n.fx.Reason
	}
	n.fx.Reset()
}

// open opens a tunnel.
func (n *network) open(secret string) *lac.Tunnel {
	t, err := n.engine.Open(n.now, 3, lnsAddr, &l2tp.TunnelConfig{HostName: "lac", Secret: []byte(secret), Rand: zeros{}})
	if err != nil {
		n.t.Fatal(err)
	}
	return t
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// dial places a call, which Connect and CallUp go on with.
func (n *network) dial(t *lac.Tunnel) (*lac.Call, *client) {
	c, m := new(lac.Call), new(l2tp.Message)
	m.CallSerial = 7
	m.Set(l2tp.AVPCallSerial)
	n.clients[c] = new(client)
	if err := n.engine.Dial(n.now, t, c, m); err != nil {
		n.t.Fatal(err)
	}
	return c, n.clients[c]
}

func (n *network) Reserve() []byte { n.buf = make([]byte, 0, 2048); return n.buf }

func (n *network) Queue(sock uint16, to netip.AddrPort, b []byte) {
	if sock != 3 || to != n.from && to != lnsAddr {
		n.t.Errorf("datagram from socket %d to %v", sock, to)
	}
	n.carry(true, b)
}

func (n *network) TunnelUp(time.Duration, *lac.Tunnel) { n.tunnels = append(n.tunnels, "up") }

func (n *network) TunnelDown(_ time.Duration, _ *lac.Tunnel, end lac.End) {
	what := "down " + end.Reason.String()
	if end.Local {
		what += " local"
	}
	n.tunnels = append(n.tunnels, what)
}

func (n *network) TunnelClosed(_ time.Duration, _ *lac.Tunnel, clean bool) {
	n.closed = append(n.closed, clean)
}

func (n *network) Connect(_ time.Duration, c *lac.Call, _, iccn *l2tp.Message) {
	iccn.TxSpeed, iccn.FramingType, iccn.SequencingRequired = 1e6, l2tp.FramingSync, n.seq
	iccn.Set(l2tp.AVPTxSpeed, l2tp.AVPFramingType)
	if n.seq {
		iccn.Set(l2tp.AVPSequencingRequired)
	}
	if n.proxy != nil {
		n.clients[c].StartProxied(n.now, &n.cfg, "user@isp", "secret", rand.NewPCG(3, 4), n.proxy, iccn)
	}
}

func (n *network) CallUp(now time.Duration, c *lac.Call) {
	cl := n.clients[c]
	if n.proxy == nil {
		cl.Start(now, &n.cfg, "user@isp", "secret", rand.NewPCG(uint64(c.ID()), 4), &n.fx)
	}
	n.apply(c, cl)
}

func (n *network) CallDown(_ time.Duration, c *lac.Call, end lac.End) {
	cl := n.clients[c]
	cl.end = end
	cl.down += 100
}

func (n *network) Frame(now time.Duration, c *lac.Call, frame []byte) {
	cl := n.clients[c]
	cl.Receive(now, frame, &n.fx)
	n.apply(c, cl)
}

func (n *network) wantTunnels(want ...string) {
	n.t.Helper()
	if len(n.tunnels) != len(want) {
		n.t.Fatalf("tunnels: %q, want %q", n.tunnels, want)
	}
	for i := range want {
		if n.tunnels[i] != want[i] {
			n.t.Fatalf("tunnels: %q, want %q", n.tunnels, want)
		}
	}
}

// countEnded is how many calls this side saw end.
func countEnded(n *network) int {
	count := 0
	for _, cl := range n.clients {
		if cl.down >= 100 {
			count++
		}
	}
	return count
}
