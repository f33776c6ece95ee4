package storetest

import (
	"fmt"
	"iter"
	"testing"
)

// same compares two readers, record by record.
func same[T any](what string, got, want iter.Seq2[T, error], equal func(a, b *T) bool) error {
	next, stop := iter.Pull2(got)
	defer stop()
	n := 0
	for w, err := range want {
		if err != nil {
			return fmt.Errorf("reading what %s %d should be: %w", what, n, err)
		}
		g, err, ok := next()
		switch {
		case err != nil:
			return fmt.Errorf("reading %s %d: %w", what, n, err)
		case !ok:
			return fmt.Errorf("%s %d is missing: %+v", what, n, w)
		case !equal(&g, &w):
			return fmt.Errorf("%s %d is\n%+v, should be\n%+v", what, n, g, w)
		}
		n++
	}
	if g, err, ok := next(); ok {
		return fmt.Errorf("%s %d is too many: %+v (%v)", what, n, g, err)
	}
	return nil
}

// expect compares what a reader gives with what it should give.
func expect[T any](t *testing.T, what string, got iter.Seq2[T, error], want []T, equal func(a, b *T) bool) {
	t.Helper()
	if err := same(what, got, values(want), equal); err != nil {
		t.Error(err)
	}
}

func values[T any](all []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range all {
			if !yield(v, nil) {
				return
			}
		}
	}
}
