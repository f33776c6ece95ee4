package sessiondb

import (
	"errors"
	"iter"
)

// maxRefused bounds the refused changes that a resync tries again.
const maxRefused = 10_000

// diff goes through got and want, both in key order, and calls extra for what
// only got has, and differs for what got lacks or has otherwise.
func diff[T any](r *resyncer, got, want iter.Seq2[T, error], compare func(a, b *T) int, same func(a, b *T) bool, extra, differs func(*T)) error {
	a, stopA := newCursor(got)
	defer stopA()
	b, stopB := newCursor(want)
	defer stopB()
	for a.err == nil && b.err == nil && r.err == nil && (a.at != nil || b.at != nil) {
		switch {
		case b.at == nil || a.at != nil && compare(a.at, b.at) < 0:
			extra(a.at)
			a.advance()
		case a.at == nil || compare(a.at, b.at) > 0:
			differs(b.at)
			b.advance()
		default:
			if !same(a.at, b.at) {
				differs(b.at)
			}
			a.advance()
			b.advance()
		}
		r.moved()
	}
	return errors.Join(a.err, b.err, r.err)
}

// cursor is a reader, one record at a time; at is nil behind the last.
type cursor[T any] struct {
	next func() (T, error, bool)
	at   *T
	err  error
}

func newCursor[T any](seq iter.Seq2[T, error]) (*cursor[T], func()) {
	next, stop := iter.Pull2(seq)
	c := &cursor[T]{next: next}
	c.advance()
	return c, stop
}

func (c *cursor[T]) advance() {
	v, err, more := c.next()
	c.at, c.err = &v, err
	if err != nil || !more {
		c.at = nil
	}
}

// moved says that the stores are alive.
func (r *resyncer) moved() {
	if r.moves++; r.moves%256 == 0 {
		r.watch.Reset(r.w.opts.Timeout)
	}
}

func (r *resyncer) add(c Change) {
	if r.batch = append(r.batch, c); len(r.batch) >= r.w.opts.BatchSize {
		r.err = r.flush()
	}
}

// flush writes the batch and keeps what is refused.
func (r *resyncer) flush() error {
	if len(r.batch) == 0 {
		return nil
	}
	r.watch.Reset(2 * r.w.opts.Timeout) // Apply has a timeout of its own
	refused, err := r.w.apply(r.ctx, r.batch)
	if err != nil {
		return err
	}
	r.watch.Reset(r.w.opts.Timeout)
	r.repaired += uint64(len(r.batch))
	r.batch = nil
	if refused == nil {
		return nil
	}
	r.repaired -= uint64(len(refused.Changes))
	if len(r.refused.Changes) < maxRefused {
		r.refused.Changes = append(r.refused.Changes, refused.Changes...)
		r.refused.Errs = append(r.refused.Errs, refused.Errs...)
	}
	return nil
}

// retry tries again what was refused, as long as it helps: an address may
// have been taken by a session that came to give it up later in the resync.
func (r *resyncer) retry() error {
	for len(r.refused.Changes) > 0 {
		before := r.refused
		r.refused = ConflictError{}
		for _, c := range before.Changes {
			r.add(c)
		}
		if r.err != nil {
			return r.err
		}
		if err := r.flush(); err != nil {
			return err
		}
		if len(r.refused.Changes) >= len(before.Changes) {
			break
		}
	}
	if len(r.refused.Changes) > 0 {
		r.w.refuse(&r.refused)
	}
	return nil
}
