//go:build !linux

package early

import "errors"

// Keeper is nothing here.
type Keeper struct{}

// Open fails: only Linux is known.
func Open(Config) (*Keeper, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (*Keeper) Close() error { return nil }
