// Package cluster runs this node's part in a cluster: it asks the database
// and the other nodes what cluster.Machine (sessiondb/cluster, which has the
// rules) wants asked, and makes this host answer for the service addresses
// that are its own: address, fence, tunnels and sessions.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/lns/dataplane"
	"culvert/sessiondb"
	"culvert/sessiondb/cluster"
)

// Store is the database. All of it is called from several goroutines.
type Store interface {
	// Secret is what the nodes sign their messages with.
	Secret(ctx context.Context) ([]byte, error)
	// Renew renews the lease and reads the view.
	Renew(ctx context.Context, seen uint64, draining bool) (cluster.View, error)
	Claim(ctx context.Context, c cluster.Claim) (cluster.Result, error)
	Expel(ctx context.Context, e cluster.Expel) error
	Leave(ctx context.Context) error
	// Transfer gives an address away with the last word on what is on it.
	// It may be repeated; not says that it has certainly not been done.
	Transfer(ctx context.Context, a cluster.Address, to string, last []sessiondb.Change) (not bool, err error)
}

// Host is the LNS. Calls for one address are made one at a time.
type Host interface {
	// Take brings to life what is on an address, from the node's own journal
	// where own is true, else from the database.
	Take(ctx context.Context, local netip.AddrPort, own bool) error
	// Give forgets what is on an address without a word to anybody, and
	// gives the last word on it. All that was written behind it before is in the database.
	Give(ctx context.Context, local netip.AddrPort) ([]sessiondb.Change, error)
	// HandOver is Give, but that the packets of sessions are forwarded until Handing.End, and
	// late takes what is for tunnels and links meanwhile; see lns.Server.HandOver. Where there is an error, there may be a Handing.
	HandOver(ctx context.Context, local netip.AddrPort, late func([]dataplane.Datagram)) (Handing, []sessiondb.Change, error)
	// Restore undoes Give and HandOver.
	Restore(ctx context.Context, local netip.AddrPort, last []sessiondb.Change) error
	// CountMore adds what another node has counted of sessions that are alive here now; TakeIn takes
	// datagrams that have come to it for this one, and SendOut those that this one is to send.
	CountMore([]dataplane.Counted)
	TakeIn([]dataplane.Datagram)
	SendOut([]dataplane.Datagram)
	// Forget forgets what is on an address that is another node's now.
	Forget(local netip.AddrPort) error
}

// Keeper keeps what the runner has to know while the database is away. Load
// gives nothing when there is nothing.
type Keeper interface {
	Load() (*Kept, error)
	Save(*Kept) error
}

// Kept is what a Keeper keeps.
type Kept struct {
	Saved  cluster.Saved
	Secret []byte
	// Taken are the addresses whose sessions are in this node's journal, with the epoch they
	// have been taken in; nil in what earlier versions kept, which had all that they owned.
	Taken map[netip.AddrPort]uint64
}

// Config of a Runner. All but Log is needed.
type Config struct {
	cluster.Config
	// Listen is where the other nodes ask this one.
	Listen netip.AddrPort
	// Fence has a listener for each of Serves, in that order.
	Fence     *dataplane.Fence
	Addresses Addresses
	Store     Store
	Host      Host
	Keeper    Keeper
	Log       *slog.Logger
}

// The time that one call of the database, and the settling of a move, may take.
const (
	storeTime  = 4 * time.Second
	settleTime = 30 * time.Second
	takeTime   = 2 * time.Minute
	retryTake  = 2 * time.Second
)

// Runner is this node's part in the cluster. Its methods may be called from any goroutine.
type Runner struct {
	cfg   Config
	log   *slog.Logger
	peers *peers
	moves net.Listener
	calls chan func()
	puts  chan put
	ctx   context.Context
	stop  context.CancelFunc
	done  sync.WaitGroup
	now   func() time.Duration
	// by runs it where it has no goroutines of its own; nil but in a simulation.
	by *Manual

	// Only the loop touches what follows.
	m      *cluster.Machine
	fx     cluster.Effects
	places map[netip.AddrPort]*place
	secret []byte
	// saved is what the machine had saved last; taken is Kept.Taken.
	saved *cluster.Saved
	taken map[netip.AddrPort]uint64
	// failing is the last error of the database, empty when it answers.
	failing    string
	superseded bool
	// seen says that the database has told this life who owns what.
	seen bool
}

// place is a service address on this host.
type place struct {
	local    netip.AddrPort
	listener int
	// want says that it is this node's, have that what is on it is alive here.
	want, have bool
	epoch      uint64
	// own: the node's own journal has the last word.
	own bool
	// stale: what is alive here is not what the owner since has made of it.
	stale bool
	// busy while the host works on it.
	busy    bool
	retryAt time.Duration
	// lingers: it is being given away, and packets are forwarded until the other node is ready. leaving,
	// where not nil, sends on what comes late.
	lingers bool
	leaving *leaving
	// arriving is the node that is about to give it here, nil mostly.
	arriving *arriving
	// on is until when the host has the address, or was told to have it; 0 when it has not.
	on time.Duration
	// there says that the host has it; it was told at, and for the puts-th time.
	there bool
	at    time.Duration
	puts  uint64
}

// put is what the goroutine for addresses is to do.
type put struct {
	a        netip.Addr
	lifetime time.Duration
	fresh    bool // the neighbours are told
	again    bool // for the second time
	remove   bool
	late     bool          // remove, if nothing has come since linger
	linger   chan struct{} // not nil: keep taking what comes, but answer no neighbour; closed when done
	done     func()        // where not nil, called when the address is there, or cannot be put there
}

// New makes a runner. Nothing happens before Start.
func New(cfg Config) (*Runner, error) { return newRunner(cfg, nil) }

func newRunner(cfg Config, by *Manual) (*Runner, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if !cfg.Listen.Addr().IsValid() || cfg.Listen.Addr().IsUnspecified() {
		return nil, fmt.Errorf("cluster: address %v: name the address and port at which the other nodes ask this one", cfg.Listen)
	}
	r := &Runner{cfg: cfg, log: cfg.Log, calls: make(chan func(), 256), puts: make(chan put, 256),
		now: dataplane.BootTime, places: map[netip.AddrPort]*place{}, by: by}
	if by != nil {
		r.now = by.Now
	}
	for i, a := range cfg.Serves {
		// The journal may have what was this node's in an earlier life.
		r.places[a] = &place{local: a, listener: i, stale: true}
	}
	kept, err := cfg.Keeper.Load()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	var saved *cluster.Saved
	r.taken = map[netip.AddrPort]uint64{}
	if kept != nil {
		saved, r.secret = &kept.Saved, kept.Secret
		r.saved = saved
		if r.taken = kept.Taken; r.taken == nil {
			r.taken = ownedBy(cfg.Node, &kept.Saved.View)
		}
	}
	if r.m, err = cluster.New(cfg.Config, r.now(), saved); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// ownedBy are the addresses of a node, with their epochs.
func ownedBy(node string, v *cluster.View) map[netip.AddrPort]uint64 {
	list := map[netip.AddrPort]uint64{}
	for _, a := range v.Addresses {
		if a.Owner == node {
			list[a.Local] = a.Epoch
		}
	}
	return list
}

// Start begins: from here on addresses come and go.
func (r *Runner) Start() (err error) {
	r.peers, err = listenPeers(r.cfg.Listen, r.log, func(m received) {
		r.post(func() { r.m.Receive(r.now(), m.from, m.m, &r.fx) })
	})
	if err != nil {
		return fmt.Errorf("cluster: address %v: %w", r.cfg.Listen, err)
	}
	// Moves without loss come by TCP, on the same address and port.
	if r.moves, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(r.cfg.Listen)); err != nil {
		r.peers.close()
		return fmt.Errorf("cluster: address %v: %w", r.cfg.Listen, err)
	}
	r.done.Go(func() { r.accept(r.moves) })
	if r.secret != nil {
		r.peers.secret.Store(&r.secret)
	}
	r.done.Go(r.loop)
	r.done.Go(r.putAll)
	return nil
}

// Close ends the node's part: it answers for nothing any more. What is on its
// addresses is left to the next start, or to another node when the lease lapses.
func (r *Runner) Close() {
	r.stop()
	if r.peers != nil {
		r.peers.close()
	}
	if r.moves != nil {
		r.moves.Close()
	}
	r.done.Wait()
	for _, p := range r.places {
		r.cfg.Fence.Set(p.listener, 0)
	}
}

// post has f run by the loop.
func (r *Runner) post(f func()) {
	if r.by != nil {
		r.by.queue = append(r.by.queue, f)
		r.by.Wake()
		return
	}
	select {
	case r.calls <- f:
	case <-r.ctx.Done():
	}
}

// ask has f run by the loop and waits for it.
func (r *Runner) ask(ctx context.Context, f func()) error {
	if r.by != nil {
		return r.by.ask(r, f)
	}
	done := make(chan struct{})
	r.post(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
		return errStopping
	}
}

// maxSleep bounds how long the loop sleeps: lifetimes of addresses are
// renewed, and failed takes tried again.
const maxSleep = 250 * time.Millisecond

func (r *Runner) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case f := <-r.calls:
			f()
			for more := true; more; { // what waits is done before the deadlines are looked at
				select {
				case f := <-r.calls:
					f()
				default:
					more = false
				}
			}
		case <-timer.C:
		}
		r.tick()
		timer.Reset(min(max(0, r.m.Deadline()-r.now()), maxSleep))
	}
}

// tick looks at the machine's deadline, and does what is to be done.
func (r *Runner) tick() {
	if now := r.now(); now >= r.m.Deadline() && !r.superseded {
		r.m.Tick(now, &r.fx)
	}
	r.carryOut()
}

// carryOut does what the machine wants done.
func (r *Runner) carryOut() {
	fx := r.fx
	r.fx = cluster.Effects{}
	for _, l := range fx.Log {
		r.log.Warn("cluster: "+l.Text, l.Args...)
	}
	for _, c := range fx.Changed {
		r.changed(c)
	}
	if fx.Save != nil {
		r.save(fx.Save)
	}
	r.publish()
	for _, o := range fx.Send {
		r.send(o)
	}
	if fx.Renew != nil {
		r.renew(fx.Renew.Seen)
	}
	for _, c := range fx.Claims {
		r.claim(c)
	}
	for _, e := range fx.Expel {
		r.call(func(ctx context.Context) func() {
			err := r.cfg.Store.Expel(ctx, e)
			return func() { r.database(err) }
		})
	}
}

// call runs f in a goroutine of its own, and what it gives in the loop.
func (r *Runner) call(f func(context.Context) func()) {
	r.spawn(func() {
		ctx, cancel := context.WithTimeout(r.ctx, storeTime)
		defer cancel()
		r.post(f(ctx))
	})
}

// ErrSuperseded is what a Store's Renew gives when this node's program has
// been started again elsewhere.
var ErrSuperseded = errors.New("superseded")

func (r *Runner) renew(seen uint64) {
	draining, secret := r.m.Draining(), r.secret
	r.call(func(ctx context.Context) func() {
		var err error
		if secret == nil {
			secret, err = r.cfg.Store.Secret(ctx)
		}
		var v cluster.View
		if err == nil {
			v, err = r.cfg.Store.Renew(ctx, seen, draining)
		}
		return func() { r.renewed(secret, v, err) }
	})
}

func (r *Runner) renewed(secret []byte, v cluster.View, err error) {
	r.database(err)
	switch {
	case errors.Is(err, ErrSuperseded):
		r.log.Error("cluster: this node has been started again elsewhere under the same name; this process answers for nothing any more", "err", err)
		r.superseded = true
	case err != nil:
		r.m.RenewFailed(r.now(), &r.fx)
	default:
		if r.secret == nil {
			r.secret = secret
			if r.peers != nil {
				r.peers.secret.Store(&secret)
			}
		}
		r.seen = true
		r.m.Renewed(r.now(), v, &r.fx)
	}
}

// database notes whether the database answers.
func (r *Runner) database(err error) {
	if err != nil && r.ctx.Err() == nil {
		if r.failing == "" {
			r.log.Warn("cluster: the database does not answer; nothing moves, and this node goes on while the others answer it", "err", err)
		}
		r.failing = err.Error()
		return
	}
	if r.failing != "" {
		r.log.Info("cluster: the database answers again")
	}
	r.failing = ""
}

func (r *Runner) claim(c cluster.Claim) {
	r.call(func(ctx context.Context) func() {
		result, err := r.cfg.Store.Claim(ctx, c)
		return func() {
			r.database(err)
			if result == cluster.Won {
				r.log.Warn("cluster: this node has claimed an address", "address", c.Local, "from", c.From, "epoch", c.Epoch+1)
			}
			r.m.Claimed(r.now(), c, result, &r.fx)
		}
	})
}

// save puts the view on disk. Where that fails nobody is told that this node
// knows of new members, so that they cannot claim from it.
func (r *Runner) save(s *cluster.Saved) {
	r.saved = s
	if r.keep() {
		r.m.Saved(s)
	}
}

// keep writes down what the next life of this node has to know.
func (r *Runner) keep() bool {
	k := &Kept{Secret: r.secret, Taken: r.taken}
	if r.saved != nil {
		k.Saved = *r.saved
	}
	if err := r.cfg.Keeper.Save(k); err != nil {
		r.log.Error("cluster: what the database says is not being kept on this node's disk", "err", err)
		return false
	}
	return true
}

// changed takes note of an address that came or went.
func (r *Runner) changed(c cluster.Change) {
	p := r.places[c.Local]
	if p == nil {
		return
	}
	if c.Mine {
		// What this node has had in its hands before its start it need not wait for again. What it was
		// still loading it has to load anew: its journal may have a part only.
		own := c.Known && r.taken[c.Local] == c.Epoch
		if own {
			r.m.Stopped(c.Local, c.Epoch)
		}
		p.want, p.own, p.epoch, p.retryAt = true, own, c.Epoch, 0
		if p.leaving != nil {
			p.leaving.comesBack()
		}
		return
	}
	delete(r.taken, c.Local)
	if p.want {
		r.log.Warn("cluster: an address is another node's now; this one forgets what is on it", "address", c.Local, "owner", c.Owner)
	}
	p.want, p.stale = false, true
}

// Serves tells whether an address is this node's and what is on it is alive
// here; for WriterOptions.Serves.
func (r *Runner) Serves(local netip.AddrPort) bool {
	i := slices.Index(r.cfg.Serves, local)
	return i >= 0 && r.cfg.Fence.Until(i) > r.now()
}
