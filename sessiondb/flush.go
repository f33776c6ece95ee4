package sessiondb

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// resyncPause is the least time between a resync and one that only
	// makes sure, after a failure.
	resyncPause = 30 * time.Second
	// conflictPause is when a refused change is looked at again.
	conflictPause = 5 * time.Minute
	// storeClose bounds the wait for the store's Close.
	storeClose = 2 * time.Second
)

// run is the Writer's goroutine.
func (w *Writer) run(ctx context.Context) {
	defer close(w.done)
	defer w.closeStore()
	w.resyncAt = w.opts.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			w.finish(ctx)
			return
		case <-w.unlessFailing(w.full):
		case <-w.unlessFailing(w.some):
			timer.Reset(w.pause())
			continue
		case <-timer.C:
		}
		w.result(w.cycle(ctx))
		timer.Reset(w.pause())
	}
}

// unlessFailing hides a signal while a retry waits for its time.
func (w *Writer) unlessFailing(c chan struct{}) chan struct{} {
	if w.failures > 0 {
		return nil
	}
	return c
}

// finish writes what is left until it is done or ctx ends.
func (w *Writer) finish(ctx context.Context) {
	for {
		err := w.cycle(ctx)
		w.result(err)
		if !w.behind() || ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.pause()):
		}
	}
}

func (w *Writer) behind() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue.len() > 0 || len(w.inflight) > 0 || w.discarding || w.asked
}

// pause says how long to wait before the next cycle.
func (w *Writer) pause() time.Duration {
	if w.failures > 0 {
		d := min(w.opts.RetryFirst<<min(w.failures-1, 20), w.opts.RetryCap)
		return d/2 + time.Duration(w.opts.Rand(int64(d))) // not in step with the other nodes
	}
	if w.behind() {
		return w.opts.Interval
	}
	if !w.resyncAt.IsZero() {
		return max(0, w.resyncAt.Sub(w.opts.Now()))
	}
	return 24 * time.Hour // until a signal
}

// cycle writes what is pending, and makes a resync when one is due.
func (w *Writer) cycle(ctx context.Context) error {
	if err := w.connect(ctx); err != nil {
		return err
	}
	for {
		batch := w.next()
		if len(batch) > 0 {
			refused, err := w.write(ctx, batch)
			if err != nil {
				return err
			}
			w.written(len(batch), refused)
		}
		if len(batch) < w.opts.BatchSize {
			break
		}
	}
	if w.resyncDue(w.opts.Now()) {
		return w.resync(ctx)
	}
	return nil
}

func (w *Writer) connect(ctx context.Context) (err error) {
	if w.store != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.opts.Timeout)
	defer cancel()
	w.store, err = w.open(ctx)
	if err != nil {
		w.store = nil // not an interface around a nil pointer
		return err
	}
	return nil
}

// next gives the batch to write: the one that failed, or one from the queue.
func (w *Writer) next() []Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.inflight) == 0 {
		w.inflight, w.since = w.queue.take(w.opts.BatchSize)
	}
	return w.inflight
}

// written notes that a batch of n changes is in the store, but for what was refused. Where the reason is likely to be what an
// earlier life of the node has left there, as before the resync of its start and after one that had to leave something alone, a
// resync decides.
func (w *Writer) written(n int, refused bool) {
	if refused && w.left > 0 && w.left < leftTries {
		w.wantResync(w.opts.Now())
	}
	later := refused && w.resyncDue(w.opts.Now())
	w.mu.Lock()
	w.inflight, w.since = nil, time.Time{}
	w.stats.Flushed += uint64(n)
	confirmed := w.waiters.written(w.queue.base)
	if later {
		w.waiters.resync = append(w.waiters.resync, confirmed...)
		confirmed = nil
	}
	w.mu.Unlock()
	call(confirmed)
}

// write applies the batch, reporting what is refused.
func (w *Writer) write(ctx context.Context, batch []Change) (refused bool, err error) {
	list, err := w.apply(ctx, batch)
	if err != nil || list == nil {
		return false, err
	}
	w.refuse(list)
	return true, nil
}

// apply gives what the store refuses apart from failures.
func (w *Writer) apply(ctx context.Context, batch []Change) (*ConflictError, error) {
	ctx, cancel := context.WithTimeout(ctx, w.opts.Timeout)
	defer cancel()
	err := w.store.Apply(ctx, batch)
	var refused *ConflictError
	switch {
	case errors.As(err, &refused):
		return refused, nil
	case errors.Is(err, ErrInvalid):
		return w.applyEach(ctx, batch)
	}
	return nil, err
}

// applyEach finds the changes that make the whole batch invalid for this store.
func (w *Writer) applyEach(ctx context.Context, batch []Change) (*ConflictError, error) {
	refused := new(ConflictError)
	for i := range batch {
		err := w.store.Apply(ctx, batch[i:i+1])
		switch {
		case errors.Is(err, ErrInvalid) || errors.Is(err, ErrConflict):
			refused.Changes = append(refused.Changes, batch[i])
			refused.Errs = append(refused.Errs, err)
		case err != nil:
			return nil, err
		}
	}
	return refused, nil
}

// refuse reports changes that the store will not take.
func (w *Writer) refuse(refused *ConflictError) {
	const logged = 10 // of one batch
	for i, c := range refused.Changes {
		if i < logged {
			w.opts.Log.Warn("sessiondb: the database refused a change", "change", c.String(), "error", refused.Errs[i],
				"refused", len(refused.Changes))
		}
		if w.opts.OnConflict != nil {
			w.opts.OnConflict(c, refused.Errs[i])
		}
	}
	w.mu.Lock()
	w.stats.Conflicts += uint64(len(refused.Changes))
	w.mu.Unlock()
	w.wantResync(w.opts.Now().Add(conflictPause))
}

func (w *Writer) wantResync(at time.Time) {
	if w.resyncAt.IsZero() || at.Before(w.resyncAt) {
		w.resyncAt = at
	}
}

// result notes how a cycle went.
func (w *Writer) result(err error) {
	now := w.opts.Now()
	w.mu.Lock()
	w.stats.Connected = err == nil
	w.stats.LastError = ""
	if err != nil {
		w.stats.LastError = err.Error()
		w.stats.Failures++
	}
	w.mu.Unlock()
	switch {
	case err != nil && w.failures == 0:
		w.opts.Log.Warn("sessiondb: the database does not take changes; they wait", "error", err)
		w.failedAt = now
	case err == nil && w.failures > 0:
		w.opts.Log.Info("sessiondb: the database takes changes again", "after", now.Sub(w.failedAt).Round(time.Millisecond))
		w.wantResync(w.lastResync.Add(resyncPause))
	}
	w.failures++
	if err == nil {
		w.failures = 0
	}
}

// closeStore does not wait for ever: a store may wait for a dead server.
func (w *Writer) closeStore() {
	if w.store == nil {
		return
	}
	closed := make(chan error, 1)
	go func() { closed <- w.store.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			w.opts.Log.Warn("sessiondb: closing the database", "error", err)
		}
	case <-time.After(storeClose):
		w.opts.Log.Warn("sessiondb: the database's connections do not close", "error", fmt.Sprintf("no answer in %v", storeClose))
	}
}
