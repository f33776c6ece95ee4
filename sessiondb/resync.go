package sessiondb

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"time"
)

// resyncDue tells whether it is time for a resync; after an overflow it always is.
func (w *Writer) resyncDue(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.discarding || w.asked || !w.resyncAt.IsZero() && !now.Before(w.resyncAt)
}

// Resync asks for a resync, as when Serves has come to say otherwise.
func (w *Writer) Resync() {
	w.mu.Lock()
	w.asked = true
	w.mu.Unlock()
	signal(w.some)
}

// resync makes the store's state of this node equal to the source's. From its
// beginning changes are queued again. They were in the source before, so that
// the source as it is read now, and then the queued changes, lead to the right
// state whichever of them the reading has seen already.
func (w *Writer) resync(ctx context.Context) (err error) {
	w.resyncAt = time.Time{}
	w.mu.Lock()
	w.discarding, w.asked = false, false
	w.stats.Resyncing = true
	covered := len(w.waiters.resync)
	w.mu.Unlock()
	defer func() { w.resyncDone(err == nil, covered) }()

	r := &resyncer{w: w, now: w.opts.Now()}
	if err := r.guard(ctx); err != nil {
		return err
	}
	w.leftSome(r.left)
	w.mu.Lock()
	w.stats.Resyncs++
	w.stats.Repaired += r.repaired
	w.stats.HistoryGuessed += r.guessed
	w.mu.Unlock()
	if r.repaired > 0 {
		w.opts.Log.Info("sessiondb: brought the database up to date", "changes", r.repaired)
	}
	return nil
}

// resyncDone notes how a resync went. covered of those who wait for one were
// waiting before it began; the others came while it went on, and have nothing
// that it did not see unless there was an overflow again.
func (w *Writer) resyncDone(ok bool, covered int) {
	w.mu.Lock()
	w.stats.Resyncing = false
	if !ok {
		w.wantResync(w.opts.Now())
		w.mu.Unlock()
		return
	}
	w.lastResync = w.opts.Now()
	if !w.discarding { // again, while it went on
		w.lostSince = time.Time{}
		covered = len(w.waiters.resync)
	}
	confirmed := w.waiters.resynced(covered)
	w.mu.Unlock()
	call(confirmed)
}

// serves tells whether the records of a local address are this node's to write.
func (w *Writer) serves(local netip.AddrPort) bool {
	return w.opts.Serves == nil || w.opts.Serves(local)
}

// pendingSession tells whether a change of the session waits in the queue.
func (w *Writer) pendingSession(k SessionKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.queue.sessions[k]
	return ok
}

// leftPause is how long after a resync that had to leave something alone there is another one, since the
// address may be this node's again; twice as long after each in a row, up to conflictPause, should it be another's for good.
const leftPause = 5 * time.Second

// leftTries are in a row before it is taken for good.
const leftTries = 6

// leftSome notes whether a resync had to leave something alone.
func (w *Writer) leftSome(some bool) {
	if !some {
		w.left = 0
		return
	}
	w.wantResync(w.opts.Now().Add(min(leftPause<<w.left, conflictPause)))
	w.left = min(w.left+1, leftTries)
}

// resyncer is one resync.
type resyncer struct {
	w   *Writer
	now time.Time
	ctx context.Context
	// watch cancels ctx when nothing has moved for the Writer's timeout;
	// moves counts the records in between.
	watch *time.Timer
	moves int

	batch    []Change
	err      error // of an Apply
	refused  ConflictError
	repaired uint64
	guessed  uint64
	left     bool // something of an address that this node did not serve
}

// serves is the Writer's, and notes what is left.
func (r *resyncer) serves(local netip.AddrPort) bool {
	is := r.w.serves(local)
	r.left = r.left || !is
	return is
}

// guard runs with a ctx that ends when a store falls silent.
func (r *resyncer) guard(ctx context.Context) error {
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	r.watch = time.AfterFunc(r.w.opts.Timeout, cancel)
	defer r.watch.Stop()
	err := r.run()
	if err != nil && r.ctx.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("no answer in %v: %w", r.w.opts.Timeout, err)
	}
	return err
}

// run goes through the kinds of records.
func (r *resyncer) run() error {
	for _, step := range []func() error{
		r.dropSessions, r.flush, r.putSessions, r.tunnels, r.entries, r.objects, r.flush, r.retry,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// dropSessions goes before putSessions, because addresses must be free before
// they are given to others.
func (r *resyncer) dropSessions() error {
	return diff(r, r.w.store.Sessions(r.ctx), r.w.source.Sessions(r.ctx), compareSessions, sameSession,
		func(s *Session) {
			if !r.serves(s.Key.Tunnel.Local) || r.w.pendingSession(s.Key) {
				return // it is not ours, or its end is known, and on its way
			}
			r.guessed++
			r.add(Change{Op: DropSession, Session: s, End: &End{At: r.now, Cause: "unknown",
				InOctets: s.InOctets, OutOctets: s.OutOctets, InPackets: s.InPackets, OutPackets: s.OutPackets}})
		}, func(*Session) {})
}

func (r *resyncer) putSessions() error {
	return diff(r, r.w.store.Sessions(r.ctx), r.w.source.Sessions(r.ctx), compareSessions, sameSession,
		func(*Session) {}, func(s *Session) {
			if r.serves(s.Key.Tunnel.Local) {
				r.add(Change{Op: PutSession, Session: s})
			}
		})
}

func compareSessions(a, b *Session) int { return a.Key.Compare(b.Key) }

// sameSession leaves out the node: all that a store gives are its node's.
func sameSession(a, b *Session) bool {
	c := *a
	c.Node = b.Node
	return c.Equal(b)
}

func (r *resyncer) tunnels() error {
	same := func(a, b *Tunnel) bool {
		c := *a
		c.Node = b.Node
		return c.Equal(b)
	}
	change := func(op Op) func(*Tunnel) {
		return func(t *Tunnel) {
			if r.serves(t.Key.Local) {
				r.add(Change{Op: op, Tunnel: t})
			}
		}
	}
	return diff(r, r.w.store.Tunnels(r.ctx), r.w.source.Tunnels(r.ctx),
		func(a, b *Tunnel) int { return a.Key.Compare(b.Key) }, same, change(DropTunnel), change(PutTunnel))
}

func (r *resyncer) entries() error {
	same := func(a, b *Entry) bool {
		c := *a
		c.Node = b.Node
		return c.Equal(b)
	}
	return diff(r, r.w.store.Entries(r.ctx), r.w.source.Entries(r.ctx),
		func(a, b *Entry) int { return cmp.Compare(a.Seq, b.Seq) }, same,
		func(e *Entry) { r.add(Change{Op: DropEntry, Entry: e}) },
		func(e *Entry) { r.add(Change{Op: PutEntry, Entry: e}) })
}

func (r *resyncer) objects() error {
	return diff(r, r.w.store.Objects(r.ctx, ""), r.w.source.Objects(r.ctx, ""), (*Object).Compare, (*Object).Equal,
		func(o *Object) { r.add(Change{Op: DropObject, Object: o}) },
		func(o *Object) { r.add(Change{Op: PutObject, Object: o}) })
}
