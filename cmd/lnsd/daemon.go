package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"culvert/aaa/ippool"
	"culvert/aaa/outbox"
	"culvert/aaa/radius"
	"culvert/lns"
	"culvert/lns/cluster"
	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
	"culvert/lns/ipsec"
	"culvert/ops"
	"culvert/sessiondb"
)

// The time that each part has for an orderly end.
const (
	tunnelsEnd  = 5 * time.Second
	accountsEnd = 10 * time.Second
	databaseEnd = 5 * time.Second
	// keepEnd is for each part of a process whose sessions go on.
	keepEnd = time.Second
)

// daemon is everything that runs, in the order it was started.
type daemon struct {
	set     *settings
	log     *slog.Logger
	journal sessiondb.Journal
	writer  *sessiondb.Writer // nil without a database
	lab     *lab              // nil but in a lab
	radius  *radius.Client
	pools   *ippool.Pools
	outbox  *outbox.Outbox
	plane   dataplane.Plane
	server  *lns.Server
	ipsec   *ipsec.Manager  // nil where no LAC uses it
	dynauth *radius.DynAuth // nil where no Disconnect-Requests are taken
	ops     *ops.Server
	// drop says that tunnels and sessions end with the process.
	drop bool
	// failed gets what ended management before its time, asked that an operator ends the program,
	// and whether its sessions end too.
	failed chan error
	asked  chan bool
	// cluster holds the node's part in a cluster, clusterDB its way to the
	// database, clusterHost what it has this host do, fence what bounds it; nil outside of one.
	cluster     atomic.Pointer[cluster.Runner]
	clusterDB   *clusterStore
	clusterHost *cluster.Sessions
	fence       *dataplane.Fence
	withheld    *cluster.Withheld
	// undo ends the parts in reverse order.
	undo []func()
	// ballast is that of raiseGCFloor.
	ballast []byte
}

// start brings all parts up, or none.
func start(set *settings, log *slog.Logger) (*daemon, error) {
	d := &daemon{set: set, log: log, ballast: raiseGCFloor()}
	d.withheld = cluster.NewWithheld(func() cluster.Pools { return d.pools }, time.Now)
	for _, step := range []func() error{d.startStores, d.startAAA, d.startPlane, d.makeCluster, d.startServer, d.startCluster, d.startDynAuth, d.startOps} {
		if err := step(); err != nil {
			d.abort()
			return nil, err
		}
	}
	return d, nil
}

func (d *daemon) onAbort(f func()) { d.undo = append(d.undo, f) }

func (d *daemon) abort() {
	for i := len(d.undo) - 1; i >= 0; i-- {
		d.undo[i]()
	}
}

func (d *daemon) startAAA() error {
	if d.set.file.RADIUS.Lab.Password != "" {
		l, err := startLab(d.set.file.RADIUS.Lab.Password)
		if err != nil {
			return err
		}
		d.lab = l
		d.onAbort(func() {
			d.log.Info("the lab's RADIUS responder has seen", l.summary()...)
			d.closing("lab RADIUS", l.server.Close())
		})
		d.log.Warn("the built-in RADIUS responder lets in everybody with the lab's password; not for subscribers", "auth", l.server.AuthAddr())
		l.use(&d.set.radius)
	}
	pools, err := ippool.New(d.set.pools)
	if err != nil {
		return err
	}
	d.pools = pools
	if d.radius, err = radius.New(d.set.radius, d.log); err != nil {
		return err
	}
	d.onAbort(func() { d.closing("RADIUS", d.radius.Close()) })
	d.outbox = outbox.New(outbox.Config{Node: d.set.node, Log: d.log}, d.store(), d.radius)
	n, err := d.outbox.Load(context.Background())
	if err != nil {
		return fmt.Errorf("accounting records in the journal: %w", err)
	}
	if n > 0 {
		d.log.Info("accounting records of an earlier life are on their way", "records", n)
	}
	d.onAbort(func() { d.closing("accounting", within(d.patience(accountsEnd), d.outbox.Close)) })
	return nil
}

func (d *daemon) startPlane() error {
	if err := d.prepareIPsec(); err != nil {
		return err
	}
	counters, err := dataplane.OpenCounters(filepath.Clean(d.set.file.Journal.Dir)+".counters", d.log)
	if err != nil {
		return err
	}
	d.onAbort(func() { d.closing("counters", counters.Close()) })
	d.set.plane.Inherited = inherited()
	cfg := d.set.plane
	cfg.Counters = counters
	cfg.Log = d.log
	if d.set.cluster != nil {
		d.fence = fenceFor(cfg.Listen)
		cfg.Fence = d.fence
	}
	if d.set.file.Plane.Mode == "memory" {
		cfg.Core = planetest.NewEcho(cfg.Shards)
	}
	p, err := dataplane.New(cfg)
	if errors.Is(err, dataplane.ErrPermission) {
		return fmt.Errorf("%w\n(for a lab without a TUN device: plane.mode: memory)", err)
	}
	if err != nil {
		return err
	}
	d.plane = p
	d.onAbort(func() { d.closing("data plane", p.Close()) })
	return nil
}

func (d *daemon) startServer() error {
	if err := d.makeIPsec(); err != nil {
		return err
	}
	cfg := lns.Config{
		Node: d.set.node, Version: version, Plane: d.plane, PlaneName: d.set.file.Plane.Mode,
		Authorizer: d.radius, Ledger: d.outbox, Addresses: d.pools, Journal: d.journal,
		LACs: d.set.lacs, Trace: d.set.trace, Subscriber: d.set.subscriber, Logger: d.log,
		MaxSettingUp: d.set.file.Limits.MaxSettingUp, MaxSessions: d.set.file.Limits.MaxSessions,
	}
	if d.writer != nil {
		cfg.Sink = d.writer
	}
	if d.confirms() {
		cfg.Confirm, cfg.ConfirmWait = d.writer.Confirm, time.Duration(d.set.file.Database.MaxWait)
	}
	cfg.Elsewhere, cfg.Fence = d.set.cluster != nil, d.fence
	d.useIPsec(&cfg)
	s, err := lns.New(cfg)
	if err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	d.server = s
	// The plane is closed before the cluster's part, which shuts the fence: what the plane has read until then is still to pass.
	d.onAbort(func() { d.closing("data plane", d.plane.Close()) })
	d.onAbort(func() {
		if !d.drop {
			s.Suspend()
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), tunnelsEnd)
		defer cancel()
		s.Shutdown(ctx)
	})
	d.runIPsec()
	d.startRecording()
	return nil
}

// startRecording writes events to the database, where there is one.
func (d *daemon) startRecording() {
	if d.writer == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { d.recordEvents(ctx) })
	d.onAbort(func() { cancel(); done.Wait() })
}

func (d *daemon) startDynAuth() error {
	if d.set.dynauth == nil {
		return nil
	}
	a, err := radius.NewDynAuth(*d.set.dynauth, disconnecter{d.server}, d.log)
	if err != nil {
		return err
	}
	d.dynauth = a
	d.onAbort(func() { d.closing("Disconnect-Requests", a.Close()) })
	return nil
}

func (d *daemon) startOps() error {
	cfg := d.set.ops
	cfg.Log, cfg.Sources = d.log, d.sources()
	d.asked = make(chan bool, 1)
	cfg.Shutdown = func(drop bool) {
		select {
		case d.asked <- drop:
		default: // it ends already
		}
	}
	if d.set.cluster != nil {
		cfg.Cluster = clusterOps{d}
	}
	s, err := ops.New(cfg, d.server)
	if err != nil {
		return err
	}
	d.ops, d.failed = s, make(chan error, 1)
	go func() { d.failed <- s.Serve() }()
	d.onAbort(func() { d.closing("management", within(time.Second, s.Close)) })
	return nil
}

// stop ends everything in order: management, tunnels and sessions where drop is set, accounting, stores.
func (d *daemon) stop(drop bool) {
	d.drop = drop
	d.abort()
}

// patience is how long a part gets for what the next start could do as well: little when
// subscribers wait for that.
func (d *daemon) patience(t time.Duration) time.Duration {
	if d.drop {
		return t
	}
	return min(t, keepEnd)
}

func (d *daemon) closing(what string, err error) {
	if err != nil {
		d.log.Warn("not closed cleanly", "part", what, "err", err)
	}
}

// within gives f an amount of time.
func within(t time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), t)
	defer cancel()
	return f(ctx)
}
